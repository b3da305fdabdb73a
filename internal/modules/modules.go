// Package modules knows the programs that have registered themselves over HTTP, and shows every
// module of the host, registered or configured, with its health.
//
// A registered program is watched by its heartbeats: it becomes a component with one check,
// whose lease it has chosen. It has no recovery ladder, so that a missed lease calls people. The
// registrations are kept in one file, so that a restart of the agent forgets none; heartbeats
// are not kept, and each program has a whole lease to send its next. A program that is silent for
// long is forgotten (forget.go).
package modules

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/health"
)

// Errors that callers tell apart.
var (
	// ErrUnknown: no module of that name is registered.
	ErrUnknown = errors.New("unknown module")
	// ErrConfigured: the configuration has a component of that name, which is not to be had this way.
	ErrConfigured = errors.New("the name is that of a configured component")
	// ErrInvalid: the name or the lease cannot be used.
	ErrInvalid = errors.New("invalid registration")
	// ErrFull: no more programs may register.
	ErrFull = errors.New("too many registered modules")
)

// The leases of registered modules.
const (
	// DefaultLease is the lease of a program that asks for none, unless the longest is shorter.
	DefaultLease = 30 * time.Second
	// MinLease keeps a program from being called faulty by the jitter of its timer.
	MinLease = time.Second
)

// Registration is one program that has registered itself.
type Registration struct {
	Name     string `json:"name"`
	Critical bool   `json:"critical"`
	// Lease is how long a heartbeat holds.
	Lease shivx.Duration `json:"lease"`
	// Since is when it was registered first.
	Since time.Time `json:"since"`
}

// Removal is the details of the event that tells of a registration's end.
type Removal struct {
	Registration
	Reason string `json:"reason"`
}

// Monitor watches components.
type Monitor interface {
	Add(c config.Component) error
	Remove(ctx context.Context, name string) bool
	Heartbeat(component, failing string) error
	// Missing is how long the lease of the component's heartbeats has been over; 0 while it holds.
	Missing(component string) time.Duration
}

var _ Monitor = (*health.Monitor)(nil)

// Append writes an event about a module to the resilience audit; the caller goes on whether or
// not that succeeds.
type Append func(ctx context.Context, event, module string, details any)

// Registry knows the registered programs. Its methods may be called from many goroutines.
type Registry struct {
	cfg     *config.Config
	monitor Monitor
	record  Append
	log     *slog.Logger
	path    string
	now     func() time.Time

	// changing is held over a whole change, mu for as long as byName is read or written.
	changing sync.Mutex
	mu       sync.RWMutex
	byName   map[string]Registration
}

// Open reads the registrations kept below the configured var folder and has them watched, each
// with a whole lease before a missing heartbeat counts. A file that cannot be read is set aside
// with a line in the log: the programs register again.
func Open(ctx context.Context, cfg *config.Config, m Monitor, record Append, log *slog.Logger) *Registry {
	r := &Registry{
		cfg: cfg, monitor: m, record: record, log: log, path: Path(cfg.Paths.Var), now: time.Now,
		byName: map[string]Registration{},
	}
	r.restore(ctx)
	return r
}

// Register has a program watched under a name. Registering again counts as a heartbeat and may
// change lease and criticality; a lease of 0 asks for the default. When the configuration has a
// component of that name with a heartbeat check, it counts as that one's heartbeat, and the
// configuration holds; without such a check it is ErrConfigured.
func (r *Registry) Register(ctx context.Context, name string, critical bool, lease time.Duration) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	if _, configured := r.cfg.Component(name); configured {
		return r.beatConfigured(name, "")
	}
	if lease == 0 {
		lease = min(DefaultLease, r.cfg.Resilience.Modules.MaxLease)
	}
	if err := r.check(name, lease); err != nil {
		return err
	}
	before, renewed := r.get(name)
	if !renewed && r.count() >= r.cfg.Resilience.Modules.MaxRegistered {
		return shivx.Hint(fmt.Errorf("register %s: %w: there may be %d", name, ErrFull, r.cfg.Resilience.Modules.MaxRegistered),
			"remove one that is not needed, or raise resilience.modules.max_registered")
	}
	// What is changed must be told also when whoever asked has hung up.
	ctx = context.WithoutCancel(ctx)
	now := Registration{Name: name, Critical: critical, Lease: shivx.Duration(lease), Since: r.now().UTC().Round(0)}
	if renewed {
		now.Since = before.Since
	}
	if now != before {
		if err := r.change(ctx, now, before, renewed); err != nil {
			return err
		}
		r.record(ctx, shivx.EventModuleRegistered, name, now)
	}
	return r.monitor.Heartbeat(name, "")
}

