package recovery

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"
)

func TestAttemptsOfOneEffectDoNotOverlap(t *testing.T) {
	var a attempts
	var inside, most atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			leave, err := a.enter(t.Context(), "key")
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
	var a attempts
	leave, err := a.enter(t.Context(), "one")
	require.NoError(t, err)
	defer leave()
	other, err := a.enter(t.Context(), "two")
	require.NoError(t, err)
	other()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = a.enter(ctx, "one")
	require.ErrorIs(t, err, context.DeadlineExceeded)
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
		"the agent stops":                {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(context.Background())
			step, end := lasting(ctx)
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
