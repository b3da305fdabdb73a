package golden

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/restore"
)

// Restore names a restore and says what it restores. The same ID in every call is the same restore, also
// after a restart of the process; a call that was cut off may be repeated.
type Restore struct {
	ID  string
	Set string
	// Golden is a whole id.
	Golden string
	// Only are files and folders; none: all of the golden.
	Only    []string
	InPlace bool
	// To is a folder below which the files are put instead of their own places; "": none.
	To    string
	Trust []string
}

// Journals is the folder of the journals of restores.
func (e *Engine) Journals() string { return filepath.Join(e.o.Dir, "restores") }

func (e *Engine) restoreOptions(r Restore, step shivx.GoldenStep, tell func(shivx.GoldenProgress)) restore.Options {
	o := restore.Options{
		Journal: e.Journals(), ID: r.ID, InPlace: r.InPlace, Only: r.Only, To: r.To,
		Protect: append([]string{e.o.Dir}, e.o.Protect...), Stay: e.o.Stay,
	}
	if tell != nil {
		var total int64
		m := e.meter(step, tell, 0, 0)
		m.total = func() (int64, int64) { return total, 0 }
		o.Progress = func(p restore.Progress) { total = p.TotalBytes; m.at(p.Bytes, p.Files) }
	}
	return o
}

// PlanRestore says what a restore would change, and changes nothing.
func (e *Engine) PlanRestore(ctx context.Context, r Restore, tell func(shivx.GoldenProgress)) (restore.Changes, error) {
	g, done, err := e.findLocked(ctx, Ref{Set: r.Set, Golden: r.Golden, Trust: r.Trust})
	if err != nil {
		return restore.Changes{}, err
	}
	defer func() { _ = done() }()
	c, err := restore.Plan(ctx, e.visible(g, r), e.restoreOptions(r, shivx.GoldenStepStage, tell))
	c.Notes = e.loadNotes(r, g.Header().Sources)
	explain(&c, g.Header().Sources)
	return c, err
}

// Stage verifies all that is needed and builds it beside the files in use. Called again it leaves what it
// has staged, but for a restore in place, which compares with the disk once more. The error is
// restore.ErrBusy while another restore is under way, and ErrOver once this one has ended, whoever ended it.
func (e *Engine) Stage(ctx context.Context, r Restore, tell func(shivx.GoldenProgress)) (restore.Changes, error) {
	leave, err := e.enter(ctx, r.ID)
	if err != nil {
		return restore.Changes{}, err
	}
	defer leave()
	if err := e.Over(r.ID); err != nil {
		return restore.Changes{}, err
	}
	st, _, err := e.held(ctx, r.ID)
	if err != nil {
		return restore.Changes{}, err
	}
	if st != nil && (!r.InPlace || st.State() != restore.StateStaged) {
		return st.Changes(), nil
	}
	if st != nil {
		if err := errors.Join(st.Discard(ctx), e.letGo()); err != nil {
			return restore.Changes{}, err
		}
	}
	return changesOf(e.stage(ctx, r, tell))
}

func (e *Engine) stage(ctx context.Context, r Restore, tell func(shivx.GoldenProgress)) (*restore.Staged, error) {
	if err := e.settleOthers(ctx, r.ID, false); err != nil {
		return nil, err
	}
	g, done, err := e.findLocked(ctx, Ref{Set: r.Set, Golden: r.Golden, Trust: r.Trust})
	if err != nil {
		return nil, err
	}
	defer func() { _ = done() }()
	o := e.restoreOptions(r, shivx.GoldenStepStage, tell)
	o.Checked = e.wasChecked(g.Header().ID)
	st, err := restore.Stage(ctx, e.visible(g, r), o)
	if err != nil {
		return nil, inUse(err)
	}
	e.staged = st
	return st, nil
}

func changesOf(st *restore.Staged, err error) (restore.Changes, error) {
	if st == nil {
		return restore.Changes{}, err
	}
	return st.Changes(), err
}

