package activities

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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

// ReasonSchedule is the reason of runs that a schedule starts.
const ReasonSchedule = "schedule"

// GoldenSchedules says which schedules a set has; queue is that of the runbooks. A schedule has the id of
// the runs that it starts, to which Temporal adds the time. Memos say whose it is, and what it was made from:
// the latter in its action, as Temporal does not let the memo of every schedule be changed.
func GoldenSchedules(queue string, t shivx.GoldenTarget, s shivx.GoldenSchedule) []client.ScheduleOptions {
	request := shivx.GoldenRequest{GoldenTarget: t, Reason: ReasonSchedule}
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
	id, when := shivx.GoldenID(a, t), cron+" "+s.TimeZone
	act := &client.ScheduleWorkflowAction{
		ID: id, Workflow: workflowType, Args: []any{in}, TaskQueue: queue, WorkflowTaskTimeout: shivx.TaskTimeout,
		TypedSearchAttributes: GoldenAttributes(a, t),
		StaticSummary:         GoldenSummary(a, t), StaticDetails: GoldenDetails(a),
	}
	o := client.ScheduleOptions{
		ID: id,
		// Lists show the comment: when it starts something, as people write it.
		Spec:          client.ScheduleSpec{CronExpressions: []string{cron + " # " + when}, TimeZoneName: s.TimeZone, Jitter: s.Jitter},
		Overlap:       enumspb.SCHEDULE_OVERLAP_POLICY_SKIP,
		CatchupWindow: catchup,
		Memo: map[string]any{
			shivx.MemoScheduleWhen: when, shivx.MemoScheduleTarget: t.String(), shivx.MemoScheduleOwner: t.Host,
		},
		TypedSearchAttributes: GoldenAttributes(a, t),
		Action:                act,
	}
	act.Memo = map[string]any{shivx.MemoSchedulePlan: plan(o, act)}
	return o
}

// plan is a hash of all that a schedule does.
func plan(o client.ScheduleOptions, a *client.ScheduleWorkflowAction) string {
	told := fmt.Appendf(nil, "%q %q %s %d %s %s %s %+v %s %q %q", o.Spec.CronExpressions, o.Spec.TimeZoneName, o.Spec.Jitter,
		o.Overlap, o.CatchupWindow, a.ID, a.Workflow, a.Args, a.WorkflowTaskTimeout, a.TaskQueue, a.StaticSummary+a.StaticDetails)
	if len(o.Spec.Intervals) > 0 { // only then, so that schedules made before there were any stay as they are
		told = fmt.Appendf(told, " %v", o.Spec.Intervals)
	}
	sum := sha256.Sum256(told)
	return hex.EncodeToString(sum[:])
}
