package golden

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/restore"
)

// enter waits for the turn to work on the restore of that id, until leave is called.
func (e *Engine) enter(ctx context.Context, id string) (leave func(), err error) {
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another step of a restore: %w", context.Cause(ctx))
	}
	return func() {
		if e.staged != nil && e.staged.ID() == id {
			e.touched = time.Now()
		}
		<-e.turn
	}, nil
}

// held returns the restore when this process has it, or when it was swapped; nil when nothing of it is there
// any more. One that was cut off is taken up from its journal first, which completes or removes it; was says
// how far it was by then, and is restore.StateUndoing only when the old state is back.
func (e *Engine) held(ctx context.Context, id string) (st *restore.Staged, was restore.State, err error) {
	if e.staged != nil && e.staged.ID() == id {
		return e.staged, e.staged.State(), nil
	}
	list, err := restore.Pending(e.Journals())
	if err != nil {
		return nil, "", err
	}
	for _, j := range list {
		if j.ID != id {
			continue
		}
		if err := e.yield(false); err != nil {
			return nil, "", err
		}
		st, was, err := e.resume(ctx, j)
		if err != nil {
			return nil, "", inUse(err)
		}
		if st.State() == restore.StateGone {
			return nil, was, st.Close()
		}
		e.staged = st
		return st, was, nil
	}
	return nil, "", nil
}

// resume takes up a restore from its journal and says how far it was. What that completes is noted as it
// would have been by the step that was cut off.
func (e *Engine) resume(ctx context.Context, j restore.Journal) (*restore.Staged, restore.State, error) {
	st, err := restore.Resume(ctx, j)
	if err != nil {
		return nil, "", err
	}
	was := st.Was()
	if was == restore.StateGone && j.State == restore.StateUndoing {
		was = j.State // the other process cannot but have completed that
	}
	switch was {
	case restore.StateUndoing:
		err = e.callOff(Restore{ID: j.ID, Set: j.Set})
	case restore.StateFinishing:
		err = e.amend(j, st.Changes().Kept)
	case restore.StateStaging, restore.StateStaged, restore.StateSwapping, restore.StateSwapped, restore.StateGone:
	}
	if err != nil {
		return nil, "", errors.Join(err, st.Close())
	}
	return st, was, nil
}

// need returns the restore, and stages it again when a restart has taken what was staged.
func (e *Engine) need(ctx context.Context, r Restore) (*restore.Staged, error) {
	st, _, err := e.held(ctx, r.ID)
	if err != nil || st != nil {
		return st, err
	}
	return e.stage(ctx, r, nil)
}

// yield gives up the restore that this process has, so that another may be taken up; its journal stays. One
// whose run asked for it a short time ago is not given up, unless it is forced.
func (e *Engine) yield(force bool) error {
	if e.staged == nil {
		return nil
	}
	if !force && time.Since(e.touched) < e.o.Patience {
		return e.busy(e.staged.ID())
	}
	return e.letGo()
}

// letGo gives up the restore that this process has.
func (e *Engine) letGo() error {
	if e.staged == nil {
		return nil
	}
	err := e.staged.Close()
	e.staged = nil
	return err
}

// busy says that another restore is under way.
func (e *Engine) busy(id string) error {
	return shivx.Hint(fmt.Errorf("%w: %s", restore.ErrBusy, id),
		"wait until its run in Temporal has ended, golden/restore/SET@HOST; one whose run is gone is given up "+e.o.Patience.String()+" after its last step, "+
			"or at once when the agent is stopped and the restore is run with --local")
}

// inUse adds what can be done when another process has a restore under way.
func inUse(err error) error {
	if errors.Is(err, restore.ErrBusy) {
		return shivx.Hint(err, "wait until its run in Temporal has ended, golden/restore/SET@HOST; when that is gone, stop the agent, which has the restore, and use --local")
	}
	return err
}

// EndOthers ends every restore that was cut off, whoever began it: what was only staged is removed, what was
// swapped stays and its old state is kept for people. The error is restore.ErrBusy when another process has one.
func (e *Engine) EndOthers(ctx context.Context) error {
	leave, err := e.enter(ctx, "")
	if err != nil {
		return err
	}
	defer leave()
	return e.settleOthers(ctx, "", true)
}

// settleOthers ends restores that nobody goes on with. What was only staged is removed: its own run
// stages it again. What was swapped stays in place, and the old state is kept for people; unless it was swapped
// a short time ago, for then its run may still judge it.
func (e *Engine) settleOthers(ctx context.Context, id string, force bool) error {
	if err := e.yield(force); err != nil {
		return err
	}
	list, err := restore.Pending(e.Journals())
	if err != nil {
		return err
	}
	for _, j := range list {
		if j.ID == id {
			continue
		}
		if !force && e.fresh(j) {
			return e.busy(j.ID)
		}
		st, _, err := e.resume(ctx, j)
		if err != nil {
			return shivx.Hint(fmt.Errorf("an earlier restore of %s must be ended first: %w", j.Set, inUse(err)), shivx.HintOf(inUse(err)))
		}
		if err := e.settle(ctx, st, j.Set); err != nil {
			return err
		}
	}
	return nil
}

// fresh says whether a restore was swapped a short time ago. A time far ahead is that of a clock that was wrong.
func (e *Engine) fresh(j restore.Journal) bool {
	if j.State != restore.StateSwapping && j.State != restore.StateSwapped {
		return false
	}
	info, err := os.Stat(filepath.Join(e.Journals(), j.ID+".journal"))
	return err == nil && time.Since(info.ModTime()).Abs() < e.o.Patience
}

func (e *Engine) settle(ctx context.Context, st *restore.Staged, set string) error {
	switch st.State() {
	case restore.StateStaged:
		return errors.Join(st.Discard(ctx), st.Close())
	case restore.StateSwapped:
		kept, err := e.finish(ctx, st, set, true)
		if err == nil {
			e.o.Logger.Warn("an earlier restore was never judged; the state from before it is kept", "restore", st.ID(), "set", set, "in", kept)
		}
		return err
	default:
		return st.Close()
	}
}

// Pending are the restores that are under way or were cut off.
func (e *Engine) Pending() ([]restore.Journal, error) { return restore.Pending(e.Journals()) }

// Close lets other processes restore; restores under way stay in their journals.
func (e *Engine) Close() error {
	leave, err := e.enter(context.Background(), "")
	if err != nil {
		return err
	}
	defer leave()
	return e.letGo()
}
