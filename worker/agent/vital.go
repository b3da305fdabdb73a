package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities/degradation"
	"github.com/shivx/shivx/activities/recovery/crashpoint"
	"github.com/shivx/shivx/internal/api"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/history"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/modules"
	"github.com/shivx/shivx/internal/resilience"
	"github.com/shivx/shivx/internal/telemetry"
	"github.com/shivx/shivx/internal/vitals"
)

// vital is the part of an agent that watches the host and keeps its level.
type vital struct {
	audit *ledger.Ledger
	core  *resilience.Core
	// history is nil when it could not be opened: the host is watched all the same.
	history  *history.History
	registry *modules.Registry
	modules  *modules.View
	// figures are those of the latest sample.
	figures atomic.Pointer[[]vitals.Figure]
	// changes tells what the audit holds of the level.
	changes *Outbox
	// connected is true while the agent works with Temporal.
	connected atomic.Bool
	// samples has the latest one that is still to be written to the history.
	samples chan measured
	// counts tells the core of what was recovered.
	counts *Outbox
	// begun is done once the first sample is in.
	begun sync.Once
	// registered wakes whoever tells entities their policy.
	registered chan struct{}
}

// openVital opens the audit, the history and what keeps the level.
func (a *Agent) openVital() error {
	var err error
	if a.audit, err = a.openLedger(config.ResilienceAudit); err != nil {
		return err
	}
	a.openHistory()
	a.registry = modules.Open(context.Background(), a.cfg, a.monitor, a.recordModule, a.log)
	a.modules = &modules.View{Registry: a.registry, Health: a.monitor, Restarts: func(name string) int { return a.core.Restarts(name) }}
	m := a.cfg.Resilience.Monitor
	sampler := vitals.NewSampler(vitals.Options{
		Root: m.Root, Mounts: m.Mounts, ExcludeMounts: m.ExcludeMounts, Timeout: m.Timeout, Logger: a.log})
	work := filepath.Join(a.cfg.Paths.Var, "work", "shed")
	a.core, err = resilience.New(resilience.Options{
		Host: a.cfg.Host, Rules: a.cfg.Resilience, Ledger: a.audit, LedgerPath: filepath.Join(a.cfg.Paths.Var, config.ResilienceAudit),
		Sample: sampler.Sample, Modules: a.modules.List, OnSample: a.sampled,
		Shedder: &shedder{plugins: a.plugins, host: a.cfg.Host, work: work}, Keep: work,
		FlagsFile: a.cfg.Resilience.FlagsFile, Logger: a.log,
	})
	if err != nil {
		return fmt.Errorf("build the resilience core: %w", err)
	}
	a.changes = a.NewLevelChanges(a.audit, degradation.EntityOptions)
	a.counts = a.NewRecoveries(a.restarted)
	return nil
}

// showMetrics tells /metrics of the parts, once all of them are open.
func (a *Agent) showMetrics() {
	sources := telemetry.Sources{Resilience: a.core, Host: &a.vital, Ledgers: map[string]telemetry.Ledger{}}
	for name, l := range a.ledgers() {
		sources.Ledgers[name] = l
	}
	if a.history != nil {
		sources.History = a.history
	}
	if a.guardian != nil {
		sources.Guardian = a.guardian
	}
	if a.forecast != nil {
		sources.Forecast, sources.Mitigations = a.forecast, a.mitigated.list
	}
	a.telemetry.Set(sources)
}

// Figures returns those of the latest sample.
func (v *vital) Figures() []vitals.Figure {
	if f := v.figures.Load(); f != nil {
		return *f
	}
	return nil
}

// openHistory opens the metric history. Without it there are no charts and forecasts; the host is
// watched and healed all the same.
func (a *Agent) openHistory() {
	h := a.cfg.Resilience.History
	var err error
	a.history, err = history.Open(filepath.Join(a.cfg.Paths.Var, "metrics"),
		history.Options{Retention: h.Retention, MaxBytes: int64(h.MaxMB) << 20, Logger: a.log})
	if err != nil {
		a.history = nil
		a.log.Error("there is no metric history", "error", err, "hint", shivx.HintOf(err))
	}
}

func (a *Agent) historyRoutes() map[string]api.Ask {
	if a.history == nil {
		return nil
	}
	return history.Routes(a.history)
}

