package degradation_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/degradation"
	"github.com/shivx/shivx/internal/resilience"
)

// fakeCore is a core in memory.
type fakeCore struct {
	status    resilience.Status
	hooks     []shivx.HookState
	reconcile error
	override  error
	// hold is what Reconcile waits for; nil: nothing.
	hold    <-chan struct{}
	ended   error // why the context of Reconcile ended
	changes map[string]shivx.LevelChange
}

func newCore() *fakeCore {
	return &fakeCore{
		status: resilience.Status{
			Host: "h1", Level: shivx.Level2, Automatic: shivx.Level1, Changes: 7, Score: &resilience.Score{Value: 61.5, Confidence: 0.9},
			DegradedFeatures: []shivx.Feature{{Name: "analytics"}, {Name: "uploads"}},
		},
		hooks:   []shivx.HookState{{Name: "stop-batch", Level: shivx.Level1, On: true}},
		changes: map[string]shivx.LevelChange{},
	}
}

func (c *fakeCore) Override(_ context.Context, key string, req shivx.OverrideRequest) (shivx.LevelChange, error) {
	if ch, ok := c.changes[key]; ok || c.override != nil {
		return ch, c.override
	}
	c.status.Changes++
	c.changes[key] = shivx.LevelChange{Host: "h1", Number: c.status.Changes, To: req.Level, Cause: shivx.CauseOverride}
	return c.changes[key], nil
}

func (c *fakeCore) Reconcile(ctx context.Context) ([]shivx.HookState, error) {
	if c.hold != nil {
		select {
		case <-c.hold:
		case <-ctx.Done():
			c.ended = context.Cause(ctx)
			return c.hooks, ctx.Err()
		}
	}
	return c.hooks, c.reconcile
}

func (c *fakeCore) Status() resilience.Status { return c.status }

func newEnv(c *fakeCore) *testsuite.TestActivityEnvironment {
	var s testsuite.WorkflowTestSuite
	s.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := s.NewTestActivityEnvironment()
	(&degradation.Activities{Core: c}).Register(env)
	return env
}

func apply(env *testsuite.TestActivityEnvironment, host string) (out activities.AppliedLevel, err error) {
	v, err := env.ExecuteActivity(activities.ApplyLevel.Name, activities.ApplyLevelInput{Host: host, Number: 6, Level: shivx.Level1})
	if err != nil {
		return out, err
	}
	return out, v.Get(&out)
}

func TestApplyLevelSaysWhatIsInForce(t *testing.T) {
	c := newCore()
	got, err := apply(newEnv(c), "h1")
	require.NoError(t, err)
	score := 61.5
	require.Equal(t, activities.AppliedLevel{
		Level: shivx.Level2, Automatic: shivx.Level1, Number: 7, Score: &score, Confidence: 0.9,
		FeaturesOff: []string{"analytics", "uploads"}, Hooks: c.hooks,
	}, got)
}

func TestApplyLevelPassesHooksInErrorOn(t *testing.T) {
	c := newCore()
	c.hooks[0].Error = "exit status 1"
	c.reconcile = errors.New("hook stop-batch: exit status 1")
	got, err := apply(newEnv(c), "h1")
	require.NoError(t, err, "the workflow decides")
	require.Equal(t, "exit status 1", got.Hooks[0].Error)

	c.hooks[0].Error = ""
	c.reconcile = io.ErrUnexpectedEOF
	_, err = apply(newEnv(c), "h1")
	require.ErrorContains(t, err, "switch the hooks: unexpected EOF")
	requireType(t, err, activities.ErrHooksFailed, true)
}

// requireType checks the type of an application error and whether it is final.
func requireType(t *testing.T, err error, kind string, final bool) {
	t.Helper()
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, kind, app.Type())
	require.Equal(t, final, app.NonRetryable())
}

func TestWorkForAnotherHostIsRefused(t *testing.T) {
	env := newEnv(newCore())
	_, err := apply(env, "h2")
	require.ErrorContains(t, err, "this is the agent of h1, not of h2")
	requireType(t, err, activities.ErrUnknownComponent, true)
	_, err = override(env, activities.SetOverrideInput{Host: "h2", Key: "k", Request: asked})
	requireType(t, err, activities.ErrUnknownComponent, true)
}

func TestApplyLevelHeartbeatsWhileHooksAreSwitched(t *testing.T) {
	hold, beats := make(chan struct{}), make(chan struct{}, 10)
	c := newCore()
	c.hold = hold
	env := newEnv(c)
	env.SetOnActivityHeartbeatListener(func(*activity.Info, converter.EncodedValues) {
		select {
		case beats <- struct{}{}:
		default:
		}
	})
	go func() { <-beats; close(hold) }() // without a heartbeat the hooks never end
	_, err := apply(env, "h1")
	require.NoError(t, err)
}

