package recovery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
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
	"github.com/shivx/shivx/activities/recovery"
	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/notify"
	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

// counter is a plugin whose effect can be counted, and that can be cut off before or after it.
type counter struct {
	mu         sync.Mutex
	effects    int
	fail       error
	idempotent bool
	cutBefore  bool // the step ends as if the agent had been killed before the effect
	cutAfter   bool // … after it
	blind      bool // Done cannot tell
}

var errCut = errors.New("killed")

func (c *counter) Describe() sdk.Description {
	return sdk.Description{Name: "counter", Version: "1", RecoveryType: "process", Summary: "counts", Idempotent: c.idempotent}
}

func (c *counter) Recover(_ context.Context, req sdk.Request) (sdk.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return sdk.Result{}, c.fail
	}
	if req.Plan {
		return sdk.Result{Summary: "would count"}, nil
	}
	if c.cutBefore {
		panic(errCut)
	}
	c.effects++
	if c.cutAfter {
		panic(errCut)
	}
	return sdk.Result{Summary: "counted", Changes: []string{"one more"}}, nil
}

func (c *counter) Mark(context.Context, sdk.Step, sdk.Request) (string, error) { return "m", nil }

func (c *counter) Done(_ context.Context, _ sdk.Step, req sdk.Request) (bool, error) {
	if c.blind {
		return false, sdk.ErrUnknown
	}
	if req.Mark != "m" {
		return false, errors.New("the mark is lost")
	}
	return c.effects > 0, nil
}

// runner runs the plugin without the host's protection, so that a panic cuts the activity off.
type runner struct{ p *counter }

func (r runner) Describe() sdk.Description { return sdk.Describe(r.p) }

func (r runner) Run(ctx context.Context, step sdk.Step, req sdk.Request) (sdk.Reply, error) {
	if step == sdk.StepRecover {
		res, err := r.p.Recover(ctx, req)
		return sdk.Reply{Result: res}, err
	}
	return sdk.Dispatch(ctx, r.p, step, req)
}

type plugins struct{ p *counter }

func (p plugins) Get(context.Context, string) (host.Runner, error) { return runner(p), nil }

// checks answers the rounds in order; the last answer stays.
type checks struct {
	mu      sync.Mutex
	answers []bool
}

func (c *checks) Round(context.Context, string) ([]health.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ok := c.answers[0]
	if len(c.answers) > 1 {
		c.answers = c.answers[1:]
	}
	return []health.Result{{Check: "http", Healthy: ok, Error: map[bool]string{false: "down"}[ok]}}, nil
}

type bench struct {
	*recovery.Activities
	path string
	data string
}

func newBench(t *testing.T, p *counter, answers ...bool) bench {
	t.Helper()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	require.NoError(t, os.Mkdir(data, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(data, "keys"), []byte("k"), 0o644))
	cfg := config.Default()
	cfg.Host, cfg.Paths.Var = "h1", dir
	cfg.Components = []config.Component{{
		Name: "demo", Ladder: []config.Strategy{{Name: "restart", Use: config.Use{Plugin: "counter", Timeout: time.Minute}, Attempts: 1}},
		State: config.State{Paths: []string{data}, Keep: 2},
	}}
	path := filepath.Join(dir, "ledger.ndjson")
	l, err := ledger.Open(path, ledger.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	store, err := checkpoint.Open(checkpoint.Options{Var: dir, Host: "h1"})
	require.NoError(t, err)
	quiet := slog.New(slog.DiscardHandler)
	if len(answers) == 0 {
		answers = []bool{true}
	}
	return bench{&recovery.Activities{
		Config: cfg, Checks: &checks{answers: answers}, Plugins: plugins{p}, Checkpoints: store,
		Ledger: l, Notifier: notify.New(nil, quiet), Logger: quiet,
	}, path, data}
}

var step = activities.StepInput{Target: shivx.Target{Component: "demo", Host: "h1"}, Run: "self-heal/demo@h1 r1", Strategy: "restart", Attempt: 1}

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

func (b bench) events(t *testing.T) (out []string) {
	t.Helper()
	require.NoError(t, ledger.Read(b.path, 1, func(r ledger.Record) error {
		var rec shivx.RecoveryRecord
		err := r.Decode(&rec)
		out = append(out, rec.EventType)
		return err
	}))
	return out
}

func TestEffectIsNotRepeatedByARetry(t *testing.T) {
	p := &counter{}
	b := newBench(t, p)
	first, err := do(t, b.Recover, step)
	require.NoError(t, err)
	again, err := do(t, b.Recover, step)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Equal(t, 1, p.effects)
	require.Equal(t, []string{shivx.EventStepStarted, shivx.EventStepDone}, b.events(t))
}

func TestEffectAfterACrash(t *testing.T) {
	cases := map[string]struct {
		plugin  *counter
		effects int
		resumed bool
		fails   string
	}{
		"before the effect":                        {&counter{cutBefore: true}, 1, false, ""},
		"after the effect":                         {&counter{cutAfter: true}, 1, true, ""},
		"nobody can tell, but it may be repeated":  {&counter{cutAfter: true, blind: true, idempotent: true}, 2, false, ""},
		"nobody can tell, and it must not be done": {&counter{cutAfter: true, blind: true}, 1, false, activities.ErrUnknownEffect},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := c.plugin
			b := newBench(t, p)
			_, err := do(t, b.Recover, step)
			require.Error(t, err, "the first run is cut off")
			p.cutBefore, p.cutAfter = false, false

			res, err := do(t, b.Recover, step)
			require.Equal(t, c.fails, errorType(err))
			require.Equal(t, c.effects, p.effects)
			require.Equal(t, c.resumed, res.Resumed)

			_, err = do(t, b.Recover, step)
			require.Equal(t, c.effects, p.effects, "and a third time changes nothing")
			require.Equal(t, c.fails != "", err != nil)
		})
	}
}