// Swap puts what is staged in place, and keeps what was there. One that took place is not repeated.
func (e *Engine) Swap(ctx context.Context, r Restore) (restore.Changes, error) {
	leave, err := e.enter(ctx, r.ID)
	if err != nil {
		return restore.Changes{}, err
	}
	defer leave()
	if err := e.Over(r.ID); err != nil {
		return restore.Changes{}, err
	}
	st, err := e.need(ctx, r)
	if err != nil || st.State() == restore.StateSwapped {
		return changesOf(st, err)
	}
	return st.Swap(ctx)
}

// Undo puts back what was there, also after a swap that was cut off; false when nothing was swapped. The
// error is ErrOver when the restore was ended, by itself or by another, so that its state stays.
func (e *Engine) Undo(ctx context.Context, r Restore) (bool, error) {
	return e.end(ctx, r, func(st *restore.Staged) error {
		// Before, for one that is cut off halfway is not to be gone on with. A disk too full for the note does
		// not keep the old state away: the undo makes room.
		noted := e.callOff(r) == nil
		if err := st.Undo(ctx); err != nil || noted {
			return err
		}
		return e.callOff(r)
	})
}

// Discard removes what was staged; false when there was nothing.
func (e *Engine) Discard(ctx context.Context, r Restore) (bool, error) {
	return e.end(ctx, r, func(st *restore.Staged) error {
		if err := st.Discard(ctx); err != nil {
			return err
		}
		return e.callOff(r)
	})
}

// end undoes or discards a restore, which is not gone on with afterwards. What cannot be is let go of, so that
// another call, or another process, may take it up from its journal.
func (e *Engine) end(ctx context.Context, r Restore, do func(*restore.Staged) error) (bool, error) {
	leave, err := e.enter(ctx, r.ID)
	if err != nil {
		return false, err
	}
	defer leave()
	st, was, err := e.held(ctx, r.ID)
	if err != nil {
		return false, err
	}
	if st != nil {
		return true, errors.Join(do(st), e.letGo())
	}
	n, err := e.note(r.ID)
	if err == nil && n != nil && !n.Off {
		return false, n.stays(r.ID)
	}
	// One that was being undone has been by being taken up.
	return was == restore.StateUndoing, errors.Join(err, e.callOff(r))
}

// Finish ends a restore that holds. The old state is removed, or kept in the folders that are returned. The
// error is ErrOver when the restored state is not in place.
func (e *Engine) Finish(ctx context.Context, r Restore, keepOld bool) ([]string, error) {
	leave, err := e.enter(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := e.CalledOff(r.ID); err != nil {
		return nil, err
	}
	st, _, err := e.held(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if st != nil && st.State() == restore.StateSwapped {
		return e.finish(ctx, st, r.Set, keepOld)
	}
	n, err := e.note(r.ID)
	if err == nil && n == nil {
		err = shivx.Hint(fmt.Errorf("%w: the state of %s is not in place", ErrOver, r.ID), "begin a new one: shivx golden restore "+r.Set)
	}
	if err != nil {
		return nil, err
	}
	return n.Kept, nil
}

// Standing says what is in the places of a restore's files.
type Standing int

// The standings.
const (
	// OldState: nothing was swapped, or it was undone.
	OldState Standing = iota
	// Unjudged: the restored state, which can still be undone.
	Unjudged
	// NewState: the restored state, for good.
	NewState
)

// Standing says how far a restore has come. One that was killed in the middle of the swap is completed
// first, and one that was killed before is removed.
func (e *Engine) Standing(ctx context.Context, id string) (Standing, error) {
	leave, err := e.enter(ctx, id)
	if err != nil {
		return OldState, err
	}
	defer leave()
	st, _, err := e.held(ctx, id)
	switch {
	case err != nil:
		return OldState, err
	case st != nil && st.State() == restore.StateSwapped:
		return Unjudged, nil
	}
	n, err := e.note(id)
	if err == nil && n != nil && !n.Off {
		return NewState, nil
	}
	return OldState, err
}

// State says how far a restore has come, and leaves it at that; "" when it has no journal.
func (e *Engine) State(id string) (restore.State, error) {
	list, err := e.Pending()
	for _, j := range list {
		if j.ID == id {
			return j.State, err
		}
	}
	return "", err
}
