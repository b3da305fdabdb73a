package golden

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/restore"
)

// endStale ends the restores of files below any of the paths that were swapped and that nobody goes on with: their
// state stays, and the old one is kept for people. One that was cut off amid its renames is left, as to end it changes
// files, and so is a local one that was killed: shivx golden resume judges it.
func (e *Engine) endStale(ctx context.Context, paths []string) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	default: // a step of a restore is under way, and may be for hours
		return
	}
	list, _ := e.Pending() // calm says what is wrong
	for _, j := range list {
		if j.State != restore.StateSwapped || e.fresh(j) || e.hasJob(j.ID) || !meet(placesOf(j), paths) {
			continue
		}
		if e.staged != nil && e.staged.ID() != j.ID || e.yield(false) != nil {
			continue
		}
		st, _, err := e.resume(ctx, j)
		if err == nil {
			err = e.settle(ctx, st, j.Set)
		}
		if err != nil {
			e.o.Logger.Error("an earlier restore that nobody goes on with could not be ended", "restore", j.ID, "set", j.Set, "error", err)
		}
	}
}

// localJob ends the name of the file, beside the journal, of a local restore whose services may be stopped.
const localJob = ".services"

func (e *Engine) hasJob(id string) bool {
	_, err := os.Lstat(filepath.Join(e.Journals(), id+localJob))
	return !errors.Is(err, fs.ErrNotExist)
}

// calm refuses a golden of paths whose files are not known to be good, or were exchanged while they were read. Of a
// snapshot it returns what is wrong instead: in a lockdown one of a state that is not judged is better than none.
// known are the notes of before they were read; nil: nothing was read yet.
func (e *Engine) calm(o Order, paths []string, known map[string]bool) ([]string, error) {
	err := e.settled(o.Set, paths)
	if err == nil && known != nil {
		err = e.unexchanged(o.Set, paths, known)
	}
	if o.Kind == shivx.GoldenKindSnapshot && err != nil {
		e.o.Logger.Warn("the snapshot is of a state that a restore may still change, or of two states", "set", o.Set, "error", err)
		return []string{err.Error()}, nil
	}
	return nil, err
}

// settled returns restore.ErrBusy while files below any of the paths are those of a restore that may still put
// others in their place: a golden of them would be of a state that nobody found to be good, and the newest that is
// restored from. Whose places a journal does not say is refused for every set.
func (e *Engine) settled(set string, paths []string) error {
	list, err := e.Pending()
	if err != nil {
		return err
	}
	for _, j := range list {
		if !exchanging(j.State) || !meet(placesOf(j), paths) {
			continue
		}
		err := fmt.Errorf("%w: the files of the set %s are not yet known to be good, %s is %s", restore.ErrBusy, set, j.ID, j.State)
		if j.State == restore.StateSwapped {
			return shivx.Hint(err, "wait until its run in Temporal has ended, golden/restore/SET@HOST; one whose run is gone is given up by a backup "+
				"from "+e.o.Patience.String()+" after its last step on; a local one that was killed is ended by shivx golden resume")
		}
		return shivx.Hint(err, "wait until its run in Temporal has ended, golden/restore/SET@HOST; a local one that was killed is ended by shivx golden resume, "+
			"and one whose run is gone by the next restore")
	}
	return nil
}

// unexchanged returns restore.ErrBusy when a restore has exchanged files below any of the paths and has ended since
// known were the notes. It goes by no clock, which may have been wrong.
func (e *Engine) unexchanged(set string, paths []string, known map[string]bool) error {
	now, err := e.notes()
	if err != nil {
		return err
	}
	for id := range now {
		if known[id] {
			continue
		}
		n, err := e.note(id)
		if err != nil {
			return err
		}
		if n != nil && meet(n.Swapped, paths) {
			return shivx.Hint(fmt.Errorf("%w: %s has exchanged files of the set %s meanwhile", restore.ErrBusy, id, set), "try again")
		}
	}
	return nil
}

// notes are the restores of which there are notes, by their ids; not nil.
func (e *Engine) notes() (map[string]bool, error) {
	ids := map[string]bool{}
	entries, err := os.ReadDir(e.Journals())
	if errors.Is(err, fs.ErrNotExist) {
		return ids, nil
	}
	for _, one := range entries {
		if id, is := strings.CutSuffix(one.Name(), endedSuffix); is {
			ids[id] = true
		}
	}
	return ids, err
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
