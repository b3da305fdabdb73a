// Package degradation implements the activities of the runbook DegradationResponse on one host.
//
// They add nothing to what the host's resilience core does by itself: they ask it, wait, and say
// what came of it.
package degradation

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/resilience"
)

// The longest time each activity may take; a little less than the workflow allows.
const (
	applyTimeout    = 9 * time.Minute
	overrideTimeout = 20 * time.Second
)

// clocksApart is how far the clocks of this host and of whoever asks for an override may be apart,
// beyond what the request allows for.
const clocksApart = 10 * time.Second

// Core keeps the level of this host.
type Core interface {
	// Override holds the host at a level, or ends that; the same key has an effect once.
	Override(ctx context.Context, key string, req shivx.OverrideRequest) (shivx.LevelChange, error)
	// Reconcile switches the hooks as the level asks. Its error repeats what is wrong with them.
	Reconcile(ctx context.Context) ([]shivx.HookState, error)
	Status() resilience.Status
}

var _ Core = (*resilience.Core)(nil)

// Activities asks the core of the agent's host.
type Activities struct {
	Core Core
}

// Register binds every activity to its wire name.
func (a *Activities) Register(r worker.ActivityRegistry) {
	activities.ApplyLevel.Register(r, a.ApplyLevel)
	activities.SetOverride.Register(r, a.SetOverride)
}

// ApplyLevel switches the hooks as the host's level asks. A hook in error is no error of the
// activity: the workflow decides what becomes of it.
func (a *Activities) ApplyLevel(ctx context.Context, in activities.ApplyLevelInput) (activities.AppliedLevel, error) {
	if err := a.ours(in.Host); err != nil {
		return activities.AppliedLevel{}, err
	}
	ctx, stop := lasting(ctx, applyTimeout)
	defer stop()
	hooks, err := a.Core.Reconcile(ctx)
	switch {
	case ctx.Err() != nil:
		return activities.AppliedLevel{}, ended(ctx, "switch the hooks", activities.ErrHooksFailed)
	case err != nil && !anyWrong(hooks):
		return activities.AppliedLevel{}, refused(fmt.Errorf("switch the hooks: %w", err), activities.ErrHooksFailed)
	}
	return applied(a.Core.Status(), hooks), nil
}

func anyWrong(hooks []shivx.HookState) bool {
	for _, h := range hooks {
		if h.Error != "" {
			return true
		}
	}
	return false
}

func applied(s resilience.Status, hooks []shivx.HookState) activities.AppliedLevel {
	out := activities.AppliedLevel{Level: s.Level, Automatic: s.Automatic, Number: s.Changes, Hooks: hooks}
	if s.Score != nil {
		out.Score, out.Confidence = &s.Score.Value, s.Score.Confidence
	}
	for _, f := range s.DegradedFeatures {
		out.FeaturesOff = append(out.FeaturesOff, f.Name)
	}
	return out
}

// SetOverride carries out a person's request. It is not tried again when it fails: the person waits
// for the answer and decides.
func (a *Activities) SetOverride(ctx context.Context, in activities.SetOverrideInput) (shivx.LevelChange, error) {
	if err := a.ours(in.Host); err != nil {
		return shivx.LevelChange{}, err
	}
	if err := in.Request.Check(); err != nil {
		return shivx.LevelChange{}, refused(err, "BadInput")
	}
	if err := in.Request.InTime(time.Now().Add(-clocksApart)); err != nil {
		if activity.GetInfo(ctx).Attempt > 1 { // what came of the first is not known
			return shivx.LevelChange{}, refused(fmt.Errorf("the agent of %s was interrupted over the override: it may have been taken — shivx level %s shows it",
				in.Host, in.Host), activities.ErrOverrideUnknown)
		}
		return shivx.LevelChange{}, refused(err, activities.ErrHostAway)
	}
	ctx, stop := lasting(ctx, overrideTimeout)
	defer stop()
	change, err := a.Core.Override(ctx, in.Key, in.Request)
	switch {
	case err == nil:
		return change, nil
	case ctx.Err() != nil:
		return shivx.LevelChange{}, ended(ctx, "set the override", activities.ErrOverrideFailed)
	case in.Request.End && a.Core.Status().Override == nil:
		return shivx.LevelChange{}, refused(err, activities.ErrNoOverride)
	}
	return shivx.LevelChange{}, refused(err, activities.ErrOverrideFailed)
}

// ours refuses work for another host.
func (a *Activities) ours(host string) error {
	if own := a.Core.Status().Host; host != own {
		return activities.UnknownComponent("this is the agent of %s, not of %s", own, host)
	}
	return nil
}

// refused is an error that is not tried again, with its hint for whoever reads it.
func refused(err error, kind string) error {
	msg := err.Error()
	if hint := shivx.HintOf(err); hint != "" {
		msg += " — " + hint
	}
	return temporal.NewNonRetryableApplicationError(msg, kind, nil)
}

// ended is the error of an activity that was ended: it is tried again after the agent's stop, and
// not when it took too long or is not wanted any more.
func ended(ctx context.Context, what, kind string) error {
	cause := context.Cause(ctx)
	if temporal.IsCanceledError(cause) {
		return cause
	}
	err := fmt.Errorf("%s: %w", what, cause)
	if errors.Is(err, worker.ErrWorkerShutdown) {
		return err
	}
	return refused(err, kind)
}

// lasting bounds an activity by its timeout and tells Temporal every second that it lives, until
// stop is called. It ends early when the agent stops, and when the workflow does not want it any more:
// then a newer change is asked for. It does not end because the agent has lost touch with Temporal: a
// hook that was left out would have to be switched later.
func lasting(ctx context.Context, timeout time.Duration) (bound context.Context, stop func()) {
	stopping, cancelled, alive := activity.GetWorkerStopChannel(ctx), ctx.Done(), context.WithoutCancel(ctx)
	bound, cancel := context.WithCancelCause(alive)
	bound, let := context.WithTimeoutCause(bound, timeout, fmt.Errorf("it took longer than %s", timeout))
	_, still := activities.Beat(alive)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-stopping:
				cancel(worker.ErrWorkerShutdown)
				stopping = nil
			case <-cancelled:
				if cause := context.Cause(ctx); temporal.IsCanceledError(cause) {
					cancel(cause)
				}
				cancelled = nil
			}
		}
	}()
	return bound, func() { still(); close(done); let(); cancel(errors.New("it has ended")) }
}

// EntityOptions says how the DegradationResponse of host is started.
func EntityOptions(queue, host string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID: shivx.DegradationID(host), TaskQueue: queue, WorkflowTaskTimeout: shivx.TaskTimeout,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		TypedSearchAttributes:    activities.SearchAttributes(shivx.RunbookDegradation, shivx.Target{Host: host}),
		StaticSummary:            "Degradation level of " + host,
		StaticDetails: "Follows the level of the host, makes sure that its load-shedding hooks are applied, and tells people " +
			"of an emergency and of hooks that fail. The host decides by itself, also while Temporal is away. " +
			"Update: `override`. Query: `status`.",
	}
}
