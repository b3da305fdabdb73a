package resilience

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/vitals"
)

// Ledger is the resilience audit, open for writing.
type Ledger interface {
	Append(ctx context.Context, key string, fields any) (ledger.Record, error)
	Find(key string) (ledger.Record, bool, error)
	Genesis() string
}

var _ Ledger = (*ledger.Ledger)(nil)

// Options of New. Host, Rules, Ledger, LedgerPath and Sample are required.
type Options struct {
	Host   string
	Rules  config.Resilience
	Ledger Ledger
	// LedgerPath is the ledger's file, from which the state is read back.
	LedgerPath string
	// Sample reads the host. It returns when ctx ends, whatever it has until then.
	Sample func(ctx context.Context) vitals.Sample
	// Modules lists the components and registered programs as they are now; their Restarts are filled in here.
	Modules func() []Module
	// OnSample is given each sample and its score, for the history and for metrics. It must not block.
	OnSample func(vitals.Sample, Score)
	// Shedder switches load-shedding hooks; it may be nil when there are none.
	Shedder Shedder
	// Boot names this start of the machine; default: what the kernel says.
	Boot string
	// Keep is a folder in which the options of the hooks that are on are kept, in files that only the
	// agent's user may read; required when there are hooks.
	Keep string
	// FlagsFile gets the features at each change; "": none is written.
	FlagsFile string
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// Clock defaults to the machine's.
	Clock Clock
}

// Core keeps the level of one host. Its methods may be called from many goroutines.
type Core struct {
	o       Options
	log     *slog.Logger
	clock   Clock
	started time.Duration
	genesis string
	scorer  *Scorer
	running atomic.Bool
	alive   atomic.Pointer[time.Time]
	woken   chan struct{} // the loop shall look at the override's end anew

	// order is held from the decision for a change until it is recorded and applied, so that the
	// ledger's order is that of the changes. It is taken before mu.
	order     sync.Mutex
	machine   *Machine
	outbox    []entry
	recordAt  time.Duration // when the next health_check is due
	recordNow bool          // it is due at once

	// mu guards what Status shows; it is never held during I/O. Who changes state holds order too.
	mu          sync.Mutex
	state       state
	held        string
	endsBy      time.Duration // the latest end of the override, on the clock that never jumps
	sample      *observation
	ledgerErr   error
	waiting     int // records in outbox
	trouble     map[string]string
	listeners   []func(*Snapshot)
	switching   string // the hook under way
	switchedOff map[string]shivx.HookState

	features atomic.Pointer[Snapshot]
	flags    *flagsFile
	hooks    *hooks
	kept     *kept
	marks    *marks
}

// observation is the newest sample.
type observation struct {
	score   Score
	at      time.Time
	elapsed time.Duration // on the Core's clock
	notices []string
	modules []Module
}

// New returns a Core in the state that the newest records of the audit tell: the level, the
// override, the counts of restarts and the hooks that are on are as they were. An empty audit
// means NORMAL.
func New(o Options) (*Core, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = systemClock{started: time.Now()}
	}
	if o.Boot == "" {
		o.Boot = bootID()
	}
	if o.Modules == nil {
		o.Modules = func() []Module { return nil }
	}
	if len(o.Rules.Hooks) > 0 && o.Shedder == nil {
		return nil, errors.New("resilience: there are hooks and nothing to switch them with")
	}
	if len(o.Rules.Hooks) > 0 && o.Keep == "" {
		return nil, errors.New("resilience: there are hooks and nowhere to keep their options")
	}
	s, err := readBack(o.LedgerPath, o.Logger)
	if err != nil {
		return nil, shivx.Hint(fmt.Errorf("read the state back from the resilience audit: %w", err),
			"check that the disk is well and that the agent's user may read the file; `shivx ledger verify` says what is wrong with it")
	}
	c := &Core{
		o: o, log: o.Logger, clock: o.Clock, started: o.Clock.Elapsed(), genesis: o.Ledger.Genesis(),
		scorer: NewScorer(o.Rules.Score), woken: make(chan struct{}, 1),
		machine: NewMachine(o.Rules.Levels, float64(o.Rules.Score.MinConfidence)/100, s.Automatic),
		state:   s, trouble: map[string]string{}, switchedOff: map[string]shivx.HookState{},
		flags: newFlagsFile(o.FlagsFile), hooks: newHooks(o.Rules.Hooks), kept: newKept(o.Keep),
	}
	c.machine.restore(s.Damping)
	if c.marks, err = newMarks(o.Keep, o.Rules.Hooks); err != nil {
		c.log.Error("the marks of load-shedding hooks cannot be used", "error", err)
	}
	c.recallBoot()
	c.recallMarked()
	c.recordAt = c.started
	c.touch()
	if s.Override != nil {
		c.endsBy = c.started + min(s.Override.Until.Sub(c.now()), s.Override.Until.Sub(s.Override.Since))
	}
	c.features.Store(c.snapshot(c.now()))
	return c, nil
}

