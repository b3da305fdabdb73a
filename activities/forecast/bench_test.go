package forecast

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

// noon is what the clock shows when a test begins.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// foreseen is an engine that forecasts a failure of the memory for the evening.
type foreseen struct {
	mu      sync.Mutex
	risk    shivx.Risk
	lookErr error
	quiet   time.Time
	before  time.Time // what QuietTime was asked for
	acting  []string
	actErr  error
	effect  shivx.MitigationEffect
	err     error
	asked   int
}

var _ Engine = (*foreseen)(nil)

func (f *foreseen) Look(context.Context) error { return f.lookErr }

func (f *foreseen) Heatmap() shivx.Heatmap {
	return shivx.Heatmap{Host: "h1", Risks: []shivx.Risk{f.risk, {SubsystemTarget: shivx.SubsystemTarget{Subsystem: "cpu", Host: "h1"}, Alert: true}}}
}

func (f *foreseen) Predictions() []shivx.Prediction {
	return []shivx.Prediction{{Series: "memory used"}}
}

func (f *foreseen) Worst(subsystem string) (shivx.Risk, *shivx.Prediction, bool) {
	return f.risk, &f.Predictions()[0], subsystem == "memory"
}

func (f *foreseen) QuietTime(_ string, before time.Time, _ time.Duration) (time.Time, bool) {
	f.before = before
	return f.quiet, !f.quiet.IsZero()
}

func (f *foreseen) Acting(_ context.Context, _, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acting = append(f.acting, key)
	return f.actErr
}

func (f *foreseen) Effect(_ context.Context, _, _, action string) (shivx.MitigationEffect, error) {
	f.asked++
	e := f.effect
	e.Action = action
	return e, f.err
}

// cleaner is a plugin whose effect can be counted, and that can be cut off after it.
type cleaner struct {
	mu       sync.Mutex
	effects  int
	undone   int
	fail     error
	markErr  error
	cutAfter bool
	seen     []sdk.Request
}

var errCut = errors.New("killed")

func (c *cleaner) Describe() sdk.Description {
	return sdk.Description{Name: "cleaner", Version: "1", RecoveryType: "data", Summary: "frees space", Destructive: true}
}

func (c *cleaner) Recover(_ context.Context, req sdk.Request) (sdk.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, req)
	if c.fail != nil {
		return sdk.Result{}, c.fail
	}
	if req.Plan {
		return sdk.Result{Summary: "would free 2 GiB", Changes: []string{"/var/log/a"}}, nil
	}
	c.effects++
	if c.cutAfter {
		panic(errCut)
	}
	return sdk.Result{Summary: "freed 2 GiB"}, nil
}

func (c *cleaner) Undo(context.Context, sdk.Request) (sdk.Result, error) {
	c.undone++
	return sdk.Result{Summary: "as before"}, nil
}

func (c *cleaner) Mark(context.Context, sdk.Step, sdk.Request) (string, error) { return "m", c.markErr }

func (c *cleaner) Done(_ context.Context, _ sdk.Step, req sdk.Request) (bool, error) {
	return req.Mark == "m" && c.effects > 0, nil
}

// runner runs the plugin without the host's protection, so that a panic cuts the activity off.
type runner struct{ p *cleaner }

func (r runner) Describe() sdk.Description { return sdk.Describe(r.p) }

func (r runner) Run(ctx context.Context, step sdk.Step, req sdk.Request) (sdk.Reply, error) {
	if step == sdk.StepRecover {
		res, err := r.p.Recover(ctx, req)
		return sdk.Reply{Result: res}, err
	}
	return sdk.Dispatch(ctx, r.p, step, req)
}

type plugins struct{ p *cleaner }

func (p plugins) Get(_ context.Context, name string) (host.Runner, error) {
	if name != "cleaner" {
		return nil, errors.New("no such plugin")
	}
	return runner(p), nil
}

