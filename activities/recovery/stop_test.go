package recovery_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

// doUnder runs an activity under ctx, as a worker does that ends it with a cause.
func doUnder[In, Out any](ctx context.Context, t *testing.T, fn func(context.Context, In) (Out, error), in In) (Out, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{BackgroundActivityContext: ctx})
	env.RegisterActivity(fn)
	var out Out
	v, err := env.ExecuteActivity(fn, in)
	if err == nil {
		err = v.Get(&out)
	}
	return out, err
}

// scripted is a plugin each step of which is a function.
type scripted struct {
	about sdk.Description
	run   func(ctx context.Context, step sdk.Step, req sdk.Request) (sdk.Reply, error)
}

func (s scripted) Get(context.Context, string) (host.Runner, error) { return s, nil }
func (s scripted) Describe() sdk.Description                        { return s.about }
func (s scripted) Run(ctx context.Context, step sdk.Step, req sdk.Request) (sdk.Reply, error) {
	return s.run(ctx, step, req)
}

func able(steps ...sdk.Step) sdk.Description {
	return sdk.Description{Name: "counter", RecoveryType: "process", Steps: steps}
}

// untilStopped works until its context ends, as a well-behaved plugin does.
func untilStopped(then func()) scripted {
	return scripted{able(sdk.StepRecover, sdk.StepUndo), func(ctx context.Context, _ sdk.Step, _ sdk.Request) (sdk.Reply, error) {
		then()
		<-ctx.Done()
		return sdk.Reply{}, ctx.Err()
	}}
}

func TestAStepEndedByTheStopOfTheAgentIsResumed(t *testing.T) {
	p := &counter{}
	b := newBench(t, p)
	ctx, cancel := context.WithCancelCause(context.Background())
	b.Plugins = untilStopped(func() { cancel(worker.ErrWorkerShutdown) })
	_, err := doUnder(ctx, t, b.Recover, step)
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	require.True(t, ok)
	require.False(t, app.NonRetryable(), "%v", err)
	require.Equal(t, []string{shivx.EventStepStarted}, b.events(t), "no end, as after a crash")

	b.Plugins = plugins{&counter{blind: true, idempotent: true}}
	_, err = do(t, b.Recover, step)
	require.NoError(t, err)
}

func TestAStepThatIsCancelledDidNotFail(t *testing.T) {
	b := newBench(t, &counter{})
	ctx, cancel := context.WithCancelCause(context.Background())
	b.Plugins = untilStopped(func() { cancel(temporal.NewCanceledError()) })
	_, err := doUnder(ctx, t, b.Recover, step)
	var canceled *temporal.CanceledError
	require.ErrorAs(t, err, &canceled)
	require.Equal(t, []string{shivx.EventStepStarted, shivx.EventStepFailed}, b.events(t))
}

func TestAStepThatTakesTooLongSaysSo(t *testing.T) {
	b := newBench(t, &counter{})
	b.Config.Components[0].Ladder[0].Timeout = 30 * time.Millisecond
	b.Plugins = untilStopped(func() {})
	_, err := do(t, b.Recover, step)
	require.Equal(t, activities.ErrPlugin, errorType(err))
	require.ErrorContains(t, err, "longer than its timeout of 30ms")
}