// change has a registration watched as it is now and keeps it; when it cannot be kept, all is as before.
func (r *Registry) change(ctx context.Context, now, before Registration, renewed bool) error {
	if err := r.monitor.Add(r.component(now)); err != nil {
		return fmt.Errorf("register %s: %w", now.Name, err)
	}
	r.set(now)
	err := r.save()
	if err == nil {
		return nil
	}
	if !renewed {
		r.drop(now.Name)
		r.monitor.Remove(ctx, now.Name)
	} else {
		r.set(before)
		err = errors.Join(err, r.monitor.Add(r.component(before)))
	}
	return shivx.Hint(fmt.Errorf("register %s: %w", now.Name, err), "the agent must be able to write below paths.var")
}

// Heartbeat takes in a heartbeat of a registered program, or of a configured component with a
// heartbeat check; failing is what the program says is wrong with it, "" when nothing is.
func (r *Registry) Heartbeat(_ context.Context, name, failing string) error {
	if _, configured := r.cfg.Component(name); configured {
		return r.beatConfigured(name, failing)
	}
	err := r.monitor.Heartbeat(name, failing)
	if errors.Is(err, health.ErrNoHeartbeatCheck) {
		return unknown(name)
	}
	return err
}

func (r *Registry) beatConfigured(name, failing string) error {
	err := r.monitor.Heartbeat(name, failing)
	if errors.Is(err, health.ErrNoHeartbeatCheck) {
		return shivx.Hint(fmt.Errorf("%s: %w, which has no heartbeat check", name, ErrConfigured),
			"give the component a check of the kind heartbeat, or take another name")
	}
	return err
}

// Remove ends the watch over a registered program; a fault that is open ends with it.
func (r *Registry) Remove(ctx context.Context, name string) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	before, ok := r.get(name)
	if !ok {
		if _, configured := r.cfg.Component(name); configured {
			return shivx.Hint(fmt.Errorf("remove %s: %w", name, ErrConfigured), "remove it from the configuration")
		}
		return unknown(name)
	}
	return r.end(ctx, before, "removed on request")
}

// end forgets a registration; r.changing is held.
func (r *Registry) end(ctx context.Context, m Registration, why string) error {
	r.drop(m.Name)
	if err := r.save(); err != nil {
		r.set(m)
		return shivx.Hint(fmt.Errorf("remove %s: %w", m.Name, err), "the agent must be able to write below paths.var")
	}
	// The module is gone: that must be told also when whoever asked has hung up.
	ctx = context.WithoutCancel(ctx)
	r.monitor.Remove(ctx, m.Name)
	r.record(ctx, shivx.EventModuleRemoved, m.Name, Removal{m, why})
	return nil
}

func unknown(name string) error {
	return shivx.Hint(fmt.Errorf("%w %q", ErrUnknown, name), "register it first: POST /api/modules")
}

// Registrations returns the registered programs by name.
func (r *Registry) Registrations() []Registration {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]Registration, 0, len(r.byName))
	for _, m := range r.byName {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Registration) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Component returns the component of that name, configured or registered.
func (r *Registry) Component(name string) (config.Component, bool) {
	if c, ok := r.cfg.Component(name); ok {
		return c, true
	}
	m, ok := r.get(name)
	if !ok {
		return config.Component{}, false
	}
	return r.component(m), true
}

// component is what a registration stands for: one missed lease is a fault, and people are told.
func (r *Registry) component(m Registration) config.Component {
	c := config.DefaultComponent(m.Name)
	c.Critical, c.Failures = m.Critical, 1
	c.Checks = []config.Check{{
		Name: "heartbeat", Every: r.cfg.Defaults.Every, Timeout: r.cfg.Defaults.Timeout,
		Heartbeat: &config.HeartbeatCheck{Lease: m.Lease.Std()},
	}}
	return c
}

// check says what is wrong with a registration.
func (r *Registry) check(name string, lease time.Duration) error {
	err := config.CheckName(name)
	limit := r.cfg.Resilience.Modules.MaxLease
	switch {
	case err != nil:
	case name == shivx.ModuleHost:
		err = shivx.Hint(fmt.Errorf("%q stands for the whole host", name), "take another name")
	case lease < MinLease || lease > limit:
		err = shivx.Hint(fmt.Errorf("the lease %s is not between %s and %s", lease, MinLease, limit),
			"choose another lease, or raise resilience.modules.max_lease")
	default:
		return nil
	}
	return shivx.Hint(fmt.Errorf("register %.70q: %w: %w", name, ErrInvalid, err), shivx.HintOf(err))
}

func (r *Registry) get(name string) (Registration, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m, ok := r.byName[name]
	return m, ok
}

func (r *Registry) count() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.byName)
}

func (r *Registry) set(m Registration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byName[m.Name] = m
}

func (r *Registry) drop(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byName, name)
}
