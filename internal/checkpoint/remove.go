package checkpoint

import (
	"fmt"
	"path/filepath"
)

// Remove removes one checkpoint. One that is being restored stays and is an error.
func (s *Store) Remove(id string) error {
	n, ok := parseName(id)
	if !ok {
		return fmt.Errorf("%q is no checkpoint's id", id)
	}
	home := filepath.Join(s.root, n.component)
	gone, err := remove(home, id)
	if err != nil {
		return fmt.Errorf("remove checkpoint %s: %w", id, err)
	}
	if !gone {
		return fmt.Errorf("remove checkpoint %s: it is in use", id)
	}
	return sweepGone(home)
}