func TestEffectThatFailedStaysFailed(t *testing.T) {
	p := &counter{fail: sdk.Failf("look at its log", "no such unit")}
	b := newBench(t, p)
	_, err := do(t, b.Recover, step)
	require.Equal(t, activities.ErrPlugin, errorType(err))
	require.ErrorContains(t, err, "no such unit — look at its log")
	p.fail = nil
	_, err = do(t, b.Recover, step)
	require.ErrorContains(t, err, "no such unit", "a retry of the same attempt must not act anew")
	require.Zero(t, p.effects)
	require.Equal(t, []string{shivx.EventStepStarted, shivx.EventStepFailed}, b.events(t))
}

func TestEffectRetriesWhatThePluginCallsRetryable(t *testing.T) {
	p := &counter{fail: &sdk.Fail{Message: "busy", Retryable: true}}
	b := newBench(t, p)
	timer := time.AfterFunc(300*time.Millisecond, func() {
		p.mu.Lock()
		p.fail = nil
		p.mu.Unlock()
	})
	defer timer.Stop()
	_, err := do(t, b.Recover, step)
	require.NoError(t, err)
	require.Equal(t, 1, p.effects)
}

func TestPlanTouchesNothing(t *testing.T) {
	p := &counter{}
	b := newBench(t, p)
	in := step
	in.Plan = true
	res, err := do(t, b.Recover, in)
	require.NoError(t, err)
	require.Equal(t, "would count", res.Summary)
	cp, err := do(t, b.Checkpoint, activities.CheckpointInput{StepInput: in})
	require.NoError(t, err)
	require.True(t, cp.Skipped)
	require.Empty(t, b.events(t))

	p.fail = sdk.Failf("", "nothing to restore from")
	_, err = do(t, b.Recover, in)
	require.Equal(t, activities.ErrPlugin, errorType(err), "a plan that fails is not tried again and again")
}

func TestUnknownComponentAndHost(t *testing.T) {
	b := newBench(t, &counter{})
	in := step
	in.Component = "nope"
	_, err := do(t, b.Recover, in)
	require.Equal(t, activities.ErrUnknownComponent, errorType(err))
	in = step
	in.Host = "elsewhere"
	_, err = do(t, b.Recover, in)
	require.Equal(t, activities.ErrUnknownComponent, errorType(err))
}

func validateInput(window, settle time.Duration) activities.ValidateInput {
	return activities.ValidateInput{StepInput: step, Observe: activities.Observation{
		Window: shivx.Duration(window), Every: shivx.Duration(10 * time.Millisecond), Settle: shivx.Duration(settle)}}
}

