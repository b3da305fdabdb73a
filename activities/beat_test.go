package activities_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// TestBeatKeepsWhatWasToldLast: a heartbeat that only says that a step lives does not wipe how far it is.
func TestBeatKeepsWhatWasToldLast(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	var mu sync.Mutex
	var beats []int64
	enough := make(chan struct{})
	env.SetOnActivityHeartbeatListener(func(_ *activity.Info, details converter.EncodedValues) {
		mu.Lock()
		defer mu.Unlock()
		var p shivx.GoldenProgress
		if details.HasValues() {
			if err := details.Get(&p); err != nil {
				t.Error(err)
			}
		}
		if beats = append(beats, p.Bytes); len(beats) == 3 {
			close(enough)
		}
	})
	step := func(ctx context.Context) error {
		ctx, stop := activities.Guard(ctx, time.Minute)
		defer stop()
		activities.Tell(ctx, shivx.GoldenProgress{Bytes: 7})
		<-enough
		return nil
	}
	env.RegisterActivity(step)
	env.ExecuteWorkflow(func(ctx workflow.Context) error {
		return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: time.Minute, HeartbeatTimeout: 1500 * time.Millisecond}), step).Get(ctx, nil)
	})
	require.NoError(t, env.GetWorkflowError())
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []int64{7, 7, 7}, beats[:3])
}

func TestTellOutsideOfAnActivity(t *testing.T) {
	activities.Tell(t.Context(), "nobody hears it") // and nothing breaks
	ctx, stop := activities.Guard(t.Context(), time.Nanosecond)
	defer stop()
	<-ctx.Done()
	require.ErrorContains(t, context.Cause(ctx), "timeout of 1ns")
}
