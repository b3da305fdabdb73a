package recovery

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/activities"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
)

func TestAttemptsOfOneEffectDoNotOverlap(t *testing.T) {
	var a activities.Attempts
	var inside, most atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, leave, err := a.Enter(t.Context(), "key")
			if !noError(t, err) {
				return
			}
			defer leave()
			if n := inside.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Millisecond)
			inside.Add(-1)
		})
	}
	all.Wait()
	require.EqualValues(t, 1, most.Load())
}

func noError(t *testing.T, err error) bool {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

func TestAttemptsOfOtherEffectsGoOn(t *testing.T) {
	var a activities.Attempts
	_, leave, err := a.Enter(t.Context(), "one")
	require.NoError(t, err)
	defer leave()
	_, other, err := a.Enter(t.Context(), "two")
	require.NoError(t, err)
	other()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, _, err = a.Enter(ctx, "one")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestAStopIsPassedOnToTheAttemptThatIsWaitedFor(t *testing.T) {
	var a activities.Attempts
	first, leave, err := a.Enter(t.Context(), "one")
	require.NoError(t, err)
	defer leave()

	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, _, err = a.Enter(late, "one")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, first.Err(), "one that only ran out of time leaves the other alone")

	ctx, stop := context.WithCancelCause(t.Context())
	stop(temporal.NewCanceledError())
	_, _, err = a.Enter(ctx, "one")
	var canceled *temporal.CanceledError
	require.ErrorAs(t, err, &canceled)
	require.ErrorAs(t, context.Cause(first), &canceled)
}

func TestAStepThatLostTouchHearsOfTheStopOfTheAgent(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stopping := make(chan struct{})
	step, end := activities.Lasting(ctx, stopping)
	defer end()
	cancel(serviceerror.NewUnavailable("connection refused"))
	require.NoError(t, step.Err())
	close(stopping)
	<-step.Done()
	require.ErrorIs(t, context.Cause(step), worker.ErrWorkerShutdown)
}

func TestAStepOutlivesALostConnectionOnly(t *testing.T) {
	for name, c := range map[string]struct {
		cause error
		goes  bool
	}{
		"the server was away":            {serviceerror.NewUnavailable("connection refused"), true},
		"the attempt had been given up":  {serviceerror.NewNotFound("activity not found"), true},
		"the heartbeat was not answered": {serviceerror.NewDeadlineExceeded("deadline"), true},
		"the heartbeat took too long":    {context.DeadlineExceeded, true},
		"the run was stopped":            {temporal.NewCanceledError(), false},
		"the agent stops":                {worker.ErrWorkerShutdown, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(context.Background())
			step, end := activities.Lasting(ctx, nil)
			defer end()
			cancel(c.cause)
			select {
			case <-step.Done():
				require.False(t, c.goes, "the step was stopped")
			case <-time.After(50 * time.Millisecond):
				require.True(t, c.goes, "the step went on")
			}
		})
	}
}