// now is the wall clock as it stands in records.
func (c *Core) now() time.Time { return c.clock.Now().UTC().Round(0) }

func (c *Core) touch() {
	t := c.clock.Now()
	c.alive.Store(&t)
}

// Alive returns when the loop of Run made progress last, for a watchdog.
func (c *Core) Alive() time.Time { return *c.alive.Load() }

// Run samples, records, writes the flags file, switches hooks and ends overrides until ctx ends;
// it returns nil then.
func (c *Core) Run(ctx context.Context) error {
	if c.running.Swap(true) {
		return errors.New("the resilience core runs already")
	}
	defer c.running.Store(false)
	c.endOverride(ctx) // one that ended while the agent was away
	var wg sync.WaitGroup
	wg.Go(func() { c.followFlags(ctx) })
	wg.Go(func() { c.followLevel(ctx) })
	c.loop(ctx)
	wg.Wait()
	c.order.Lock()
	defer c.order.Unlock()
	c.flush(ctx) // the last chance of what waits in memory
	return nil
}

// loop takes a sample at each beat, and wakes in between for the end of an override.
func (c *Core) loop(ctx context.Context) {
	every := c.o.Rules.Monitor.Every
	next := c.clock.Elapsed()
	for ctx.Err() == nil {
		if now := c.clock.Elapsed(); now >= next {
			c.step(ctx)
			next = max(next+every, c.clock.Elapsed())
		} else {
			c.endOverride(ctx)
		}
		c.touch()
		wait := next - c.clock.Elapsed()
		if left, ok := c.overrideLeft(); ok {
			wait = min(wait, left)
		}
		select {
		case <-ctx.Done():
		case <-c.woken:
		case <-c.clock.After(wait):
		}
	}
}

// step takes one sample and does what follows from it.
func (c *Core) step(ctx context.Context) {
	modules := c.modules()
	s, score, ok := c.measure(ctx, modules)
	if ok && c.o.OnSample != nil {
		c.contain("handing a sample on", func() { c.o.OnSample(s, score) })
	}
	c.order.Lock()
	defer c.order.Unlock()
	c.flush(ctx)
	if ok {
		c.contain("following the score", func() { c.observe(ctx, s, score, modules) })
	}
	c.endOverrideLocked(ctx)
	c.recordHealth(ctx)
	c.flags.retry()
	c.hooks.wake()
}

// measure takes a sample and scores it; false when that failed.
func (c *Core) measure(ctx context.Context, modules []Module) (s vitals.Sample, score Score, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Rules.Monitor.Every+c.o.Rules.Monitor.Timeout)
	defer cancel()
	ok = c.contain("sampling", func() { s = c.o.Sample(ctx) }) &&
		c.contain("scoring", func() { score = c.scorer.Score(s, modules) })
	return s, score, ok
}

// observe lets the level follow a sample.
func (c *Core) observe(ctx context.Context, s vitals.Sample, score Score, modules []Module) {
	level, changed, reason := c.machine.Observe(s.Elapsed, score)
	c.mu.Lock()
	c.sample = &observation{score: score, at: s.At, elapsed: c.clock.Elapsed(), notices: s.Notices, modules: modules}
	c.held = c.machine.Held()
	c.state.Automatic = level
	now, override := c.state.Level, c.state.Override
	c.mu.Unlock()
	switch {
	case override != nil && changed:
		// Nothing changes for anybody, so that it is no LevelChange; a restart must know it all the same.
		c.log.Info("the level by score changed while an override holds", "automatic_level", level, "reason", reason)
		c.recordNow = true
	case override == nil && level != now:
		c.change(ctx, "", shivx.LevelChange{To: level, Cause: shivx.CauseScore, Reason: cmp.Or(reason, "the score asks for it")})
	}
}

// modules lists the modules with their counts of restarts.
func (c *Core) modules() []Module {
	var list []Module
	c.contain("listing the modules", func() { list = c.o.Modules() })
	out := make([]Module, len(list))
	copy(out, list)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range out {
		out[i].Restarts = c.state.Restarts[out[i].Name]
	}
	return out
}

// contain calls f and says whether it returned. A panic is logged and told in the status until
// the same work succeeds.
func (c *Core) contain(what string, f func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("the resilience core contained a panic", "in", what, "panic", p, "stack", string(debug.Stack()))
			c.setTrouble(what, fmt.Sprintf("%s panicked: %v", what, p))
		}
	}()
	f()
	c.setTrouble(what, "")
	return true
}

// setTrouble keeps a notice for the status, "" drops it; it says whether the notice is new.
func (c *Core) setTrouble(what, text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.trouble[what]
	if text == "" {
		delete(c.trouble, what)
	} else {
		c.trouble[what] = text
	}
	return text != before
}
