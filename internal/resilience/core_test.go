package resilience

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/vitals"
)

func TestLevelFollowsScoreAndIsRecorded(t *testing.T) {
	b := newBench(t)
	require.Equal(t, shivx.LevelNormal, b.level())
	require.Nil(t, b.core.Status().Score)
	b.steps(2, 55)
	require.Equal(t, shivx.Level3, b.level(), "a score of 45 is LEVEL_3")
	b.steps(2, 95)
	require.Equal(t, shivx.LevelEmergency, b.level())
	b.steps(60, 0)
	require.Equal(t, shivx.LevelNormal, b.level())

	changes := b.changes()
	require.Len(t, changes, 6)
	first := changes[0]
	require.Equal(t, shivx.Level3, first.To)
	require.Equal(t, shivx.CauseScore, first.Cause)
	require.InDelta(t, 45, *first.Score, 0.1)
	require.InDelta(t, 1, first.Confidence, 0)
	require.Equal(t, b.ledger.Genesis()[:16], first.Ledger)
	require.Equal(t, "box", first.Host)
	var severities []shivx.Severity
	for _, r := range b.records() {
		if r.EventType != shivx.EventHealthCheck {
			severities = append(severities, r.Severity)
		}
	}
	require.Equal(t, []shivx.Severity{"warning", "critical", "info", "info", "info", "info"}, severities)
	require.EqualValues(t, 6, b.core.Status().Changes)
}

func TestStateIsReadBackAtEveryRecord(t *testing.T) {
	b := newBench(t, func(b *bench) { b.rules.Monitor.RecordEvery = time.Hour })
	check := func() {
		t.Helper()
		want, err := json.Marshal(b.core.state)
		require.NoError(t, err)
		etag := b.core.Features().ETag
		b.restart()
		got, err := json.Marshal(b.core.state)
		require.NoError(t, err)
		require.JSONEq(t, string(want), string(got))
		require.Equal(t, etag, b.core.Features().ETag)
		require.Equal(t, b.core.state.Automatic, b.core.machine.Level())
	}
	check()
	for _, memory := range []float64{0, 25, 40, 90} {
		b.steps(2, memory) // what a restart forgets is the first of two bad samples
		check()
	}
	require.Equal(t, shivx.LevelEmergency, b.level())
	_, err := b.core.Override(t.Context(), "k", shivx.OverrideRequest{Level: shivx.Level1, For: shivx.Duration(time.Hour), By: "ann", Why: "deploy"})
	require.NoError(t, err)
	check()
	b.steps(2, 0)
	require.NoError(t, b.core.AddRestart(t.Context(), "redis", nil, "run-1"))
	check()
	require.NoError(t, b.core.AddRestart(t.Context(), "redis", nil, "run-1"))
	require.NoError(t, b.core.AddRestart(t.Context(), "redis", nil, "run-2"))
	check()
	require.Equal(t, map[string]int{"redis": 2}, b.core.state.Restarts)
	b.steps(4, 0) // the level by score rises behind the override
	require.Equal(t, shivx.Level3, b.core.Status().Automatic)
	check()
	require.Equal(t, shivx.Level3, b.core.Status().Automatic)
	require.Equal(t, shivx.Level1, b.level())
	b.changes()
}

func TestStateBehindManyOtherRecords(t *testing.T) {
	b := newBench(t)
	b.steps(2, 90)
	for range 700 {
		_, err := b.ledger.Append(t.Context(), "", map[string]string{"event_type": "module_registered", "module": "x"})
		require.NoError(t, err)
	}
	b.restart()
	require.Equal(t, shivx.LevelEmergency, b.level())
	require.EqualValues(t, 1, b.core.Status().Changes)
	b.steps(1, 90)
	require.Equal(t, shivx.LevelEmergency, b.level(), "a restart neither heals nor counts as a change")
	require.Len(t, b.changes(), 1)
}

func TestRecordsOfNoUseArePassedOver(t *testing.T) {
	b := newBench(t)
	b.steps(2, 40)
	for _, details := range []any{"text", map[string]any{"level": "HUGE"}, map[string]any{"level": 7}, nil} {
		for _, event := range []string{shivx.EventHealthCheck, shivx.EventDegradation, shivx.EventOverride, shivx.EventShed, "unheard-of"} {
			_, err := b.ledger.Append(t.Context(), "", shivx.ResilienceRecord{EventType: event, Details: details})
			require.NoError(t, err)
		}
	}
	b.restart()
	require.Equal(t, shivx.Level2, b.level())
	require.Empty(t, b.core.state.Hooks)
}

