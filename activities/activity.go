// Package activities declares every activity: its name, its input and its result.
//
// The implementations live in the sub-packages and are bound in the agent. Names and JSON
// fields are wire format: they stand in workflow histories.
package activities

import (
	"context"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// Activity binds a wire name to its input and result types.
type Activity[In, Out any] struct{ Name string }

// Execute runs the activity from a workflow and waits for its result.
func (a Activity[In, Out]) Execute(ctx workflow.Context, in In) (Out, error) {
	var out Out
	err := workflow.ExecuteActivity(ctx, a.Name, in).Get(ctx, &out)
	return out, err
}

// Register binds an implementation to the wire name.
func (a Activity[In, Out]) Register(r worker.ActivityRegistry, fn func(context.Context, In) (Out, error)) {
	r.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: a.Name})
}
