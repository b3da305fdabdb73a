package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	// Remind is the time after which the finding of a lasting fault is repeated; default 60s.
	Remind time.Duration
	// ProcRoot is where processes are read from; default /proc. With another root exits are
	// seen at the next check only.
	ProcRoot string
}

// Monitor runs the checks of the components of one host.
type Monitor struct {
	o          Options
	components []*component
	byName     map[string]*component
	running    atomic.Bool
}

// component is one component with its checks and what is known of them.
type component struct {
	name   string
	checks []*schedule

	// reporting keeps findings in order; it is taken before mu and held while Report runs.
	reporting sync.Mutex
	mu        sync.Mutex
	det       *detector
}

// NewMonitor builds the probes of all components; a component without checks is never found faulty.
func NewMonitor(host string, components []config.Component, o Options) (*Monitor, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Remind <= 0 {
		o.Remind = defaultRemind
	}
	if o.ProcRoot == "" {
		o.ProcRoot = defaultProc
	}
	if o.Report == nil {
		o.Report = func(context.Context, shivx.Finding) {}
	}
	m := &Monitor{o: o, byName: make(map[string]*component)}
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
		names = append(names, b.name)
		c.checks = append(c.checks, newSchedule(b))
	}
	failures := cfg.Failures
	if failures <= 0 {
		failures = defaultFailures
	}
	c.det = newDetector(cfg.Target(host), cfg.Critical, failures, o.Remind, names)
	return c, nil
}

// Run runs every component's checks for as long as ctx lives; it returns nil when ctx ends.
func (m *Monitor) Run(ctx context.Context) error {
	if m.running.Swap(true) {
		return errors.New("the health monitor runs already")
	}
	defer m.running.Store(false)
	var wg sync.WaitGroup
	for _, c := range m.components {
		for _, s := range c.checks {
			wg.Go(func() { m.repeat(ctx, c, s) })
		}
	}
	<-ctx.Done()
	wg.Wait()
	return nil
}

// Round runs all checks of one component once, in parallel, each within its timeout, and returns
// their results in the order of the configuration. It leaves the detector alone: a round is asked
// for while a component is being repaired. It makes the monitor look at a faulty component at
// once, so that a process just restarted is watched again. A component without checks is an
// error, as no samples show no health.
func (m *Monitor) Round(ctx context.Context, name string) ([]Result, error) {
	c := m.byName[name]
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
	c.hurry(true)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("round of checks of %s: %w", name, err)
	}
	return results, nil
}

// take feeds one sample to the component's detector and reports what follows.
func (m *Monitor) take(ctx context.Context, c *component, s sample) {
	c.reporting.Lock()
	defer c.reporting.Unlock()
	c.mu.Lock()
	before := c.det.fault != nil
	f, found := c.det.observe(s)
	after := c.det.fault != nil
	c.mu.Unlock()
	if after && !before {
		c.hurry(false)
	}
	if !found {
		return
	}
	log := m.o.Logger.With("component", c.name, "id", f.ID, "source", f.Source, "reason", f.Reason)
	if f.Resolved {
		log.Info("component is healthy again")
	} else {
		log.Warn("component is faulty")
	}
	m.o.Report(ctx, f)
}