func TestFullDiskDelaysRecordsNotLevels(t *testing.T) {
	for _, mode := range []string{"full", "liar"} {
		t.Run(mode, func(t *testing.T) {
			b := newBench(t, func(b *bench) { b.rules.Hooks = append(b.rules.Hooks, hookOf("batch", shivx.Level1)) })
			b.steps(1, 0)
			b.ledger.set(mode)
			b.steps(2, 90)
			require.Equal(t, shivx.LevelEmergency, b.level())
			require.False(t, first(b.core.Features().Lookup("uploads")).Enabled)
			require.Equal(t, []string{"shed batch"}, b.world.taken())
			ch, err := b.core.Override(t.Context(), "k", shivx.OverrideRequest{Level: shivx.Level1, For: shivx.Duration(time.Hour), By: "ann", Why: "deploy"})
			require.NoError(t, err)
			again, err := b.core.Override(t.Context(), "k", shivx.OverrideRequest{Level: shivx.Level1, For: shivx.Duration(time.Hour), By: "ann", Why: "deploy"})
			require.NoError(t, err)
			require.Equal(t, ch, again)
			require.Error(t, b.core.AddRestart(t.Context(), "redis", nil, "run"))
			require.Error(t, b.core.AddRestart(t.Context(), "redis", nil, "run"))
			notices := b.core.Status().Notices
			require.Len(t, notices, 1)
			require.Contains(t, notices[0], "no space left on device")
			require.Contains(t, notices[0], "free some space")
			require.Contains(t, notices[0], "wait in memory")

			b.ledger.set("")
			b.steps(1, 90)
			require.Empty(t, b.core.Status().Notices)
			require.NoError(t, b.core.AddRestart(t.Context(), "redis", nil, "run"))
			changes := b.changes()
			require.Len(t, changes, 2)
			require.Equal(t, ch, changes[1])
			require.Equal(t, map[string]int{"redis": 1}, b.core.state.Restarts)
			b.restart()
			require.Equal(t, shivx.Level1, b.level())
			require.Equal(t, map[string]int{"redis": 1}, b.core.state.Restarts)
		})
	}
}

func TestHealthCheckDoesNotOvertakeAChange(t *testing.T) {
	b := newBench(t)
	b.ledger.set("keyed")
	b.steps(20, 90)
	b.restart() // as if killed: the change was never recorded, and nothing may say that it was
	require.Equal(t, shivx.LevelNormal, b.level())
	b.steps(2, 90)
	require.Len(t, b.changes(), 1)
}

func TestHungDiskDelaysLevelsForShort(t *testing.T) {
	b := newBench(t)
	b.steps(2, 0)
	b.ledger.set("hung")
	b.steps(1, 90)
	began := time.Now()
	b.steps(1, 90)
	require.Less(t, time.Since(began), 3*recordTimeout)
	require.Equal(t, shivx.LevelEmergency, b.level())
	b.ledger.set("")
	b.steps(1, 90)
	require.Len(t, b.changes(), 1)
}

func TestPanicsAreContainedAndNamed(t *testing.T) {
	b := newBench(t)
	b.steps(1, 0)
	b.sampled = func() { panic("torn /proc") }
	b.steps(2, 90)
	st := b.core.Status()
	require.Equal(t, []string{"sampling panicked: torn /proc"}, st.Notices)
	require.Equal(t, shivx.LevelNormal, st.Level)
	require.True(t, st.MonitoringActive)
	b.steps(2, 90)
	require.False(t, b.core.Status().MonitoringActive)
	b.sampled = nil
	b.core.o.OnSample = func(vitals.Sample, Score) { panic("history is gone") }
	b.core.OnFeatures(func(*Snapshot) { panic("subscriber") })
	b.steps(2, 90)
	st = b.core.Status()
	require.Equal(t, shivx.LevelEmergency, st.Level)
	require.True(t, st.MonitoringActive)
	require.Equal(t, []string{"handing a sample on panicked: history is gone", "telling of the features panicked: subscriber"}, st.Notices)
}

func TestMissingReadingsHoldTheLevel(t *testing.T) {
	b := newBench(t)
	b.missing = "permission denied"
	b.notices = []string{"the clock jumped by 3h0m0s"}
	b.steps(5, 90)
	st := b.core.Status()
	require.Equal(t, shivx.LevelNormal, st.Level)
	require.Contains(t, st.Held, "confidence too low")
	require.Equal(t, b.notices, st.Notices)
	require.Equal(t, []string{"memory"}, st.Score.Missing)
}

func TestRunBeatsAndStops(t *testing.T) {
	b := newBench(t)
	stop := b.run()
	require.Equal(t, every, b.clock.idle())
	began := b.core.Alive()
	b.ledger.set("full")
	b.set(90)
	b.clock.beat()
	b.clock.beat()
	b.clock.idle()
	require.Equal(t, shivx.LevelEmergency, b.level())
	require.Equal(t, 2*every, b.core.Alive().Sub(began))
	require.Error(t, b.core.Run(context.Background()), "it runs already")
	require.Empty(t, b.changes())
	b.ledger.set("")
	stop()
	require.Len(t, b.changes(), 1, "what waits is recorded at the end")
}

func TestNewTellsWhatItCannotRead(t *testing.T) {
	b := newBench(t)
	o := b.core.o
	o.LedgerPath = b.dir // a folder
	_, err := New(o)
	require.Error(t, err)
	require.NotEmpty(t, shivx.HintOf(err))
	o = b.core.o
	o.Rules.Hooks, o.Shedder = append(o.Rules.Hooks, hookOf("x", shivx.Level1)), nil
	_, err = New(o)
	require.Error(t, err)
}

func first[T any](v T, _ bool) T { return v }
