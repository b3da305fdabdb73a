package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/config"
)

const (
	// never stands in a configuration for a schedule that is not wanted.
	never = "off"
	// scheduleTimeout is how long one schedule may take.
	scheduleTimeout = 10 * time.Second
	// scheduleRetry is the longest pause after a schedule that could not be kept: that is mended by people.
	scheduleRetry = time.Minute
)

// keepSchedules keeps the schedules of this host as the configuration says until ctx ends; again and again, since
// a schedule can be deleted.
func (a *Agent) keepSchedules(ctx context.Context) {
	for wait := firstRetry; ctx.Err() == nil; {
		err := a.settleSchedules(ctx)
		if err == nil {
			wait = firstRetry
			pause(ctx, configureEvery)
			continue
		}
		if ctx.Err() == nil {
			a.log.Warn("the schedules of this host are not as configured", "error", err, "hint", shivx.HintOf(err), "retry", wait)
		}
		pause(ctx, wait)
		wait = min(2*wait, scheduleRetry)
	}
}

// wantedSchedule is a schedule that the configuration asks for, in the section named.
type wantedSchedule struct {
	client.ScheduleOptions
	section string
}

// wantedSchedules are those of the golden sets and of the forecast.
func (a *Agent) wantedSchedules() []wantedSchedule {
	var out []wantedSchedule
	queue := a.cfg.Temporal.TaskQueue
	for _, s := range a.cfg.Golden.Sets {
		t := shivx.GoldenTarget{Set: s.Name, Host: a.cfg.Host}
		for _, o := range activities.GoldenSchedules(queue, t, scheduleOf(s.Schedule)) {
			out = append(out, wantedSchedule{o, "golden.sets, " + s.Name + ", schedule"})
		}
	}
	if f := a.cfg.Forecast; f.Enabled && f.Schedule > 0 {
		out = append(out, wantedSchedule{activities.ForecastSchedule(queue, a.cfg.Host, f.Schedule), "forecast.schedule"})
	}
	return out
}

// settleSchedules makes the schedules that are missing, changes those that were made from another
// configuration, and removes those that are not wanted any more. What is as it should be is only read.
func (a *Agent) settleSchedules(ctx context.Context) error {
	wanted := map[string]bool{}
	var errs []error
	for _, o := range a.wantedSchedules() {
		wanted[o.ID] = true
		if err := a.settleSchedule(ctx, o.ScheduleOptions); err != nil {
			errs = append(errs, shivx.Hint(fmt.Errorf("schedule %s: %w", o.ID, err), "see "+o.section))
		}
	}
	own, err := a.ownSchedules(ctx)
	errs = append(errs, err)
	for _, id := range own {
		if !wanted[id] {
			errs = append(errs, a.dropSchedule(ctx, id))
		}
	}
	return errors.Join(errs...)
}

// scheduleOf is what the configuration says of a golden set.
func scheduleOf(s config.GoldenSchedule) shivx.GoldenSchedule {
	out := shivx.GoldenSchedule{Backup: s.Backup, Verify: s.Verify, TimeZone: s.TimeZone, Jitter: s.Jitter}
	if out.Backup == never {
		out.Backup = ""
	}
	if out.Verify == never {
		out.Verify = ""
	}
	return out
}

// settleSchedule makes or changes one schedule. A pause and its note stay, and a schedule of that name that
// no agent has made is left alone.
func (a *Agent) settleSchedule(ctx context.Context, o client.ScheduleOptions) error {
	ctx, cancel := context.WithTimeout(ctx, scheduleTimeout)
	defer cancel()
	schedules := a.client.ScheduleClient()
	changed := false
	err := schedules.GetHandle(ctx, o.ID).Update(ctx, client.ScheduleUpdateOptions{
		DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			d := in.Description
			if memoOf(d.Memo, shivx.MemoScheduleOwner) != a.cfg.Host {
				a.log.Warn("a schedule of that name was not made by this agent, and is left as it is", "schedule", o.ID)
				return nil, temporal.ErrSkipScheduleUpdate
			}
			if planOf(d.Schedule.Action) == planOf(o.Action) {
				return nil, temporal.ErrSkipScheduleUpdate
			}
			changed = true
			d.Schedule.Action, d.Schedule.Spec = o.Action, &o.Spec
			d.Schedule.Policy.Overlap, d.Schedule.Policy.CatchupWindow = o.Overlap, o.CatchupWindow
			return &client.ScheduleUpdate{Schedule: &d.Schedule}, nil
		}})
	if _, missing := errors.AsType[*serviceerror.NotFound](err); missing {
		if _, err = schedules.Create(ctx, o); errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
			err = fmt.Errorf("it was made at the same moment: %w", err) // the next try looks at it
		}
		changed = true
	}
	if err == nil && changed {
		a.log.Info("a runbook is scheduled", "schedule", o.ID, "when", o.Memo[shivx.MemoScheduleWhen])
	}
	return err
}

// ownSchedules are the ids of the schedules that the agent of this host has made.
func (a *Agent) ownSchedules(ctx context.Context) (ids []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, scheduleTimeout)
	defer cancel()
	list, err := a.client.ScheduleClient().List(ctx, client.ScheduleListOptions{Query: fmt.Sprintf("%s = '%s'", shivx.AttrHost, a.cfg.Host)})
	if err != nil {
		return nil, fmt.Errorf("list the schedules: %w", err)
	}
	for list.HasNext() {
		e, err := list.Next()
		if err != nil {
			return nil, fmt.Errorf("list the schedules: %w", err)
		}
		if memoOf(e.Memo, shivx.MemoScheduleOwner) == a.cfg.Host {
			ids = append(ids, e.ID)
		}
	}
	return ids, nil
}

// dropSchedule removes a schedule; runs under way go on.
func (a *Agent) dropSchedule(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, scheduleTimeout)
	defer cancel()
	err := a.client.ScheduleClient().GetHandle(ctx, id).Delete(ctx)
	if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
		return nil // the list is some moments old
	}
	if err != nil {
		return fmt.Errorf("remove the schedule %s: %w", id, err)
	}
	a.log.Info("a schedule is not wanted any more and was removed", "schedule", id)
	return nil
}

// memoOf is a text in a memo, "" when it has none.
func memoOf(m *commonpb.Memo, name string) (text string) {
	if err := converter.GetDefaultDataConverter().FromPayload(m.GetFields()[name], &text); err != nil {
		return ""
	}
	return text
}

// planOf is the hash of what a schedule was made from, "" when it has none.
func planOf(action client.ScheduleAction) string {
	a, ok := action.(*client.ScheduleWorkflowAction)
	if !ok {
		return ""
	}
	switch v := a.Memo[shivx.MemoSchedulePlan].(type) {
	case string:
		return v
	case *commonpb.Payload: // as a server describes it
		return memoOf(&commonpb.Memo{Fields: map[string]*commonpb.Payload{shivx.MemoSchedulePlan: v}}, shivx.MemoSchedulePlan)
	}
	return ""
}
