package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// Options of a Monitor.
type Options struct {
	// Logger gets faults, ends of faults and restarts; default slog.Default().
	Logger *slog.Logger
	// Report is given every finding, those of one component in order and one at a time. No lock
	// is held that Status or Round needs; while it blocks, its component's checks wait.
	Report func(ctx context.Context, f shivx.Finding)
	// Remind is the time after which the finding of a lasting fault is repeated, so that a heal
	// that was lost or refused is tried again; default 60s.
	Remind time.Duration
	// RemindPeople is that time for a component without a ladder, where each repetition calls
	// people; default 30m.
	RemindPeople time.Duration
	// ProcRoot is where processes are read from; default /proc. With another root exits are
	// seen at the next check only.
	ProcRoot string

	running *running
}

// Monitor runs the checks of the components of one host.
type Monitor struct {
	o    Options
	host string
	// pulse is when the monitor last showed that it is alive, in nanoseconds since epoch.
	pulse atomic.Int64
	epoch time.Time

	mu         sync.RWMutex
	components []*component
	byName     map[string]*component
	// runs is what Run has begun; nil while it does not run.
	runs *runs
}

// runs is one call of Run: what it has started ends with ctx.
type runs struct {
	ctx context.Context
	wg  sync.WaitGroup
	// over is set when nothing more may be started.
	over bool
}

// component is one component with its checks and what is known of them.
type component struct {
	name   string
	checks []*schedule

	// reporting keeps findings in order; it is taken before mu and held while Report runs.
	reporting sync.Mutex
	// removed is set, under reporting, once nothing more may be found.
	removed bool
	// added says that the component was added at run time; under Monitor.mu, as is stop.
	added bool
	// stop ends the component's checks; nil until they run.
	stop context.CancelFunc

	mu  sync.Mutex
	det *detector
}

// NewMonitor builds the probes of all components; a component without checks is never found faulty.
func NewMonitor(host string, components []config.Component, o Options) (*Monitor, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Remind <= 0 {
		o.Remind = defaultRemind
	}
	if o.RemindPeople <= 0 {
		o.RemindPeople = defaultRemindPeople
	}
	if o.ProcRoot == "" {
		o.ProcRoot = defaultProc
	}
	o.running = newRunning()
	if o.Report == nil {
		o.Report = func(context.Context, shivx.Finding) {}
	}
	m := &Monitor{o: o, host: host, byName: make(map[string]*component), epoch: time.Now()}
	var errs []error
	for _, cfg := range components {
		c, err := newComponent(host, cfg, o)
		if err != nil {
			errs = append(errs, fmt.Errorf("component %s: %w", cfg.Name, err))
			continue
		}
		if m.byName[cfg.Name] != nil {
			errs = append(errs, fmt.Errorf("component %s is there twice", cfg.Name))
			continue
		}
		m.byName[cfg.Name] = c
		m.components = append(m.components, c)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return m, nil
}

func newComponent(host string, cfg config.Component, o Options) (*component, error) {
	c := &component{name: cfg.Name}
	names := make([]string, 0, len(cfg.Checks))
	seen := make(map[string]bool)
	for _, check := range cfg.Checks {
		b, err := newProbe(check, o.ProcRoot)
		if err != nil {
			return nil, err
		}
		if seen[b.name] {
			return nil, shivx.Hint(fmt.Errorf("two checks are named %q", b.name), "give each check a name of its own")
		}
		seen[b.name] = true
		if p, ok := b.inner.(*heartbeatProbe); ok {
			p.running = o.running
		}
		names = append(names, b.name)
		c.checks = append(c.checks, newSchedule(b))
	}
	failures := cfg.Failures
	if failures <= 0 {
		failures = defaultFailures
	}
	remind := o.Remind
	if len(cfg.Ladder) == 0 {
		remind = o.RemindPeople
	}
	c.det = newDetector(cfg.Target(host), cfg.Critical, failures, remind, names)
	return c, nil
}

// Run runs every component's checks for as long as ctx lives; it returns nil when ctx ends.
func (m *Monitor) Run(ctx context.Context) error {
	r := &runs{ctx: ctx}
	m.mu.Lock()
	if m.runs != nil {
		m.mu.Unlock()
		return errors.New("the health monitor runs already")
	}
	m.runs = r
	for _, c := range m.components {
		m.start(ctx, c)
	}
	m.mu.Unlock()
	m.beatUntil(ctx)
	m.mu.Lock()
	r.over = true
	m.mu.Unlock()
	r.wg.Wait()
	m.mu.Lock()
	m.runs = nil
	m.mu.Unlock()
	return nil
}

// start begins the checks of c; m.mu is held, and Run runs with ctx.
func (m *Monitor) start(ctx context.Context, c *component) {
	ctx, stop := context.WithCancel(ctx)
	c.stop = stop
	for _, s := range c.checks {
		m.runs.wg.Go(func() { m.repeat(ctx, c, s) })
	}
}

func (m *Monitor) find(name string) *component {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.byName[name]
}

func (m *Monitor) all() []*component {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Clone(m.components)
}

// Round runs all checks of one component once, in parallel, each within its timeout, and returns
// their results in the order of the configuration. It leaves the detector alone: a round is asked
// for while a component is being repaired. It makes the monitor look at a faulty component at
// once, so that a process just restarted is watched again, and at a check that passes and is
// known as failing. While a fault is open, a heartbeat counts only when it came after the last
// failure that the detector was told of; what a program said before its restart proves nothing. A
// component without checks is an error, as no samples show no health.
func (m *Monitor) Round(ctx context.Context, name string) ([]Result, error) {
	c := m.find(name)
	if c == nil {
		return nil, shivx.Hint(fmt.Errorf("no component %q on this host", name), "shivx status lists the components")
	}
	if len(c.checks) == 0 {
		return nil, shivx.Hint(fmt.Errorf("component %s has no checks, so nothing shows that it is healthy", name),
			"give it at least one check")
	}
	results := make([]Result, len(c.checks))
	var wg sync.WaitGroup
	for i, s := range c.checks {
		wg.Go(func() { results[i] = s.probe.measure(ctx) })
	}
	wg.Wait()
	c.doubt(results)
	c.hurry(true)
	c.recheck(results)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("round of checks of %s: %w", name, err)
	}
	return results, nil
}

// take feeds one sample to the component's detector and reports what follows.
func (m *Monitor) take(ctx context.Context, c *component, s sample) {
	c.reporting.Lock()
	defer c.reporting.Unlock()
	if c.removed {
		return
	}
	c.mu.Lock()
	before := c.det.fault != nil
	f, found := c.det.observe(s)
	after := c.det.fault != nil
	c.mu.Unlock()
	if after && !before {
		c.hurry(false)
	}
	if found {
		m.tell(ctx, c, f)
	}
}

func (m *Monitor) tell(ctx context.Context, c *component, f shivx.Finding) {
	log := m.o.Logger.With("component", c.name, "id", f.ID, "source", f.Source, "reason", f.Reason)
	if f.Resolved {
		log.Info("component is healthy again")
	} else {
		log.Warn("component is faulty")
	}
	m.o.Report(ctx, f)
}
