package activities

import (
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
)

// How late a run may start that was missed while Temporal was away.
const (
	backupCatchup = 6 * time.Hour
	verifyCatchup = 24 * time.Hour
)

// GoldenSchedules says which schedules a set has; queue is that of the runbooks. A schedule has the id of
// the runs that it starts, to which Temporal adds the time.
func GoldenSchedules(queue string, t shivx.GoldenTarget, s shivx.GoldenSchedule) []client.ScheduleOptions {
	request := shivx.GoldenRequest{GoldenTarget: t, Reason: "schedule"}
	var out []client.ScheduleOptions
	if s.Backup != "" {
		out = append(out, goldenSchedule(queue, t, s, shivx.GoldenBackup, s.Backup, backupCatchup,
			shivx.TypeGoldenBackup, shivx.GoldenBackupInput{GoldenRequest: request}))
	}
	if s.Verify != "" {
		out = append(out, goldenSchedule(queue, t, s, shivx.GoldenVerify, s.Verify, verifyCatchup,
			shivx.TypeGoldenVerify, shivx.GoldenVerifyInput{GoldenRequest: request, All: true, Repair: true}))
	}
	return out
}

func goldenSchedule(queue string, t shivx.GoldenTarget, s shivx.GoldenSchedule, a shivx.GoldenAction, cron string, catchup time.Duration,
	workflowType string, in any) client.ScheduleOptions {
	id := shivx.GoldenID(a, t)
	return client.ScheduleOptions{
		ID:            id,
		Spec:          client.ScheduleSpec{CronExpressions: []string{cron}, TimeZoneName: s.TimeZone, Jitter: s.Jitter},
		Overlap:       enumspb.SCHEDULE_OVERLAP_POLICY_SKIP,
		CatchupWindow: catchup,
		Memo:          map[string]any{shivx.MemoScheduleWhen: cron + " " + s.TimeZone, shivx.MemoScheduleTarget: t.String()},
		Action: &client.ScheduleWorkflowAction{
			ID: id, Workflow: workflowType, Args: []any{in}, TaskQueue: queue, WorkflowTaskTimeout: shivx.TaskTimeout,
			TypedSearchAttributes: GoldenAttributes(a, t),
			StaticSummary:         GoldenSummary(a, t), StaticDetails: GoldenDetails(a),
		},
	}
}
