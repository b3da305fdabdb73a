package agent

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/test/stand"
)

// scheduled is a host with an agent, a real server, and sets.
type scheduled struct {
	*Agent
	t *testing.T
}

func newScheduled(t *testing.T, c client.Client, host string) scheduled {
	t.Helper()
	a, _ := newLedgerAgent(t, t.TempDir())
	a.cfg.Host, a.cfg.Golden.Sets, a.cfg.Forecast.Schedule = host, nil, 0
	a.client, a.namespace = c, client.DefaultNamespace
	return scheduled{a, t}
}

// sets gives the host sets with a time of backups each, "" for never, and settles their schedules.
func (s scheduled) sets(backups map[string]string) {
	s.t.Helper()
	s.cfg.Golden.Sets = nil
	for name, cron := range backups {
		set := config.GoldenSet{Name: name}
		set.Schedule = config.GoldenSchedule{Backup: cron, Verify: "off", TimeZone: "Europe/Berlin", Jitter: time.Second}
		s.cfg.Golden.Sets = append(s.cfg.Golden.Sets, set)
	}
	require.NoError(s.t, s.settleSchedules(s.t.Context()))
}

func (s scheduled) describe(id string) *client.ScheduleDescription {
	s.t.Helper()
	d, err := s.client.ScheduleClient().GetHandle(s.t.Context(), id).Describe(s.t.Context())
	require.NoError(s.t, err)
	return d
}

// awaitOwn waits until lists show these schedules of the host's own, which they do a moment later.
func (s scheduled) awaitOwn(ids ...string) {
	s.t.Helper()
	stand.Await(s.t, 20*time.Second, "the schedules to be listed", func(ctx context.Context) bool {
		own, err := s.ownSchedules(ctx)
		require.NoError(s.t, err)
		return len(own) == len(ids)
	})
	own, err := s.ownSchedules(s.t.Context())
	require.NoError(s.t, err)
	require.ElementsMatch(s.t, ids, own)
}

const shopBackup, systemBackup = "golden/backup/shop@h1", "golden/backup/system@h1"