// bench is a host with a memory that has three mitigations, and a ledger on disk.
type bench struct {
	*Activities
	t      *testing.T
	engine *foreseen
	plugin *cleaner
	clock  *time.Time
	path   string
	stop   func()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	cfg := config.Default()
	cfg.Host, cfg.Paths.Var = "h1", t.TempDir()
	cfg.Forecast.Limits = config.MitigationLimits{Mitigations: 6, Window: time.Hour}
	cfg.Forecast.Subsystems = []config.Subsystem{
		{Name: "memory", Enabled: true, Horizon: 6 * time.Hour, Limits: config.SubsystemLimits{Mitigations: 3, Window: 24 * time.Hour, Cooldown: 15 * time.Minute},
			Mitigations: []config.MitigationRule{
				{Name: "free", Plugin: "cleaner", Timeout: time.Minute, MeasureAfter: time.Minute},
				{Name: "restart", Heal: "shop", Strategy: "quick", Timeout: time.Minute, When: "quiet", Snapshot: "shop"},
				{Name: "raise", Plugin: "gone", Timeout: time.Minute},
			}},
		{Name: "cpu", Enabled: true},
		{Name: "disk", Enabled: true, Limits: config.SubsystemLimits{Mitigations: 3, Window: 24 * time.Hour},
			Mitigations: []config.MitigationRule{{Name: "free", Plugin: "cleaner", Timeout: time.Minute}}},
	}
	now := noon
	b := &bench{t: t, engine: &foreseen{risk: shivx.Risk{
		SubsystemTarget: shivx.SubsystemTarget{Subsystem: "memory", Host: "h1"}, Risk: 80, Alert: true, Low: noon.Add(5 * time.Hour), BreachAt: noon.Add(6 * time.Hour),
	}}, plugin: &cleaner{}, clock: &now, path: filepath.Join(cfg.Paths.Var, "ledger.ndjson")}
	b.Activities = &Activities{
		Config: cfg, Engine: b.engine, Plugins: plugins{b.plugin}, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return *b.clock },
	}
	b.open()
	t.Cleanup(func() { b.stop() })
	return b
}

// open opens the ledger, as after a start of the agent.
func (b *bench) open() {
	b.t.Helper()
	l, err := ledger.Open(b.path, ledger.Options{})
	require.NoError(b.t, err)
	past := NewPast(l, b.Logger)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { past.Run(ctx); close(done) }()
	b.Ledger, b.Past = l, past
	b.stop = func() {
		cancel()
		<-done
		require.NoError(b.t, l.Close())
	}
}

// restarts kills the agent and starts it anew.
func (b *bench) restarts() {
	b.stop()
	b.open()
}

func (b *bench) after(d time.Duration) { *b.clock = b.clock.Add(d) }

func (b *bench) inspect() activities.SubsystemPolicy {
	b.t.Helper()
	p, err := b.InspectSubsystem(b.t.Context(), activities.InspectSubsystemInput{SubsystemTarget: memory})
	require.NoError(b.t, err)
	return p
}

var memory = shivx.SubsystemTarget{Subsystem: "memory", Host: "h1"}

func input(run, action string) activities.MitigationInput {
	return activities.MitigationInput{SubsystemTarget: memory, Run: "mitigation/memory@h1 " + run, Action: action, Reason: "a test"}
}

// ends logs the end of a run with these steps and effects.
func (b *bench) ends(run string, o shivx.Outcome, in activities.LogMitigationInput) {
	b.t.Helper()
	in.SubsystemTarget, in.Run, in.Outcome = memory, "mitigation/memory@h1 "+run, o
	_, err := b.LogMitigation(b.t.Context(), in)
	require.NoError(b.t, err)
}

// do runs an activity as a worker does; a panic of the code is its death.
func do[In, Out any](t *testing.T, fn func(context.Context, In) (Out, error), in In) (Out, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(fn)
	var out Out
	v, err := env.ExecuteActivity(fn, in)
	if err == nil {
		require.NoError(t, v.Get(&out))
	}
	return out, err
}

func errorType(err error) string {
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return app.Type()
	}
	return ""
}

// records are all lines of the ledger.
func (b *bench) records() (out []shivx.RecoveryRecord) {
	b.t.Helper()
	require.NoError(b.t, ledger.Read(b.path, 1, func(r ledger.Record) error {
		var rec shivx.RecoveryRecord
		err := json.Unmarshal(r.Raw, &rec)
		out = append(out, rec)
		return err
	}))
	return out
}
