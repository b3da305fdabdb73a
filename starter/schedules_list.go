package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/shivx/shivx"
)

// scheduleView is one schedule as it is shown.
type scheduleView struct {
	Name    string    `json:"name"`
	Runbook string    `json:"runbook"`
	Target  string    `json:"target,omitempty"`
	When    string    `json:"when"`
	Paused  bool      `json:"paused"`
	Note    string    `json:"note,omitempty"`
	Next    time.Time `json:"next,omitzero"`
	Last    time.Time `json:"last,omitzero"`
}

func (a *app) schedulesListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the schedules", Args: cobra.NoArgs,
		RunE: a.onFleet(func(ctx context.Context, f *fleet, _ []string) error {
			views, err := f.schedules(ctx)
			if err != nil {
				return err
			}
			if a.json() {
				return a.document(views)
			}
			if len(views) == 0 {
				a.err.line(normal, "there is no schedule yet; see: shivx schedules create --help")
				return nil
			}
			t := table{head: []string{"NAME", "RUNBOOK", "TARGET", "WHEN", "STATE", "NEXT", "LAST", "NOTE"}, free: []int{7}}
			for _, v := range views {
				state, next := cell{"active", green}, moment(v.Next)
				if v.Paused {
					state, next = cell{"paused", yellow}, ""
				}
				t.add(text(v.Name), text(v.Runbook), text(v.Target), text(v.When), state, text(next), text(moment(v.Last)), text(v.Note))
			}
			a.out.table(t)
			return nil
		}),
	}
}

func (f *fleet) schedules(ctx context.Context) ([]scheduleView, error) {
	list, err := f.client.ScheduleClient().List(ctx, client.ScheduleListOptions{PageSize: page})
	if err != nil {
		return nil, explain("list the schedules", err)
	}
	views := []scheduleView{}
	for list.HasNext() {
		e, err := list.Next()
		if err != nil {
			return nil, explain("list the schedules", err)
		}
		v := scheduleView{Name: e.ID, Runbook: e.WorkflowType.Name, Paused: e.Paused, Note: e.Note,
			When: scheduledAt(e), Target: memo(e, shivx.MemoScheduleTarget)}
		if len(e.NextActionTimes) > 0 {
			v.Next = e.NextActionTimes[0]
		}
		if n := len(e.RecentActions); n > 0 {
			v.Last = e.RecentActions[n-1].ActualTime
		}
		views = append(views, v)
	}
	slices.SortFunc(views, func(a, b scheduleView) int { return strings.Compare(a.Name, b.Name) })
	return views, nil
}

// scheduledAt says in words when a schedule runs. The memo stays as it was made; of one that an agent keeps its
// interval says it, or a comment, which change with it.
func scheduledAt(e *client.ScheduleListEntry) string {
	switch {
	case memo(e, shivx.MemoScheduleOwner) == "" || e.Spec == nil:
	case len(e.Spec.Intervals) > 0:
		return "every " + short(e.Spec.Intervals[0].Every)
	case len(e.Spec.Calendars) > 0:
		if said := strings.TrimSpace(e.Spec.Calendars[0].Comment); said != "" {
			return said
		}
	}
	return memo(e, shivx.MemoScheduleWhen)
}

// memo is a memo field of a schedule, "" when it has none.
func memo(e *client.ScheduleListEntry, name string) string {
	var value string
	if p, ok := e.Memo.GetFields()[name]; ok {
		if err := converter.GetDefaultDataConverter().FromPayload(p, &value); err != nil {
			return ""
		}
	}
	return value
}