// TestApplyLevelEndsWithTheAgentAlone: not when the agent has lost touch with Temporal.
func TestApplyLevelEndsWithTheAgentAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCore()
		c.hold = make(chan struct{})
		stopping := make(chan struct{})
		env := newEnv(c)
		ctx, cancel := context.WithCancel(t.Context())
		env.SetWorkerOptions(worker.Options{BackgroundActivityContext: ctx})
		env.SetWorkerStopChannel(stopping)
		done := make(chan error, 1)
		go func() {
			_, err := apply(env, "h1")
			done <- err
		}()
		synctest.Wait()
		cancel()
		time.Sleep(time.Minute)
		require.Empty(t, done, "the hooks go on")
		close(stopping)
		require.ErrorContains(t, <-done, "switch the hooks: "+worker.ErrWorkerShutdown.Error())
		require.ErrorIs(t, c.ended, worker.ErrWorkerShutdown)
	})
}

func TestApplyLevelEndsWhenItIsCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCore()
		c.hold = make(chan struct{})
		env := newEnv(c)
		ctx, cancel := context.WithCancelCause(t.Context())
		env.SetWorkerOptions(worker.Options{BackgroundActivityContext: ctx})
		done := make(chan error, 1)
		go func() {
			_, err := apply(env, "h1")
			done <- err
		}()
		synctest.Wait()
		cancel(temporal.NewCanceledError()) // as the SDK does when the workflow asks for it
		require.True(t, temporal.IsCanceledError(<-done))
		require.True(t, temporal.IsCanceledError(c.ended))
	})
}

func TestApplyLevelIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCore()
		c.hold = make(chan struct{})
		_, err := apply(newEnv(c), "h1")
		require.ErrorContains(t, err, "switch the hooks: it took longer than 9m0s")
		requireType(t, err, activities.ErrHooksFailed, true)
	})
}

var asked = shivx.OverrideRequest{Level: shivx.Level2, For: shivx.Duration(time.Hour), By: "ana", Why: "test"}

func override(env *testsuite.TestActivityEnvironment, in activities.SetOverrideInput) (out shivx.LevelChange, err error) {
	v, err := env.ExecuteActivity(activities.SetOverride.Name, in)
	if err != nil {
		return out, err
	}
	return out, v.Get(&out)
}

func TestSetOverrideHasItsEffectOnce(t *testing.T) {
	c := newCore()
	env := newEnv(c)
	in := activities.SetOverrideInput{Host: "h1", Key: "degradation@h1/u1", Request: asked}
	first, err := override(env, in)
	require.NoError(t, err)
	again, err := override(env, in)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Equal(t, uint64(8), c.status.Changes)
	require.Contains(t, c.changes, "degradation@h1/u1")
}

func TestSetOverrideIsNotTriedAgainWhenItFails(t *testing.T) {
	c := newCore()
	env := newEnv(c)
	_, err := override(env, activities.SetOverrideInput{Host: "h1", Key: "k", Request: shivx.OverrideRequest{Level: shivx.Level2, By: "ana"}})
	require.ErrorContains(t, err, `an override needs a reason — set "why" to one line`)
	requireType(t, err, "BadInput", true)

	c.override = shivx.Hint(errors.New("no override is in force"), "there is nothing to end")
	end := activities.SetOverrideInput{Host: "h1", Key: "k", Request: shivx.OverrideRequest{End: true, By: "ana"}}
	_, err = override(env, end)
	require.ErrorContains(t, err, "no override is in force — there is nothing to end")
	requireType(t, err, activities.ErrNoOverride, true)

	c.status.Override, c.override = &shivx.Override{}, errors.New("input/output error")
	_, err = override(env, end)
	requireType(t, err, activities.ErrOverrideFailed, true)
}

func TestSetOverrideIsNotDoneForWhoeverWaitsNoMore(t *testing.T) {
	c := newCore()
	env := newEnv(c)
	in := activities.SetOverrideInput{Host: "h1", Key: "k", Request: asked}
	in.Request.NotAfter = time.Now().Add(-time.Minute)
	_, err := override(env, in)
	require.ErrorContains(t, err, "nobody waits for it any more — ask again; if this comes at once, compare the clocks")
	requireType(t, err, activities.ErrHostAway, true)
	require.Empty(t, c.changes)
	in.Request.NotAfter = time.Now().Add(-time.Second) // the clocks may be apart
	_, err = override(env, in)
	require.NoError(t, err)
}

func TestEntityOptionsNameTheHost(t *testing.T) {
	o := degradation.EntityOptions("shivx", "h1")
	require.Equal(t, "degradation@h1", o.ID)
	require.Equal(t, "shivx", o.TaskQueue)
	host, ok := o.TypedSearchAttributes.GetKeyword(activities.AttrHost)
	require.True(t, ok)
	require.Equal(t, "h1", host)
	kind, _ := o.TypedSearchAttributes.GetKeyword(activities.AttrRunbook)
	require.Equal(t, shivx.RunbookDegradation, kind)
}
