package recovery

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// lateFolders are the checkpoints that could not be laid out in time. Each call of a plugin in each step of the run
// would begin with them anew, take its share of the step's time for it, and throw away what it got.
type lateFolders struct {
	mu   sync.Mutex
	byID map[string]late
}

// late is the last attempt to lay a checkpoint out: for a run, in the time it had.
type late struct {
	run string
	had time.Duration
	err error
}

// mostLate is of how many checkpoints this is known. Beyond that all are forgotten: one attempt more does no harm.
const mostLate = 64

// before says why a checkpoint is not to be laid out; nil: it is. Another run tries again, as the host may be less
// busy by then, and so does a step that has a quarter more time.
func (l *lateFolders) before(run, id string, has time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, ok := l.byID[id]
	if !ok || last.run != run || has > last.had+last.had/4 {
		return nil
	}
	return fmt.Errorf("%s were too short for it earlier in this run: %w", last.had.Round(time.Millisecond), last.err)
}

func (l *lateFolders) add(run, id string, had time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID == nil || len(l.byID) >= mostLate {
		l.byID = make(map[string]late)
	}
	l.byID[id] = late{run, had, err}
}

// timeLeft is how long ctx lasts.
func timeLeft(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return math.MaxInt64
	}
	return time.Until(end)
}
