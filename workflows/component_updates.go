package workflows

import (
	"errors"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// HealRequest asks an entity for a heal.
type HealRequest struct {
	By       string          `json:"by"`
	Reason   string          `json:"reason,omitempty"`
	Strategy string          `json:"strategy,omitempty"`
	Window   *shivx.Duration `json:"window,omitempty"`
	// VerifyOnly validates and puts back into traffic without a recovery.
	VerifyOnly bool `json:"verify_only,omitempty"`
	// Force runs also in maintenance.
	Force bool `json:"force,omitempty"`
}

// CheckpointRequest asks an entity for a checkpoint of its healthy component.
type CheckpointRequest struct {
	By string `json:"by"`
}

func busyError(why string) error {
	return temporal.NewNonRetryableApplicationError(why, activities.ErrBusy, nil)
}

// serve registers the query and the updates.
func (c *component) serve(ctx workflow.Context) error {
	now := func() time.Time { return workflow.Now(ctx) }
	return errors.Join(
		workflow.SetQueryHandlerWithOptions(ctx, shivx.QueryStatus, func() (ComponentState, error) { return c.ComponentState, nil },
			workflow.QueryHandlerOptions{Description: "Lock, pending fault, cooldown, budget, maintenance and last run."}),
		workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateHeal, c.heal, workflow.UpdateHandlerOptions{
			Description: `Start a heal. {"by":"ana","reason":"slow since the deploy"}`,
			Validator: func(r HealRequest) error {
				if r.By == "" {
					return badInput(`say who asks: {"by":"NAME"}`)
				}
				if why := c.busy(now(), r.Force); why != "" {
					return busyError(why)
				}
				return nil
			}}),
		workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateAcquire, c.acquire, workflow.UpdateHandlerOptions{
			Description: "Take the lock for a run that was started by hand; used by SelfHeal.",
			Validator: func(r activities.AcquireInput) error {
				if c.Holder != nil && c.Holder.RunRef == r.Holder {
					return nil
				}
				if why := c.busy(now(), r.Force); why != "" {
					return busyError(why)
				}
				return nil
			}}),
		workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateSetMaintenance, c.setMaintenance, workflow.UpdateHandlerOptions{
			Description: `Keep automation away. {"on":true,"by":"ana","for":"2h","reason":"disk swap"}`,
			Validator: func(m Maintenance) error {
				if m.For < 0 {
					return badInput(`"for" is in the past; write a duration such as "2h"`)
				}
				return named(By{m.By})
			}}),
		workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateCheckpoint, c.checkpoint, workflow.UpdateHandlerOptions{
			Description: `Keep a copy of the healthy state to restore from. {"by":"ana"}`,
			Validator: func(r CheckpointRequest) error {
				if why := c.busy(now(), true); why != "" {
					return busyError(why)
				}
				return named(By(r))
			}}),
	)
}

func (c *component) heal(ctx workflow.Context, r HealRequest) (activities.RunRef, error) {
	if err := c.mutex.Lock(ctx); err != nil {
		return activities.RunRef{}, err
	}
	defer c.mutex.Unlock()
	if why := c.busy(workflow.Now(ctx), r.Force); why != "" {
		return activities.RunRef{}, busyError(why)
	}
	c.Pending = nil
	return c.startHeal(ctx, SelfHealInput{
		Target: c.Target, Isolated: c.Isolated, Strategy: r.Strategy, Window: r.Window, VerifyOnly: r.VerifyOnly, Force: r.Force,
		Reason: strings.TrimSpace("asked for by " + r.By + ": " + r.Reason), RequestedBy: r.By,
	})
}

func (c *component) acquire(ctx workflow.Context, r activities.AcquireInput) (activities.AcquireResult, error) {
	if c.Holder == nil {
		now := workflow.Now(ctx)
		if c.stopCheckpoint != nil {
			c.stopCheckpoint()
		}
		c.Holder = &Holder{RunRef: r.Holder, Since: now, Reason: "started by hand"}
		c.Heals = append(c.Heals, now)
		c.lookAt = now.Add(lookEvery)
		c.changes++
	}
	return activities.AcquireResult{Policy: c.Policy, Isolated: c.Isolated}, nil
}

func (c *component) setMaintenance(ctx workflow.Context, m Maintenance) (ComponentState, error) {
	if m.For > 0 {
		m.Until = workflow.Now(ctx).Add(m.For.Std())
		m.For = 0
	}
	c.Maintenance = &m
	if !m.On {
		c.Maintenance = nil
	}
	c.changes++
	return c.ComponentState, nil
}

func (c *component) checkpoint(ctx workflow.Context, _ CheckpointRequest) (activities.CheckpointResult, error) {
	if err := c.mutex.Lock(ctx); err != nil {
		return activities.CheckpointResult{}, err
	}
	defer c.mutex.Unlock()
	if why := c.busy(workflow.Now(ctx), true); why != "" {
		return activities.CheckpointResult{}, busyError(why)
	}
	if c.stopCheckpoint != nil {
		return activities.CheckpointResult{}, busyError("a checkpoint is being taken")
	}
	return c.takeCheckpoint(ctx)
}
