// Package agent is the composition root of the host agent: it builds the sensors, the ledger,
// the plugins and the Temporal workers from the configuration and runs them together.
//
// Sensing and recording never wait for Temporal. What was found while Temporal was away is in
// the ledger, which is also the outbox: it is read from a saved position (dispatch.go) and the
// component's entity is told, once Temporal answers.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	forecastacts "github.com/shivx/shivx/activities/forecast"
	goldenacts "github.com/shivx/shivx/activities/golden"
	"github.com/shivx/shivx/activities/recovery"
	"github.com/shivx/shivx/internal/api"
	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/forecast"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/notify"
	"github.com/shivx/shivx/internal/telemetry"
	"github.com/shivx/shivx/plugins/builtin"
	"github.com/shivx/shivx/plugins/host"
)

// Agent watches and heals the components of one host.
type Agent struct {
	cfg    *config.Config
	client client.Client
	// namespace of Temporal in which the runbooks live.
	namespace  string
	log        *slog.Logger
	telemetry  *telemetry.Telemetry
	supervisor *Supervisor
	ledger     *ledger.Ledger
	monitor    *health.Monitor
	plugins    *host.Set
	steps      *recovery.Activities
	golden     *goldenacts.Activities
	mitigation *forecastacts.Activities
	api        *api.Server
	// heads has the newest signed head of each ledger, for the witness.
	heads []chan ledger.Head
	// findings tells what the operational ledger holds.
	findings *Outbox
	vital
	guard
	// forecast is nil where the configuration turns it off.
	forecast *forecast.Engine
	// mitigated counts what was done about forecasts.
	mitigated mitigated
	// worked is true once this process has taken work from Temporal.
	worked bool
}

// Options of New.
type Options struct {
	// Namespace of Temporal in which the runbooks live.
	Namespace string
	Logger    *slog.Logger
	// Telemetry is shown on /metrics; it may count for the client, too.
	Telemetry *telemetry.Telemetry
	// Supervisor is told how the agent is; nil: nobody is.
	Supervisor *Supervisor
}

// New builds an agent; nothing runs yet. c may be a lazy client: the server need not answer.
func New(cfg *config.Config, c client.Client, o Options) (*Agent, error) {
	a := &Agent{cfg: cfg, client: c, namespace: o.Namespace, log: o.Logger, telemetry: o.Telemetry, supervisor: o.Supervisor}
	a.registered, a.samples = make(chan struct{}, 1), make(chan measured, 1)
	if a.supervisor == nil {
		a.supervisor = &Supervisor{}
	}
	if err := a.open(); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// open makes the folders and opens what the agent owns on disk.
func (a *Agent) open() error {
	var err error
	if a.ledger, err = a.openLedger(config.OperationalLedger); err != nil {
		return err
	}
	if err := a.linkConfig(); err != nil {
		a.log.Warn("commands in the folder above paths.var do not find the configuration by themselves", "error", err)
	}
	checkpoints, err := checkpoint.Open(checkpoint.Options{
		Var: a.cfg.Paths.Var, Host: a.cfg.Host, Trusted: a.cfg.Golden.TrustedKeys, Logger: a.log,
	})
	if err != nil {
		return fmt.Errorf("open the checkpoints: %w", err)
	}
	a.plugins = host.New(builtin.All(builtin.Options{Checkpoints: checkpoints, Logger: a.log}), host.Specs(a.cfg), a.log)
	a.monitor, err = health.NewMonitor(a.cfg.Host, a.cfg.Components, health.Options{Logger: a.log, Report: a.report})
	if err != nil {
		return fmt.Errorf("build the health checks: %w", err)
	}
	people := notify.New(a.cfg.Notify, a.log)
	a.steps = &recovery.Activities{
		Config: a.cfg, Checks: a.monitor, Plugins: a.plugins, Checkpoints: checkpoints,
		Ledger: a.ledger, Notifier: people, Logger: a.log,
	}
	if err := a.openGolden(); err != nil {
		return err
	}
	if err := a.openVital(); err != nil {
		return err
	}
	if err := a.openGuard(people); err != nil {
		return err
	}
	if err := a.openForecast(); err != nil {
		return err
	}
	a.showMetrics()
	a.openMitigation()
	a.steps.Components = a.registry
	a.findings = a.NewFindings()
	parts := api.Options{
		Monitor: a.monitor, Report: a.alert, Resilience: a.core, Modules: a.modules, Ready: a.ready, Logger: a.log,
		Metrics: a.telemetry.Handler(), History: a.historyRoutes(),
	}
	if a.guardian != nil {
		parts.Guardian = a.guardian
	}
	if a.forecast != nil {
		parts.Faults = a.forecast
	}
	a.api, err = api.New(a.cfg, parts)
	if err != nil {
		return fmt.Errorf("build the HTTP API: %w", err)
	}
	return nil
}

// openLedger opens a ledger below the configured var folder; its heads go to the witness.
func (a *Agent) openLedger(name string) (*ledger.Ledger, error) {
	heads := make(chan ledger.Head, 1)
	l, err := ledger.Open(filepath.Join(a.cfg.Paths.Var, name), ledger.Options{
		Logger: a.log, OnHead: func(h ledger.Head) { keepLatest(heads, h) }})
	if err != nil {
		return nil, fmt.Errorf("open the ledger %s: %w", name, err)
	}
	a.heads = append(a.heads, heads)
	return l, nil
}

// Run senses, records and acts until ctx ends, then stops in order: sensors first, then the
// steps under way, the plugins and the ledger.
func (a *Agent) Run(ctx context.Context) error {
	a.log.Info("the agent is up", "host", a.cfg.Host, "components", len(a.cfg.Components), "api", a.api.Address())
	group, sensing := errgroup.WithContext(ctx)
	group.Go(func() error { return a.monitor.Run(sensing) })
	group.Go(func() error { return a.core.Run(sensing) })
	group.Go(func() error { a.registry.Run(sensing); return nil })
	group.Go(func() error { return a.api.Run(sensing) })
	group.Go(func() error {
		a.resumeRestores(sensing)
		a.temporal(sensing)
		return nil
	})
	group.Go(func() error { a.takeUpRecords(sensing); return nil })
	group.Go(func() error { a.mitigation.Past.Run(sensing); return nil })
	group.Go(func() error { a.keepHistory(sensing); return nil })
	group.Go(func() error { a.counts.Run(sensing); return nil })
	group.Go(func() error { a.supervise(sensing); return nil })
	if a.guardian != nil {
		group.Go(func() error { return a.guardian.Run(sensing) })
	}
	if a.forecast != nil {
		group.Go(func() error { return a.forecast.Run(sensing) })
		group.Go(func() error { a.mitigated.follow(sensing, a.ledger, a.log); return nil })
	}
	err := group.Wait()
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, a.close()) //nolint:contextcheck // closing must not be cut short by the end of ctx
}

// LoginLink returns an address that signs one browser in, once and soon; "" when there is no HTTP interface.
func (a *Agent) LoginLink() string { return a.api.LoginLink() }

func (a *Agent) close() error {
	if a.plugins != nil {
		a.plugins.Close()
	}
	err := errors.Join(a.guard.close(), a.vital.close())
	if a.golden != nil {
		err = errors.Join(err, a.golden.Engine.Close())
	}
	if a.ledger != nil {
		err = errors.Join(err, a.ledger.Close())
	}
	return err
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