// sampled shows a sample in the metrics and hands it to the history. It does not wait for a disk: a
// level must follow its host also while one hangs.
func (a *Agent) sampled(s vitals.Sample, score resilience.Score) {
	a.figures.Store(&s.Figures)
	a.begun.Do(func() { a.supervisor.Ready(fmt.Sprintf("%s, score %.0f", a.core.Features().Level, score.Value)) })
	select {
	case a.samples <- measured{s.At, s.Figures, scoreFigures(score, a.core.Features().Level)}:
	default:
		a.log.Warn("a sample is missing in the history: the one before is still being written")
	}
}

// measured is what the history keeps of one time.
type measured struct {
	at             time.Time
	figures, extra []vitals.Figure
}

// keepHistory writes samples to the history until ctx ends.
func (a *Agent) keepHistory(ctx context.Context) {
	said := "" // what was wrong last, so that it is said once
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-a.samples:
			if a.history == nil {
				continue
			}
			now := ""
			if err := a.history.Append(m.at, m.figures, m.extra...); err != nil { //nolint:contextcheck // what was begun is ended
				if now = err.Error(); now != said {
					a.log.Warn("measurements are missing in the history", "error", err, "hint", shivx.HintOf(err))
				}
			}
			said = now
		}
	}
}

// scoreFigures are what the history keeps of a score, and of the level in force before it.
func scoreFigures(s resilience.Score, level shivx.Level) []vitals.Figure {
	return []vitals.Figure{
		{Name: "shivx_resilience_score_points", Value: s.Value},
		{Name: "shivx_resilience_confidence_ratio", Value: s.Confidence},
		{Name: "shivx_resilience_level", Value: float64(level.Rank())},
	}
}

// supervise shows the service manager that the loops make progress, and the level.
func (a *Agent) supervise(ctx context.Context) {
	a.core.OnFeatures(func(f *resilience.Snapshot) {
		crashpoint.Reach("level", crashpoint.After) // recorded, and nothing done about it yet
		a.supervisor.Status(string(f.Level))
	})
	a.supervisor.Watch(ctx,
		Loop{"the resilience core", a.core.Alive, max(coreLimit, 6*a.cfg.Resilience.Monitor.Every)}, MonitorLoop(a.monitor))
	<-ctx.Done()
	a.supervisor.Stopping()
}

// recordModule writes an event about a registered program to the audit.
func (a *Agent) recordModule(ctx context.Context, event, module string, details any) {
	_, err := a.audit.Append(ctx, "", shivx.ResilienceRecord{
		EventID: event + "/" + module + "/" + time.Now().UTC().Format(time.RFC3339Nano), Timestamp: time.Now().UTC(),
		EventType: event, Module: module, Details: details, Severity: shivx.SeverityInfo,
	})
	if err != nil {
		a.log.Error("an event about a module is not in the audit", "event", event, "module", module, "error", err)
	}
	select {
	case a.registered <- struct{}{}:
	default: // it is being woken already
	}
}

// restarted counts a run that has recovered something.
func (a *Agent) restarted(ctx context.Context, r shivx.RecoveryRecord) error {
	details := map[string]any{
		"run": r.Run, "strategy": r.Strategy, "outcome": r.Outcome, "duration_ms": r.DurationMS, "message": r.Message,
	}
	return a.core.AddRestart(ctx, r.Component, details, r.EventID)
}

// ledgers are the open ones by the names of their files.
func (a *Agent) ledgers() map[string]*ledger.Ledger {
	all := map[string]*ledger.Ledger{"operational_ledger": a.ledger, "resilience_audit": a.audit}
	if a.guardAudit != nil {
		all["guardian_audit"] = a.guardAudit
	}
	return all
}

// stuckAppend is how long an append to a ledger may take.
const stuckAppend = 10 * time.Second

// ready tells the conditions of readiness that concern the agent's own parts. Temporal may be
// away, and a disk may be full: what an application asks is answered all the same.
func (a *Agent) ready() []api.Check {
	temporal := "away; sensing, levels and features go on"
	if a.connected.Load() {
		temporal = "connected"
	}
	checks := []api.Check{{Name: "temporal", OK: a.connected.Load(), Detail: temporal, Informs: true}}
	for name, l := range a.ledgers() {
		c := api.Check{Name: name, OK: true, Detail: "appends end"}
		if stuck := l.Writing(); stuck > stuckAppend {
			c.OK, c.Detail = false, fmt.Sprintf("an append has not ended for %s: the disk hangs", stuck.Round(time.Second))
		}
		checks = append(checks, c)
	}
	slices.SortFunc(checks, func(a, b api.Check) int { return strings.Compare(a.Name, b.Name) })
	return checks
}

func (v *vital) close() error {
	var err error
	if v.history != nil {
		err = v.history.Close()
	}
	if v.audit != nil {
		err = errors.Join(err, v.audit.Close())
	}
	return err
}