func TestUndoWaitsForARecoverThatIsStillAtWork(t *testing.T) {
	b := newBench(t, &counter{})
	begun, let := make(chan struct{}), make(chan struct{})
	var inside atomic.Int32
	b.Plugins = scripted{able(sdk.StepRecover, sdk.StepUndo), func(_ context.Context, s sdk.Step, _ sdk.Request) (sdk.Reply, error) {
		if inside.Add(1) > 1 {
			t.Errorf("%s runs beside another step", s)
		}
		defer inside.Add(-1)
		if s == sdk.StepRecover {
			close(begun)
			<-let
		}
		return sdk.Reply{}, nil
	}}
	var both sync.WaitGroup
	both.Go(func() { _, err := do(t, b.Recover, step); noErr(t, err) })
	<-begun
	both.Go(func() { _, err := do(t, b.Undo, step); noErr(t, err) })
	time.AfterFunc(50*time.Millisecond, func() { close(let) })
	both.Wait()
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// away loses touch with the server at the first round of checks, and gives the cancel time to arrive.
type away struct{ lose func() }

func (a away) Round(ctx context.Context, _ string) ([]health.Result, error) {
	a.lose()
	return []health.Result{{Check: "http", Healthy: true}}, ctx.Err()
}

func (a away) Send(ctx context.Context, _ any) (ok, failed []string) {
	a.lose()
	if ctx.Err() != nil {
		return nil, []string{"pager"}
	}
	return []string{"pager"}, nil
}

func TestAHeartbeatWithoutAnAnswerStopsNoStep(t *testing.T) {
	b := newBench(t, &counter{})
	for name, run := range map[string]func(context.Context) error{
		"Inspect": func(ctx context.Context) error {
			got, err := doUnder(ctx, t, b.Inspect, activities.InspectInput{Target: step.Target})
			require.True(t, got.Healthy)
			return err
		},
		"Checkpoint": func(ctx context.Context) error {
			got, err := doUnder(ctx, t, b.Checkpoint, activities.CheckpointInput{StepInput: step, Healthy: true})
			require.NotEmpty(t, got.ID)
			return err
		},
		"Validate": func(ctx context.Context) error {
			got, err := doUnder(ctx, t, b.Validate, validateInput(0, 0))
			require.True(t, got.Fit)
			return err
		},
		"Escalate": func(ctx context.Context) error {
			got, err := doUnder(ctx, t, b.Escalate, activities.EscalateInput{Run: "r", Key: "k"})
			require.NotEmpty(t, got.Told)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(context.Background())
			a := away{func() { cancel(serviceerror.NewUnavailable("away")); time.Sleep(10 * time.Millisecond) }}
			b.Checks, b.Notifier = a, a
			require.NoError(t, run(ctx))
		})
	}
}

// meeting is a round of checks that ends when all are under way.
type meeting struct{ all sync.WaitGroup }

func (m *meeting) Round(context.Context, string) ([]health.Result, error) {
	m.meet()
	return []health.Result{{Check: "http", Healthy: true}}, nil
}

func (m *meeting) Get(context.Context, string) (host.Runner, error) {
	m.meet()
	return runner{&counter{}}, nil
}

func (m *meeting) meet() {
	m.all.Done()
	m.all.Wait()
	time.Sleep(1200 * time.Millisecond) // longer than the time between two heartbeats
}

func TestInspectAsksAllAtOnceAndTellsThatItLives(t *testing.T) {
	b := newBench(t, &counter{})
	b.Config.Components[0].DependsOn = []string{"a", "b"}
	m := &meeting{}
	m.all.Add(4)
	b.Checks, b.Plugins = m, m
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestActivityEnvironment()
	var beats atomic.Int32
	env.SetOnActivityHeartbeatListener(func(*activity.Info, converter.EncodedValues) { beats.Add(1) })
	env.RegisterActivity(b.Inspect)
	v, err := env.ExecuteActivity(b.Inspect, activities.InspectInput{Target: step.Target})
	require.NoError(t, err)
	var got activities.Inspection
	require.NoError(t, v.Get(&got))
	require.True(t, got.Healthy)
	require.Empty(t, got.Unhealthy)
	require.NotZero(t, got.ValidateTimeout)
	require.Positive(t, beats.Load())
}

func TestACheckpointOfNothingIsNone(t *testing.T) {
	write := false
	b := newBench(t, &counter{})
	b.Plugins = scripted{able(sdk.StepCheckpoint), func(_ context.Context, _ sdk.Step, req sdk.Request) (sdk.Reply, error) {
		if write {
			return sdk.Reply{}, os.WriteFile(filepath.Join(req.CheckpointDir, "dump"), []byte("d"), 0o600)
		}
		return sdk.Reply{}, nil
	}}
	for _, c := range []struct {
		name  string
		write bool
		paths []string
		taken bool
	}{
		{"nothing", false, nil, false},
		{"a path that does not exist", false, []string{"/nowhere/at/all"}, false},
		{"a dump", true, nil, true},
		{"the dump of an earlier run", false, nil, false},
		{"a path", false, []string{b.data}, true},
	} {
		write = c.write
		b.Config.Components[0].State.Paths = c.paths
		in := step
		in.Run = c.name
		got, err := do(t, b.Checkpoint, activities.CheckpointInput{StepInput: in})
		require.NoError(t, err, c.name)
		require.Equal(t, c.taken, got.ID != "", c.name)
		require.Equal(t, c.taken, !got.Skipped, c.name)
		if !c.taken {
			require.Contains(t, got.Summary, "state.paths", c.name)
		}
	}
}