func TestValidateWantsTheWholeWindow(t *testing.T) {
	cases := map[string]struct {
		answers []bool
		settle  time.Duration
		fit     bool
	}{
		"always healthy":                        {[]bool{true}, 0, true},
		"settles":                               {[]bool{false, false, true}, 5 * time.Second, true},
		"never":                                 {[]bool{false}, 50 * time.Millisecond, false},
		"breaks in the window, no time is left": {[]bool{true, true, false}, 0, false},
		"breaks, but settles again in time":     {[]bool{true, false, true}, 5 * time.Second, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, &counter{}, c.answers...)
			begin := time.Now()
			v, err := do(t, b.Validate, validateInput(60*time.Millisecond, c.settle))
			require.NoError(t, err)
			require.Equal(t, c.fit, v.Fit, v.Reasons)
			if c.fit {
				require.GreaterOrEqual(t, time.Since(begin), 60*time.Millisecond)
			} else {
				require.Equal(t, []string{"http: down"}, v.Reasons)
			}
		})
	}
}

func TestValidateJudgesTheState(t *testing.T) {
	b := newBench(t, &counter{})
	cp, err := do(t, b.Checkpoint, activities.CheckpointInput{StepInput: step})
	require.NoError(t, err)
	require.NotEmpty(t, cp.ID)
	in := validateInput(0, 0)
	in.CheckpointID = cp.ID
	v, err := do(t, b.Validate, in)
	require.NoError(t, err)
	require.True(t, v.Fit)

	require.NoError(t, os.Remove(filepath.Join(b.data, "keys")))
	v, err = do(t, b.Validate, in)
	require.NoError(t, err)
	require.False(t, v.Fit, "a file that is gone is no acceptable delta unless a rule says so")
	require.Equal(t, 1, v.Delta.Removed)

	b.Config.Components[0].State.Rules = []config.Rule{{Match: "**/keys", Allow: []string{"removed"}}}
	v, err = do(t, b.Validate, in)
	require.NoError(t, err)
	require.True(t, v.Fit)

	b.Config.Components[0].State.Consistency = []config.Command{{Argv: []string{"false"}, Timeout: time.Second}}
	v, err = do(t, b.Validate, in)
	require.NoError(t, err)
	require.False(t, v.Fit)
}

func TestHealthyCheckpointNeedsHealth(t *testing.T) {
	for name, answers := range map[string][]bool{"unhealthy": {false}, "breaks while it is copied": {true, false}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, &counter{}, answers...)
			cp, err := do(t, b.Checkpoint, activities.CheckpointInput{StepInput: step, Healthy: true})
			require.NoError(t, err)
			require.True(t, cp.Skipped)
			_, found, err := b.Checkpoints.Latest(t.Context(), "demo", checkpoint.KindHealthy)
			require.NoError(t, err)
			require.False(t, found)
		})
	}
}

func TestCheckpointsAreKeptUpToTheNumber(t *testing.T) {
	b := newBench(t, &counter{})
	for _, run := range []string{"r1", "r2", "r3", "r4"} {
		in := step
		in.Run = run
		_, err := do(t, b.Checkpoint, activities.CheckpointInput{StepInput: in, Healthy: true})
		require.NoError(t, err)
	}
	all, err := b.Checkpoints.List(t.Context(), "demo")
	require.NoError(t, err)
	require.Len(t, all, 2)
}

func TestHealthyCheckpointsLeaveRoomForHeals(t *testing.T) {
	b := newBench(t, &counter{})
	hold := make(chan struct{})
	b.Checks = slowChecks{hold}
	results := make(chan activities.CheckpointResult, 6)
	for i := range 6 {
		in := step
		in.Run = fmt.Sprint("r", i)
		go func() {
			var r activities.CheckpointResult
			defer func() { results <- r }()
			r, _ = do(t, b.Checkpoint, activities.CheckpointInput{StepInput: in, Healthy: true}) //nolint:testifylint // a failed one is answered, too
		}()
	}
	for range 2 { // those over the number are skipped at once, the others wait for the checks
		require.Contains(t, (<-results).Summary, "enough other checkpoints")
	}
	close(hold)
	for range 4 {
		require.NotContains(t, (<-results).Summary, "enough other checkpoints")
	}
}

// slowChecks answer healthy once hold is closed.
type slowChecks struct{ hold chan struct{} }

func (c slowChecks) Round(context.Context, string) ([]health.Result, error) {
	<-c.hold
	return []health.Result{{Check: "http", Healthy: true}}, nil
}

func TestLogIsWrittenOnce(t *testing.T) {
	b := newBench(t, &counter{})
	in := activities.LogInput{Target: step.Target, Run: step.Run, Outcome: shivx.OutcomeHealed, Message: "healed by restart"}
	first, err := do(t, b.Log, in)
	require.NoError(t, err)
	again, err := do(t, b.Log, in)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Equal(t, []string{shivx.EventRecovery}, b.events(t))
}
