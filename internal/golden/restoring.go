package golden

import (
	"context"
	"errors"
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
	o := restore.Options{Journal: e.Journals(), ID: r.ID, InPlace: r.InPlace, Only: r.Only, To: r.To}
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
	s, g, err := e.find(ctx, Ref{Set: r.Set, Golden: r.Golden, Trust: r.Trust})
	if err != nil {
		return restore.Changes{}, err
	}
	defer s.Close()
	return restore.Plan(ctx, e.visible(g, r), e.restoreOptions(r, shivx.GoldenStepStage, tell))
}

// Stage verifies all that is needed and builds it beside the files in use. Called again it leaves what it
// has staged, but for a restore in place, which compares with the disk once more. The error is
// restore.ErrBusy while another restore is under way, and ErrOver once another has ended this one.
func (e *Engine) Stage(ctx context.Context, r Restore, tell func(shivx.GoldenProgress)) (restore.Changes, error) {
	leave, err := e.enter(ctx, r.ID)
	if err != nil {
		return restore.Changes{}, err
	}
	defer leave()
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
	if err := e.over(r.ID); err != nil {
		return nil, err
	}
	if err := e.settleOthers(ctx, r.ID, false); err != nil {
		return nil, err
	}
	s, g, err := e.find(ctx, Ref{Set: r.Set, Golden: r.Golden, Trust: r.Trust})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	release, err := s.Lock(ctx, 0) // lest it is pruned meanwhile
	if err != nil {
		return nil, err
	}
	defer func() { _ = release() }()
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
	st, err := e.need(ctx, r)
	if err != nil || st.State() == restore.StateSwapped {
		return changesOf(st, err)
	}
	return st.Swap(ctx)
}

// Undo puts back what was there, also after a swap that was cut off; false when nothing was swapped. The
// error is ErrOver when the restore was ended, by itself or by another, so that its state stays.
func (e *Engine) Undo(ctx context.Context, r Restore) (bool, error) {
	return e.end(ctx, r.ID, func(st *restore.Staged) error { return st.Undo(ctx) })
}

// Discard removes what was staged; false when there was nothing.
func (e *Engine) Discard(ctx context.Context, r Restore) (bool, error) {
	return e.end(ctx, r.ID, func(st *restore.Staged) error { return st.Discard(ctx) })
}

// end undoes or discards a restore. What cannot be is let go of, so that another call, or another process,
// may take it up from its journal.
func (e *Engine) end(ctx context.Context, id string, do func(*restore.Staged) error) (bool, error) {
	leave, err := e.enter(ctx, id)
	if err != nil {
		return false, err
	}
	defer leave()
	st, was, err := e.held(ctx, id)
	switch {
	case err != nil:
		return false, err
	case st == nil && was == restore.StateUndoing: // taking it up has completed that
		return true, nil
	case st == nil:
		return false, e.over(id)
	}
	if err := do(st); err != nil {
		return true, errors.Join(err, e.letGo())
	}
	return true, errors.Join(e.letGo(), e.forget(id))
}

// Finish ends a restore that holds. The old state is removed, or kept in the folders that are returned.
func (e *Engine) Finish(ctx context.Context, r Restore, keepOld bool) ([]string, error) {
	leave, err := e.enter(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	defer leave()
	st, _, err := e.held(ctx, r.ID)
	if err != nil || st == nil {
		return nil, err
	}
	return e.finish(ctx, st, r.Set, keepOld)
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
	case e.over(id) != nil:
		return NewState, nil
	}
	return OldState, nil
}
