package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/durable"
	"github.com/shivx/shivx/internal/golden/format"
)

// Staged is a restore that is ready, or in place, or being undone. Its methods are not for several
// goroutines at once.
type Staged struct {
	j       Journal
	places  *places
	tops    []staged
	changes Changes
	lock    *os.File
	// linked are the live files that were given another name in a staging folder, and when.
	linked map[inode]instant
	// was is how far it was when Resume took it up.
	was State
	// apart is set in tests: names are exchanged in two steps, as where the file system cannot.
	apart bool
}

// ID returns the name of the restore, which is part of the names of its folders.
func (s *Staged) ID() string { return s.j.ID }

// State returns how far the restore is.
func (s *Staged) State() State { return s.j.State }

// Was returns how far the restore was when Resume took it up; StateGone when another process had ended it.
func (s *Staged) Was() State { return s.was }

// Changes returns what differs and what was staged.
func (s *Staged) Changes() Changes { return s.changes }

// Path returns where the content of a path of the golden lies now: in the staging folder until Swap,
// or in place, where it needs no change or was swapped.
func (s *Staged) Path(p string) string {
	if s.j.State == StateStaged {
		for _, t := range s.tops {
			if format.Below(t.path, p) {
				return filepath.Join(string(t.site.Base), string(t.site.Stage), comingDir, t.name) + strings.TrimPrefix(p, t.path)
			}
		}
	}
	return s.places.real(p)
}

