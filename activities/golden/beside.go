package golden

import (
	"context"
	"errors"
	"time"

	"github.com/shivx/shivx/internal/golden/restore"
)

// ErrAgent says that the agent of this host runs, which would heal what a local restore stops.
var ErrAgent = errors.New("the agent of this host runs")

// may asks whether the restore may begin.
func (l *Local) may() error {
	if l.May == nil {
		return nil
	}
	return l.May()
}

// Busy says whether an error is that another process of this host restores.
func Busy(err error) bool { return errors.Is(err, restore.ErrBusy) }

// awaitEvery is how often is looked whether a restore in another process has ended, and tellEvery how often is told
// that it has not.
const (
	awaitEvery = 500 * time.Millisecond
	tellEvery  = time.Minute
)

// Await waits until no other process of this host restores: an agent that has just started must not heal what
// that one has stopped. Waits is called every minute while there is one.
func (l *Local) Await(ctx context.Context, waits func(error)) error {
	look := time.NewTicker(awaitEvery)
	defer look.Stop()
	var told time.Time
	for {
		release, err := lockJobs(l.Engine.Journals())
		if err == nil {
			release()
			return nil
		}
		if !Busy(err) {
			return err
		}
		if now := time.Now(); now.Sub(told) >= tellEvery {
			told = now
			waits(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}
