package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

const gonePrefix = ".gone-"

// idPattern: component, number, time, kind, hash of the key.
var idPattern = regexp.MustCompile(`^(.+)-(\d{6,})-(\d{8}T\d{6}Z)-(fault|healthy)-([0-9a-f]{12})$`)

// name is a checkpoint's id taken apart.
type name struct {
	id, component, hash string
	number              int
	kind                Kind
}

func parseName(id string) (name, bool) {
	m := idPattern.FindStringSubmatch(id)
	if m == nil {
		return name{}, false
	}
	number, err := strconv.Atoi(m[2])
	return name{id: id, component: m[1], number: number, kind: Kind(m[4]), hash: m[5]}, err == nil
}

// names lists the checkpoints of a component, oldest first.
func names(home string) ([]name, error) {
	entries, err := os.ReadDir(home)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	var all []name
	for _, e := range entries {
		if n, ok := parseName(e.Name()); ok && e.IsDir() {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b name) int { return a.number - b.number })
	return all, nil
}

func nextNumber(home string) (int, error) {
	all, err := names(home)
	if err != nil || len(all) == 0 {
		return 1, err
	}
	return all[len(all)-1].number + 1, nil
}

// byKey finds the checkpoint taken under key.
func (s *Store) byKey(component, key string) (Checkpoint, bool, error) {
	home := filepath.Join(s.root, component)
	all, err := names(home)
	if err != nil {
		return Checkpoint{}, false, err
	}
	for _, n := range all {
		if n.hash == keyHash(key) {
			c, err := Load(filepath.Join(home, n.id))
			return c, err == nil, err
		}
	}
	return Checkpoint{}, false, nil
}

// List returns the checkpoints of a component, oldest first. One that is damaged is left out
// and named in the error.
func (s *Store) List(component string) ([]Checkpoint, error) {
	home := filepath.Join(s.root, component)
	all, err := names(home)
	if err != nil {
		return nil, err
	}
	var list []Checkpoint
	var bad []error
	for _, n := range all {
		c, err := Load(filepath.Join(home, n.id))
		if err != nil {
			bad = append(bad, err)
			continue
		}
		list = append(list, c)
	}
	return list, errors.Join(bad...)
}

// Latest returns the newest checkpoint of a kind whose manifest is sound; ok is false when there is none.
func (s *Store) Latest(component string, kind Kind) (c Checkpoint, ok bool, err error) {
	home := filepath.Join(s.root, component)
	all, err := names(home)
	if err != nil {
		return Checkpoint{}, false, err
	}
	for _, n := range slices.Backward(all) {
		if n.kind != kind {
			continue
		}
		if c, err := Load(filepath.Join(home, n.id)); err == nil {
			return c, true, nil
		}
	}
	return Checkpoint{}, false, nil
}

// Get returns the checkpoint with that id.
func (s *Store) Get(id string) (Checkpoint, error) {
	n, ok := parseName(id)
	if !ok || !componentName.MatchString(n.component) {
		return Checkpoint{}, fmt.Errorf("%q is not the id of a checkpoint", id)
	}
	c, err := Load(filepath.Join(s.root, n.component, id))
	if errors.Is(err, fs.ErrNotExist) {
		return c, shivx.Hint(fmt.Errorf("there is no checkpoint %s", id), "it may have been removed to make room; list those of the component")
	}
	return c, err
}

// Prune removes the oldest checkpoints of a kind until keep are left. One that is being
// restored stays.
func (s *Store) Prune(component string, kind Kind, keep int) (removed []string, err error) {
	home := filepath.Join(s.root, component)
	all, err := names(home)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(n name) bool { return n.kind != kind })
	for _, n := range all[:max(0, len(all)-max(0, keep))] {
		gone, err := remove(home, n.id)
		if err != nil {
			return removed, fmt.Errorf("remove checkpoint %s: %w", n.id, err)
		}
		if gone {
			removed = append(removed, n.id)
		}
	}
	return removed, sweepGone(home)
}

// remove renames first, so that a crash never leaves half a checkpoint under its name.
func remove(home, id string) (bool, error) {
	held, err := tryLock(filepath.Join(home, id), unix.LOCK_EX)
	if errors.Is(err, errLocked) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer held.unlock()
	return true, os.Rename(filepath.Join(home, id), filepath.Join(home, gonePrefix+id))
}

func sweepGone(home string) error {
	entries, err := os.ReadDir(home)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), gonePrefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(home, e.Name())))
		}
	}
	return err
}