// Swap brings the new state into place and returns what was changed. Until it begins to rename, an
// error means that nothing was changed; after that Undo is needed. It does not stop half way when ctx
// ends.
func (s *Staged) Swap(ctx context.Context) (Changes, error) {
	fail := func(err error) (Changes, error) {
		return s.changes, fmt.Errorf("restore golden %s: %w", s.j.Golden, err)
	}
	if s.j.State != StateStaged {
		return fail(fmt.Errorf("cannot swap what is %s", s.j.State))
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if err := s.survey(true); err != nil {
		return fail(err)
	}
	if err := s.j.reserve(); err != nil {
		return fail(err)
	}
	if err := s.j.write(StateSwapping); err != nil {
		return fail(err)
	}
	if err := s.swap(); err != nil {
		return fail(shivx.Hint(err, "undo the restore, which brings the old state back"))
	}
	return s.changes, nil
}

// swap does or completes all renames.
func (s *Staged) swap() error {
	m := newMover(s)
	defer m.close()
	if err := m.all(swapFile, false, m.forward); err != nil {
		return err
	}
	if err := s.places.sync(); err != nil {
		return err
	}
	return s.j.write(StateSwapped)
}

// Undo brings the old state back and removes the new one.
func (s *Staged) Undo(_ context.Context) error {
	fail := func(err error) error { return fmt.Errorf("undo the restore %s: %w", s.j.ID, err) }
	switch s.j.State {
	case StateStaging, StateStaged:
		return s.discard()
	case StateSwapping, StateSwapped:
		if err := errors.Join(s.j.useReserve(), s.surveyBack()); err != nil {
			return fail(err)
		}
		if err := s.j.write(StateUndoing); err != nil {
			return fail(err)
		}
	case StateUndoing:
	case StateFinishing, StateGone:
		return fail(errors.New("the old state is no longer there"))
	}
	if err := s.undo(); err != nil {
		return fail(shivx.Hint(err, "undo it again once the cause is gone; the old state lies in "+s.folders()))
	}
	return nil
}

func (s *Staged) undo() error {
	m := newMover(s)
	defer m.close()
	if err := m.all(undoFile, true, m.back); err != nil {
		return err
	}
	if err := s.places.sync(); err != nil {
		return err
	}
	m.close()
	return s.discard()
}

// folders lists the staging folders.
func (s *Staged) folders() string {
	var list []string
	for _, site := range s.j.Sites {
		if site.Stage != "" {
			list = append(list, filepath.Join(string(site.Base), string(site.Stage)))
		}
	}
	return strings.Join(list, ", ")
}

// Finish ends a restore that was swapped. The old state is removed or, with keepOld, kept in folders
// beside the roots that Changes names.
func (s *Staged) Finish(_ context.Context, keepOld bool) error {
	if s.j.State == StateSwapped {
		s.j.Keep = keepOld
		if err := errors.Join(s.j.useReserve(), s.j.write(StateFinishing)); err != nil {
			return fmt.Errorf("finish the restore %s: %w", s.j.ID, err)
		}
	}
	if s.j.State != StateFinishing {
		return fmt.Errorf("finish the restore %s: it is %s", s.j.ID, s.j.State)
	}
	if s.j.Keep {
		if err := s.keep(); err != nil {
			return fmt.Errorf("keep the old state of the restore %s: %w", s.j.ID, err)
		}
	}
	if err := s.dispose(true); err != nil {
		return fmt.Errorf("finish the restore %s: %w", s.j.ID, err)
	}
	return nil
}

// Discard removes what was staged. A restore that was swapped has to be undone instead.
func (s *Staged) Discard(_ context.Context) error {
	if s.j.State != StateStaged && s.j.State != StateStaging {
		return fmt.Errorf("discard the restore %s: it is %s", s.j.ID, s.j.State)
	}
	return s.discard()
}

// discard removes what was staged and what was made for it.
func (s *Staged) discard() error {
	if err := s.dispose(false); err != nil {
		return fmt.Errorf("discard the restore %s: %w", s.j.ID, err)
	}
	return nil
}

// Resume takes a restore on that was cut off: one that had not begun to swap is discarded, one that
// had is completed to the new state, and can still be undone; one that was being undone is undone,
// and one that was being finished is finished. What counts is how far it is now: j may have been read
// while another process went on with it. State tells which; it is StateGone, and nothing is done, when
// another process has ended it since. The error is ErrBusy while one has it.
func Resume(ctx context.Context, j Journal) (*Staged, error) {
	fail := func(err error) error { return fmt.Errorf("resume the restore %s: %w", j.ID, err) }
	locked, err := lock(j.dir)
	if err != nil {
		return nil, fail(err)
	}
	now, err := readJournal(j.dir, j.ID)
	if errors.Is(err, fs.ErrNotExist) {
		now, err = j, nil
		now.State = StateGone
	}
	now.step = j.step
	s := &Staged{j: now, lock: locked, changes: now.Changes, was: now.State}
	if err == nil {
		err = s.resume(ctx)
	}
	if err != nil {
		return nil, fail(errors.Join(err, s.release()))
	}
	return s, nil
}

// resume goes on with what the journal says. The caller has the lock.
func (s *Staged) resume(ctx context.Context) error {
	var err error
	if s.places, err = s.j.places(); err != nil {
		return err
	}
	if err := s.places.lock(); err != nil {
		return err
	}
	switch s.j.State {
	case StateStaging, StateStaged:
		return s.discard()
	case StateSwapping:
		return s.swap()
	case StateUndoing:
		return s.undo()
	case StateFinishing:
		return s.Finish(ctx, s.j.Keep)
	case StateGone:
		return s.release()
	case StateSwapped:
	}
	return nil
}

// places returns where everything lies, as the journal has it.
func (j *Journal) places() (*places, error) {
	p := &places{roots: j.Roots, to: string(j.To), sites: j.Sites, made: j.Made}
	all, err := mountPoints("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		for _, r := range p.roots {
			if format.Below(string(r.Real), m) {
				p.mounts = append(p.mounts, m)
			}
		}
	}
	for _, s := range p.sites {
		s.base, s.stage, s.used = -1, -1, s.Stage != ""
	}
	return p, nil
}

// Close lets go of a restore without ending it: its journal stays, and Resume takes it up. A restore
// that has ended needs none.
func (s *Staged) Close() error { return s.release() }

// release lets others restore.
func (s *Staged) release() error {
	if s.places != nil {
		s.places.close()
	}
	if s.lock == nil {
		return nil
	}
	err := durable.Unlock(s.lock)
	s.lock = nil
	return err
}
