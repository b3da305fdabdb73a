package health

import (
	"sync"
	"time"
)

const (
	// runStep is the time between two looks at whether this process runs.
	runStep = 200 * time.Millisecond
	// runStall is the time without such a look after which it did not run. It is less than a lease
	// leaves to a program that sends three heartbeats in the shortest lease of a module, 1 s.
	runStall = 500 * time.Millisecond
)

// running measures the time for which this process could take in heartbeats: a process that is
// stopped, on a host that is paused or starved, hears nobody, and whom it did not hear is not to
// blame. While somebody uses it, it looks at the clock at each runStep; the time between two looks
// counts, but of more than runStall only one step does. Unused it is the monotonic clock.
type running struct {
	mu    sync.Mutex
	ran   time.Duration // until last
	last  time.Time     // the last look
	users int
	timer *time.Timer
}

func newRunning() *running { return &running{last: time.Now()} }

// total is the time for which the process has run so far.
func (r *running) total() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	since := time.Since(r.last)
	if r.users > 0 {
		since = min(since, runStep) // whether more of it counts is known at the next look
	}
	return r.ran + since
}

// use has the process watched until done is called.
func (r *running) use() (done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users++; r.users == 1 {
		now := time.Now()
		r.ran, r.last = r.ran+now.Sub(r.last), now
		r.timer = time.AfterFunc(runStep, r.look)
	}
	return sync.OnceFunc(r.leave)
}

func (r *running) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users--; r.users == 0 {
		r.timer.Stop()
		r.step(time.Now())
	}
}

func (r *running) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users > 0 {
		r.step(time.Now())
		r.timer.Reset(runStep)
	}
}

// step counts the time since the last look.
func (r *running) step(now time.Time) {
	since := now.Sub(r.last)
	if since > runStall {
		since = runStep
	}
	r.ran, r.last = r.ran+since, now
}
