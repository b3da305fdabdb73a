package golden

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/restore"
)

// settled returns restore.ErrBusy while files below any of the paths are those of a restore that may still put
// others in their place, or were exchanged since: a golden of them would be of a state that nobody found to be
// good, or of two states, and the newest that is restored from.
func (e *Engine) settled(set string, paths []string, since time.Time) error {
	list, err := e.Pending()
	if err != nil {
		return err
	}
	for _, j := range list {
		if exchanging(j.State) && meet(placesOf(j), paths) {
			return shivx.Hint(fmt.Errorf("%w: the files of the set %s are not yet known to be good, %s is %s", restore.ErrBusy, set, j.ID, j.State),
				"wait until its run in Temporal has ended, golden/restore/SET@HOST; a local one that was killed is ended by shivx golden resume, "+
					"and one whose run is gone by the next restore")
		}
	}
	entries, err := os.ReadDir(e.Journals())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, one := range entries {
		id, is := strings.CutSuffix(one.Name(), endedSuffix)
		if !is {
			continue
		}
		n, noteErr := e.note(id)
		if noteErr != nil {
			return noteErr
		}
		if n != nil && !n.At.Before(since) && meet(n.Swapped, paths) {
			return shivx.Hint(fmt.Errorf("%w: %s has exchanged files of the set %s meanwhile", restore.ErrBusy, id, set), "try again")
		}
	}
	return err
}

// exchanging says whether files are, or may be, those of a restore that can still be undone.
func exchanging(s restore.State) bool {
	return s == restore.StateSwapping || s == restore.StateSwapped || s == restore.StateUndoing
}

// swapped are the places whose files a restore has exchanged; none before it has.
func (e *Engine) swapped(id string) ([]string, error) {
	list, err := e.Pending()
	for _, j := range list {
		if j.ID == id && exchanging(j.State) {
			return placesOf(j), err
		}
	}
	return nil, err
}

// placesOf are the paths that a restore exchanges, and where links lead that they go by.
func placesOf(j restore.Journal) []string {
	if j.To != "" {
		return []string{string(j.To)}
	}
	var paths []string
	for _, r := range j.Roots {
		paths = append(paths, string(r.Path), string(r.Real))
	}
	return paths
}

// meet says whether any of the places lies in one of the paths, or the other way round.
func meet(places, paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		both := []string{p}
		if real, err := filepath.EvalSymlinks(p); err == nil {
			both = append(both, real)
		}
		return slices.ContainsFunc(both, func(p string) bool {
			return slices.ContainsFunc(places, func(at string) bool { return format.Below(p, at) || format.Below(at, p) })
		})
	})
}