// TestSchedulesOfGoldenSets asks a real server: schedules are made, changed and removed with the configuration.
func TestSchedulesOfGoldenSets(t *testing.T) {
	c := stand.NewServer(t).Client()
	h1, h2 := newScheduled(t, c, "h1"), newScheduled(t, c, "h2")
	require.NoError(t, h1.prepareServer(t.Context()))
	hand := client.ScheduleOptions{
		ID: "golden/verify/shop@h1", Spec: client.ScheduleSpec{CronExpressions: []string{"0 1 * * *"}},
		Memo:   map[string]any{shivx.MemoScheduleTarget: "shop@h1"},
		Action: &client.ScheduleWorkflowAction{ID: "mine", Workflow: "Mine", TaskQueue: "q"},
	}
	_, err := c.ScheduleClient().Create(t.Context(), hand)
	require.NoError(t, err)

	h1.sets(map[string]string{"shop": "0 3 * * *", "system": "30 4 * * 1", "off": "off", "none": ""})
	h2.sets(map[string]string{"shop": "0 3 * * *"})
	h1.awaitOwn(shopBackup, systemBackup)
	d := h1.describe(shopBackup)
	require.Equal(t, 6*time.Hour, d.Schedule.Policy.CatchupWindow)
	require.Equal(t, time.Second, d.Schedule.Spec.Jitter)
	require.Equal(t, "Europe/Berlin", d.Schedule.Spec.TimeZoneName)
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	next := d.Info.NextActionTimes[0].In(berlin).Truncate(time.Minute)
	require.Equal(t, "03:00", next.Format("15:04"))

	t.Run("what is as configured is not written", func(t *testing.T) {
		h1.sets(map[string]string{"shop": "0 3 * * *", "system": "30 4 * * 1"})
		require.Equal(t, d.Info.LastUpdateAt, h1.describe(shopBackup).Info.LastUpdateAt)
	})
	t.Run("a change keeps the pause", func(t *testing.T) {
		require.NoError(t, c.ScheduleClient().GetHandle(t.Context(), shopBackup).Pause(t.Context(), client.SchedulePauseOptions{Note: "by ana: move"}))
		h1.sets(map[string]string{"shop": "15 2 * * *", "system": "30 4 * * 1"})
		d := h1.describe(shopBackup)
		require.True(t, d.Schedule.State.Paused)
		require.Equal(t, "by ana: move", d.Schedule.State.Note)
		require.Equal(t, "15 2 * * * Europe/Berlin", d.Schedule.Spec.Calendars[0].Comment)
		require.False(t, d.Info.LastUpdateAt.IsZero())
		h1.sets(map[string]string{"shop": "15 2 * * *", "system": "30 4 * * 1"})
		require.Equal(t, d.Info.LastUpdateAt, h1.describe(shopBackup).Info.LastUpdateAt)
	})
	t.Run("what is not wanted any more goes", func(t *testing.T) {
		h1.sets(map[string]string{"system": "off"})
		h1.awaitOwn()
		h2.awaitOwn("golden/backup/shop@h2")
		require.Equal(t, "mine", h1.describe(hand.ID).Schedule.Action.(*client.ScheduleWorkflowAction).ID)
	})
	t.Run("what was made by hand is left alone", func(t *testing.T) {
		h1.cfg.Golden.Sets = []config.GoldenSet{{Name: "shop", Schedule: config.GoldenSchedule{Verify: "0 5 * * 0", Backup: "off", TimeZone: "UTC"}}}
		require.NoError(t, h1.settleSchedules(t.Context()))
		require.Equal(t, "mine", h1.describe(hand.ID).Schedule.Action.(*client.ScheduleWorkflowAction).ID)
	})
	t.Run("one that the server refuses keeps no other away", func(t *testing.T) {
		h1.cfg.Golden.Sets = []config.GoldenSet{
			{Name: "bad", Schedule: config.GoldenSchedule{Backup: "0 77 * * *", TimeZone: "UTC"}},
			{Name: "good", Schedule: config.GoldenSchedule{Backup: "0 7 * * *", TimeZone: "UTC"}},
		}
		err := h1.settleSchedules(t.Context())
		require.ErrorContains(t, err, "golden/backup/bad@h1")
		require.Contains(t, shivx.HintOf(err), "bad")
		h1.awaitOwn("golden/backup/good@h1")
	})
	t.Run("one that was deleted comes back while the agent works", func(t *testing.T) {
		h1.cfg.Golden.Sets = h1.cfg.Golden.Sets[1:]
		require.NoError(t, c.ScheduleClient().GetHandle(t.Context(), "golden/backup/good@h1").Delete(t.Context()))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { h1.keepSchedules(ctx); close(done) }()
		stand.Await(t, 20*time.Second, "the schedule to come back", func(ctx context.Context) bool {
			_, err := c.ScheduleClient().GetHandle(ctx, "golden/backup/good@h1").Describe(ctx)
			return err == nil
		})
		stop()
		<-done
	})
}

// TestScheduleOfTheForecast asks a real server: it is made, changed and removed with the configuration.
func TestScheduleOfTheForecast(t *testing.T) {
	h1 := newScheduled(t, stand.NewServer(t).Client(), "h1")
	require.NoError(t, h1.prepareServer(t.Context()))
	every := func(d time.Duration) {
		h1.cfg.Forecast.Schedule = d
		require.NoError(t, h1.settleSchedules(t.Context()))
	}
	every(5 * time.Minute)
	h1.awaitOwn("forecast@h1")
	d := h1.describe("forecast@h1")
	require.Equal(t, []client.ScheduleIntervalSpec{{Every: 5 * time.Minute}}, d.Schedule.Spec.Intervals)
	require.Equal(t, 30*time.Second, d.Schedule.Spec.Jitter)
	require.Equal(t, 10*time.Second, d.Schedule.Policy.CatchupWindow)
	require.Equal(t, enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, d.Schedule.Policy.Overlap)

	every(5 * time.Minute)
	require.Equal(t, d.Info.LastUpdateAt, h1.describe("forecast@h1").Info.LastUpdateAt, "what is as configured is not written")
	every(time.Hour)
	require.Equal(t, []client.ScheduleIntervalSpec{{Every: time.Hour}}, h1.describe("forecast@h1").Schedule.Spec.Intervals)

	every(0)
	h1.awaitOwn()
	every(time.Minute)
	h1.awaitOwn("forecast@h1")
	h1.cfg.Forecast.Enabled = false
	require.NoError(t, h1.settleSchedules(t.Context()))
	h1.awaitOwn()
}
