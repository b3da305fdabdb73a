package workflows

import (
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// How long a restore waits for a service that another run has, and how often it asks.
const (
	holdPatience = 2 * time.Minute
	holdPause    = 5 * time.Second
)

// How often the stop or start of a service is tried when the old state is put back.
const serviceTries = 3

// heldService is a service whose lock the run has.
type heldService struct {
	shivx.Target
	// isolated is true when it was out of traffic before.
	isolated bool
}

// hold takes the locks of the services: a service that is stopped on purpose must not be healed meanwhile.
// Maintenance does not keep a restore away, for it is what people ask for then.
func (r *goldenRestore) hold(ctx workflow.Context) error {
	if len(r.services()) == 0 {
		r.skip(ctx, shivx.GoldenStepHold, "no service is stopped")
		return nil
	}
	return r.step(ctx, shivx.GoldenStepHold, "", func() (activities.RestoreStep, error) {
		for _, s := range r.services() {
			if err := r.acquire(ctx, shivx.Target{Component: s, Host: r.target.Host}); err != nil {
				return activities.RestoreStep{}, err
			}
		}
		return activities.RestoreStep{Summary: strings.Join(r.services(), ", ")}, nil
	})
}

// acquire takes the lock of a service and waits, for some time, for a run that has it.
func (r *goldenRestore) acquire(ctx workflow.Context, t shivx.Target) error {
	defer r.note(ctx, "")
	info := workflow.GetInfo(ctx)
	until := workflow.Now(ctx).Add(holdPatience)
	for {
		got, err := activities.Acquire.Execute(quickRead(ctx, info.TaskQueueName, "ask for the lock of "+t.String()), activities.AcquireInput{
			Target: t, Force: true,
			Holder: activities.RunRef{WorkflowID: info.WorkflowExecution.ID, RunID: info.WorkflowExecution.RunID},
		})
		// A run that was cancelled while it asked may hold the lock without knowing; the entity ignores a
		// release by anybody but its holder.
		if err == nil || ctx.Err() != nil {
			r.held = append(r.held, heldService{t, got.Isolated})
		}
		if err == nil || !isType(err, activities.ErrBusy) || !workflow.Now(ctx).Before(until) {
			return err
		}
		r.note(ctx, "waiting for "+t.String()+": "+reason(err))
		if err := workflow.NewTimerWithOptions(ctx, holdPause, workflow.TimerOptions{Summary: "ask for the lock of " + t.String() + " again"}).Get(ctx, nil); err != nil {
			return err
		}
	}
}

// stop stops the services, the last one to be started first.
func (r *goldenRestore) stop(ctx workflow.Context) error {
	if len(r.services()) == 0 {
		r.skip(ctx, shivx.GoldenStepStop, "no service is stopped")
		return nil
	}
	for _, s := range slices.Backward(r.services()) {
		if err := r.stopOne(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (r *goldenRestore) stopOne(ctx workflow.Context, service string) error {
	if ctx.Err() == nil && !slices.Contains(r.down, service) {
		// Whatever becomes of the call, the service may be stopped from now on.
		r.down = slices.Insert(r.down, 0, service)
		if r.since.IsZero() {
			r.since = workflow.Now(ctx)
		}
	}
	return r.service(ctx, shivx.GoldenStepStop, activities.StopService, service)
}

// start starts the services in order, with the restored state.
func (r *goldenRestore) start(ctx workflow.Context) error {
	if len(r.down) == 0 {
		r.skip(ctx, shivx.GoldenStepStart, "no service was stopped")
		return nil
	}
	r.starting = ctx.Err() == nil
	for _, s := range slices.Clone(r.down) {
		if err := r.service(ctx, shivx.GoldenStepStart, activities.StartService, s); err != nil {
			return err
		}
	}
	r.downtime = secondsSince(ctx, r.since)
	return nil
}

// service stops or starts one service.
func (r *goldenRestore) service(ctx workflow.Context, name shivx.GoldenStep, a activities.Activity[activities.ServiceInput, activities.RestoreStep], service string) error {
	return r.step(ctx, name, service, func() (activities.RestoreStep, error) {
		key := string(name) + " " + service
		r.attempts[key]++
		return a.Execute(hostChange(ctx, r.target.Host, key, r.policy.ServiceTimeout.Std()), activities.ServiceInput{
			GoldenTarget: r.target, Run: r.runKey, Restore: r.restore, Service: service, Attempt: r.attempts[key], Timeout: r.policy.ServiceTimeout})
	})
}

// check watches the health checks of the services.
func (r *goldenRestore) check(ctx workflow.Context) error {
	if len(r.down) == 0 {
		r.skip(ctx, shivx.GoldenStepCheck, "no service was stopped")
		return nil
	}
	return r.step(ctx, shivx.GoldenStepCheck, "", func() (activities.RestoreStep, error) {
		c, err := activities.CheckServices.Execute(hostChange(ctx, r.target.Host, "run the health checks", r.policy.CheckTimeout.Std()),
			activities.CheckServicesInput{GoldenTarget: r.target, Run: r.runKey, Restore: r.restore, Services: r.down, Timeout: r.policy.CheckTimeout})
		if err == nil && !c.Fit {
			err = notFit(activities.Validation{Reasons: c.Reasons})
		}
		if err == nil {
			r.healthy = workflow.Now(ctx)
		}
		return activities.RestoreStep{Summary: c.Summary}, err
	})
}

// release gives the locks back. What the entities have seen while the services were stopped on purpose is
// over once they were found healthy; otherwise it is theirs to heal. Services that were left stopped, because
// their files are of no one state, are not to be started by a heal.
func (r *goldenRestore) release(ctx workflow.Context, end ending, left bool) {
	info := workflow.GetInfo(ctx)
	for _, h := range r.held {
		out := Released{
			Holder:  activities.RunRef{WorkflowID: info.WorkflowExecution.ID, RunID: info.WorkflowExecution.RunID},
			Outcome: shivx.OutcomeHealthy, Isolated: h.isolated, Message: string(r.action) + ": " + end.message, Recovered: r.healthy,
		}
		if left {
			out.Outcome, out.Isolated = shivx.OutcomeFailed, true
		}
		err := workflow.SignalExternalWorkflow(ctx, shivx.ComponentID(h.Target), "", shivx.SignalReleased, out).Get(ctx, nil)
		if err != nil {
			// The entity looks after a holder that is gone; the run itself is done.
			workflow.GetLogger(ctx).Warn("a lock was not handed back", "component", h.Component, "error", err)
		}
	}
	r.held = nil
}
