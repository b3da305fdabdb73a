package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/shivx/shivx/internal/golden/format"
)

// RemoveDamaged removes the file of a golden whose head cannot be read, which Prune keeps and which keeps
// Prune from removing any pack. What can be read, or is of a later version or of another key, stays: that is
// an error. It waits for the store to be idle.
func (s *Store) RemoveDamaged(ctx context.Context, set, id string) error {
	release, err := s.Lock(ctx, Exclusive)
	if err != nil {
		return err
	}
	defer func() { _ = release() }()
	name := goldenName(set, id)
	switch _, err := s.info(ctx, name); {
	case err == nil:
		return fmt.Errorf("the golden %s is not damaged", name)
	case !errors.Is(err, format.ErrDamaged):
		return err
	}
	if err := s.backend.Remove(ctx, parityName(name), name); err != nil {
		return fmt.Errorf("remove a damaged golden: %w", err)
	}
	return s.backend.Sync(ctx)
}
