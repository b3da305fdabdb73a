package checkpoint

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/capture"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/store"
)

// Order asks for a checkpoint.
type Order struct {
	// Key is the same for every repetition of a call; a checkpoint that was taken under it is the answer.
	Key       string
	Component string
	Kind      Kind
	State     config.State
	// Confirm, if not nil, is asked when all is read: an error of it means that there is no checkpoint.
	Confirm func(ctx context.Context) error
	// Progress, if not nil, is told bytes; total is what there was the last time, 0 if that is not known.
	Progress func(done, total int64)
}

// mostWorkers bounds the memory of a copy: a lane of the store has some megabytes.
const mostWorkers = 4

// Take copies the state into a new checkpoint. A second call with the same key returns the checkpoint of the
// first; of what a crash left half done nothing is seen. State paths that do not exist are recorded as missing;
// if all are, the error is ErrNothing.
func (s *Store) Take(ctx context.Context, o Order) (Checkpoint, error) {
	c, err := s.take(ctx, o)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("take a checkpoint of %s: %w", o.Component, err)
	}
	return c, nil
}

func (s *Store) take(ctx context.Context, o Order) (Checkpoint, error) {
	if err := checkName(o.Component, o.Kind); err != nil {
		return Checkpoint{}, err
	}
	w, err := s.see(o.State)
	if err != nil {
		return Checkpoint{}, err
	}
	set := setOf(o.Component, o.Kind)
	// Of two calls with one key the second waits for the first.
	release, err := s.lock(ctx, "take-"+set)
	if err != nil {
		return Checkpoint{}, err
	}
	defer release()
	g, err := s.open(ctx)
	if err != nil {
		return Checkpoint{}, err
	}
	defer g.Close()
	known, bad, err := g.known(ctx, o.Component)
	if err != nil {
		return Checkpoint{}, err
	}
	for _, c := range known {
		if c.Kind == o.Kind && c.Key == o.Key {
			return c, nil
		}
	}
	if err := runBefore(ctx, o.State.Before); err != nil {
		return Checkpoint{}, err
	}
	if len(known) > 0 {
		w.previous = &known[len(known)-1]
	}
	return s.store(ctx, g, o, w, nextNumber(known, bad, set))
}

// mostNumber is more checkpoints than a set ever has: a name that says more is none that we gave.
const mostNumber = 1_000_000_000

// nextNumber is the number that follows all of a set. Those signed by a key that is not trusted count as well: it
// may be the host's old one, and once it is trusted again they must not be newer than what was taken since.
func nextNumber(known []Checkpoint, bad []store.Info, set string) string {
	number := 0
	for _, c := range known {
		if setOf(c.Component, c.Kind) == set {
			number = max(number, c.number)
		}
	}
	for _, i := range bad {
		if n, err := strconv.Atoi(i.Header.Name); err == nil && i.Set == set && n < mostNumber {
			number = max(number, n)
		}
	}
	return fmt.Sprintf("%06d", number+1)
}

// store captures the state into the store.
func (s *Store) store(ctx context.Context, g opened, o Order, seen sight, number string) (Checkpoint, error) {
	began := time.Now()
	opts := seen.options()
	var expected int64
	if p := seen.previous; p != nil {
		before, err := g.Find(ctx, p.ID)
		if err == nil {
			opts.Previous, expected = iter.Seq2[*format.Entry, error](before.Entries(ctx)), p.Bytes
		}
	}
	if o.Progress != nil {
		opts.Progress = func(p capture.Progress) { o.Progress(max(p.Bytes, p.Read), expected) }
	}
	w, err := g.Begin(ctx)
	if err != nil {
		return Checkpoint{}, err
	}
	defer w.Abort()
	r, err := capture.Run(ctx, newSink(w, s.home), opts)
	if err == nil {
		err = complete(o.Kind, r)
	}
	if err == nil && o.Confirm != nil {
		err = o.Confirm(ctx)
	}
	if err != nil {
		return Checkpoint{}, err
	}
	r.Skipped = append(r.Skipped, seen.dangling()...)
	made, err := w.Commit(ctx, format.Header{
		Set: setOf(o.Component, o.Kind), Host: s.host, Name: number, Run: o.Key, Kind: format.KindBackup, Taken: time.Since(began).Seconds(),
		Roots: r.Roots, Missing: r.Missing, Exclude: opts.Exclude, Unstable: r.Unstable, Skipped: r.Skipped,
	})
	if err != nil {
		return Checkpoint{}, err
	}
	h := made.Header()
	return of(&h)
}

// runBefore runs the command that flushes buffers.
func runBefore(ctx context.Context, before *config.Command) error {
	if before == nil || len(before.Argv) == 0 {
		return nil
	}
	spec := command.Spec{Argv: before.Argv, Dir: before.Dir, Env: before.Env, Timeout: before.Timeout}
	if _, err := command.Run(ctx, spec); err != nil {
		return fmt.Errorf("command before the checkpoint: %w", err)
	}
	return nil
}

// complete refuses what lacks something: of a healthy checkpoint a restore makes the whole state. One of a fault
// may lack what cannot be read, such as a file on a bad sector, or nothing could be done about that fault. A
// restore of it leaves what it lacks as it is, so all of that must be listed.
func complete(kind Kind, r capture.Result) error {
	switch {
	case r.Unreadable == 0 && r.Entries == 0:
		return ErrNothing
	case r.Unreadable == 0, kind == KindFault && r.SkippedCount <= int64(len(r.Skipped)):
		return nil
	}
	first := r.Faults[0]
	return shivx.Hint(fmt.Errorf("%d files could not be read, such as %s: %s", r.Unreadable, first.Path, first.Why),
		"run the agent as root, repair the disk, or list them under state.exclude")
}