func TestADestructiveStrategyNeedsACheckpoint(t *testing.T) {
	b := newBench(t, &counter{})
	done := 0
	about := able(sdk.StepRecover)
	about.Destructive = true
	b.Plugins = scripted{about, func(context.Context, sdk.Step, sdk.Request) (sdk.Reply, error) {
		done++
		return sdk.Reply{}, nil
	}}
	_, err := do(t, b.Recover, step)
	require.Equal(t, activities.ErrPlugin, errorType(err))
	require.ErrorContains(t, err, "no checkpoint to go back to")
	in := step
	in.CheckpointID = "demo-000001-gone"
	_, err = do(t, b.Recover, in)
	require.Equal(t, activities.ErrPlugin, errorType(err), "one that is gone is of no use")
	require.Zero(t, done)
	require.Empty(t, b.events(t))

	in = step
	in.Plan = true
	_, err = do(t, b.Recover, in)
	require.NoError(t, err)
	cp, err := do(t, b.Checkpoint, activities.CheckpointInput{StepInput: step})
	require.NoError(t, err)
	in = step
	in.CheckpointID = cp.ID
	_, err = do(t, b.Recover, in)
	require.NoError(t, err)
	require.Equal(t, 2, done)
}

func TestAPluginThatDoesNotJudgeInTimeIsAVerdict(t *testing.T) {
	b := newBench(t, &counter{})
	b.Config.Components[0].Ladder[0].Timeout = 30 * time.Millisecond
	p := untilStopped(func() {})
	p.about.Steps = []sdk.Step{sdk.StepValidate}
	b.Plugins = p
	v, err := do(t, b.Validate, validateInput(0, 0))
	require.NoError(t, err)
	require.False(t, v.Fit)
	require.Equal(t, []string{"counter: not judged within 30ms"}, v.Reasons)
}

// ways counts messages.
type ways struct {
	sent       int
	ok, failed []string
}

func (w *ways) Send(context.Context, any) (ok, failed []string) {
	w.sent++
	return w.ok, w.failed
}

func TestPeopleAreToldOnce(t *testing.T) {
	b := newBench(t, &counter{})
	w := &ways{failed: []string{"pager"}}
	b.Notifier = w
	elsewhere := shivx.Target{Component: "nobody", Host: "knows"}
	in := activities.EscalateInput{Target: elsewhere, Run: "r", Key: "1", Message: "help"}
	_, err := do(t, b.Escalate, in)
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	require.True(t, ok)
	require.False(t, app.NonRetryable())
	require.Empty(t, b.events(t))

	w.ok = []string{"chat"}
	first, err := do(t, b.Escalate, in)
	require.NoError(t, err)
	again, err := do(t, b.Escalate, in)
	require.NoError(t, err)
	require.Equal(t, activities.EscalateResult{Told: w.ok, Failed: w.failed}, first)
	require.Equal(t, first, again)
	require.Equal(t, 2, w.sent)

	in.Key = "2"
	_, err = do(t, b.Escalate, in)
	require.NoError(t, err)
	require.Equal(t, 3, w.sent, "another message")

	b.Notifier, in.Key = &ways{}, "3"
	_, err = do(t, b.Escalate, in)
	require.NoError(t, err, "no way is configured")
	require.Len(t, b.events(t), 3)
}

func TestPeopleWhoWereToldAreNotToldAgainForAFullDisk(t *testing.T) {
	b := newBench(t, &counter{})
	closed, err := ledger.Open(filepath.Join(t.TempDir(), "ledger.ndjson"), ledger.Options{})
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	b.Ledger = closed
	b.Notifier = &ways{ok: []string{"chat"}}
	got, err := do(t, b.Escalate, activities.EscalateInput{Run: "r", Key: "1"})
	require.NoError(t, err)
	require.Equal(t, []string{"chat"}, got.Told)
}

// TestAStepWhoseMarkFailsIsOnRecord: a heal goes on without a mark, and a crash finds that it had begun.
func TestAStepWhoseMarkFailsIsOnRecord(t *testing.T) {
	b := newBench(t, &counter{})
	effects := 0
	b.Plugins = scripted{able(sdk.StepMark, sdk.StepRecover), func(_ context.Context, step sdk.Step, _ sdk.Request) (sdk.Reply, error) {
		if step == sdk.StepMark {
			return sdk.Reply{}, errors.New("no such folder")
		}
		effects++
		return sdk.Reply{}, nil
	}}
	_, err := do(t, b.Recover, step)
	require.NoError(t, err)
	require.Equal(t, 1, effects)
	require.Equal(t, []string{shivx.EventStepStarted, shivx.EventStepDone}, b.events(t))
}
