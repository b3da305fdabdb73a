package activities

import (
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
)

// ReasonForecast begins the reason of a Mitigation that a FaultForecast starts.
const ReasonForecast = "forecast: "

// forecastCatchup is how late a forecast may start that was missed while Temporal was away: the next one knows more.
const forecastCatchup = 10 * time.Second

// forecastJitter is the part of the interval over which the forecasts of a fleet are spread.
const forecastJitter = 10

// ForecastSchedule is the schedule of the FaultForecast of host; queue is that of the runbooks.
func ForecastSchedule(queue, host string, every time.Duration) client.ScheduleOptions {
	when := "every " + every.String()
	act := &client.ScheduleWorkflowAction{
		ID: shivx.FaultForecastID(host), Workflow: shivx.TypeFaultForecast, TaskQueue: queue, WorkflowTaskTimeout: shivx.TaskTimeout,
		Args:                  []any{shivx.FaultForecastInput{Host: host, Reason: ReasonSchedule}},
		TypedSearchAttributes: ForecastAttributes(host),
		StaticSummary:         ForecastSummary(host), StaticDetails: ForecastDetails,
	}
	o := client.ScheduleOptions{
		ID: shivx.FaultForecastID(host),
		Spec: client.ScheduleSpec{
			Intervals: []client.ScheduleIntervalSpec{{Every: every}}, Jitter: every / forecastJitter,
		},
		Overlap:       enumspb.SCHEDULE_OVERLAP_POLICY_SKIP,
		CatchupWindow: forecastCatchup,
		Memo: map[string]any{
			shivx.MemoScheduleWhen: when, shivx.MemoScheduleTarget: host, shivx.MemoScheduleOwner: host,
		},
		TypedSearchAttributes: ForecastAttributes(host),
		Action:                act,
	}
	act.Memo = map[string]any{shivx.MemoSchedulePlan: plan(o, act)}
	return o
}

// ForecastAttributes returns what a FaultForecast of host is found by.
func ForecastAttributes(host string) temporal.SearchAttributes {
	return temporal.NewSearchAttributes(AttrRunbook.ValueSet(shivx.RunbookFaultForecast), AttrHost.ValueSet(host))
}

// ForecastSummary is what the Temporal UI calls a FaultForecast.
func ForecastSummary(host string) string { return "Forecast of the faults of " + host }

// ForecastDetails says in the Temporal UI what a FaultForecast is.
const ForecastDetails = "Says what is going to fail on a host, and starts a Mitigation for each subsystem that has an alert. " +
	"Changes nothing itself. Query: `heatmap`."

// MitigationSummary is what the Temporal UI calls a Mitigation.
func MitigationSummary(t shivx.SubsystemTarget) string { return "Mitigation for " + t.String() }

// MitigationDetails says in the Temporal UI what a Mitigation is.
const MitigationDetails = "Acts before a failure that is forecast: plans, waits for the end of a blackout or for a quiet time, asks people where the " +
	"configuration says so, acts, and compares what comes with what was forecast without it. " +
	"Answer with the update `approve`, hold it with `pause`, stop it with the signal `abort`. Query: `status`."
