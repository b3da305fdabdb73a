package activities_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

func TestGoldenSchedules(t *testing.T) {
	target := shivx.GoldenTarget{Set: "shop", Host: "web-1"}
	list := activities.GoldenSchedules("shivx", target, shivx.GoldenSchedule{
		Backup: "0 3 * * *", Verify: "0 5 * * 0", TimeZone: "Europe/Berlin", Jitter: time.Minute})
	require.Len(t, list, 2)
	for i, want := range []struct{ id, workflow, cron string }{
		{"golden/backup/shop@web-1", shivx.TypeGoldenBackup, "0 3 * * *"}, {"golden/verify/shop@web-1", shivx.TypeGoldenVerify, "0 5 * * 0"},
	} {
		s := list[i]
		require.Equal(t, want.id, s.ID)
		require.Equal(t, []string{want.cron + " # " + want.cron + " Europe/Berlin"}, s.Spec.CronExpressions)
		require.Equal(t, "web-1", s.Memo[shivx.MemoScheduleOwner])
		require.Equal(t, "Europe/Berlin", s.Spec.TimeZoneName)
		require.Equal(t, time.Minute, s.Spec.Jitter)
		require.Equal(t, enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, s.Overlap)
		require.Less(t, s.CatchupWindow, 48*time.Hour, "Temporal's default is a year")
		require.Positive(t, s.CatchupWindow)
		a := s.Action.(*client.ScheduleWorkflowAction)
		require.Equal(t, want.workflow, a.Workflow)
		require.Equal(t, "shivx", a.TaskQueue)
		require.NotEmpty(t, a.StaticSummary)
	}
	verify := list[1].Action.(*client.ScheduleWorkflowAction).Args[0].(shivx.GoldenVerifyInput)
	require.True(t, verify.All && verify.Repair)
	require.Equal(t, target, verify.GoldenTarget)

	require.Empty(t, activities.GoldenSchedules("shivx", target, shivx.GoldenSchedule{TimeZone: "UTC"}))
}

// TestGoldenSchedulesAreToldApart: whatever a schedule does differently, its plan differs.
func TestGoldenSchedulesAreToldApart(t *testing.T) {
	plan := func(queue, set string, s shivx.GoldenSchedule) string {
		o := activities.GoldenSchedules(queue, shivx.GoldenTarget{Set: set, Host: "web-1"}, s)[0]
		return o.Action.(*client.ScheduleWorkflowAction).Memo[shivx.MemoSchedulePlan].(string)
	}
	one := shivx.GoldenSchedule{Backup: "0 3 * * *", TimeZone: "UTC", Jitter: time.Minute}
	first := plan("shivx", "shop", one)
	require.Equal(t, first, plan("shivx", "shop", one))
	seen := map[string]bool{first: true, plan("other", "shop", one): true, plan("shivx", "system", one): true}
	for _, s := range []shivx.GoldenSchedule{
		{Backup: "0 4 * * *", TimeZone: "UTC", Jitter: time.Minute}, {Backup: "0 3 * * *", TimeZone: "CET", Jitter: time.Minute},
		{Backup: "0 3 * * *", TimeZone: "UTC"}, {Verify: "0 3 * * *", TimeZone: "UTC", Jitter: time.Minute},
	} {
		seen[plan("shivx", "shop", s)] = true
	}
	require.Len(t, seen, 7)
}

// TestGoldenRunsAreNamed: every action has what people and searches find its runs by.
func TestGoldenRunsAreNamed(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range shivx.GoldenActions() {
		require.Contains(t, activities.GoldenSummary(a, shivx.GoldenTarget{Set: "shop", Host: "web-1"}), " shop@web-1")
		require.Greater(t, len(activities.GoldenSummary(a, shivx.GoldenTarget{})), 10)
		require.Contains(t, activities.GoldenDetails(a), "`abort`")
		kind := activities.GoldenRunbook(a)
		require.NotEmpty(t, kind)
		require.False(t, seen[kind], kind)
		seen[kind] = true
		attributes := activities.GoldenAttributes(a, shivx.GoldenTarget{Set: "shop", Host: "web-1"})
		set, ok := attributes.GetKeyword(activities.AttrSet)
		require.True(t, ok)
		require.Equal(t, "shop", set)
	}
}
