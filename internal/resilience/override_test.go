package resilience

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func askFor(level shivx.Level, d time.Duration) shivx.OverrideRequest {
	return shivx.OverrideRequest{Level: level, For: shivx.Duration(d), By: "ann", Why: "deploy"}
}

func (b *bench) override(key string, req shivx.OverrideRequest) shivx.LevelChange {
	b.t.Helper()
	ch, err := b.core.Override(b.t.Context(), key, req)
	require.NoError(b.t, err)
	return ch
}

func TestOverrideHoldsReplacesAndEnds(t *testing.T) {
	b := newBench(t)
	b.steps(1, 0)
	ch := b.override("", askFor(shivx.Level2, time.Hour))
	require.Equal(t, shivx.CauseOverride, ch.Cause)
	require.Equal(t, "held at LEVEL_2 by ann until 15:00 UTC on 1 Mar: deploy", ch.Reason)
	require.Equal(t, b.clock.Now().Add(time.Hour), ch.Override.Until)
	b.steps(3, 90)
	st := b.core.Status()
	require.Equal(t, shivx.Level2, st.Level)
	require.Equal(t, shivx.LevelEmergency, st.Automatic, "the machine goes on in the background")
	require.Equal(t, ch.Reason, st.Held)
	require.EqualValues(t, 1, st.Changes)

	again := b.override("", askFor(shivx.Level2, 2*time.Hour))
	require.Equal(t, again.From, again.To)
	require.EqualValues(t, 2, again.Number)
	ended := b.override("", shivx.OverrideRequest{End: true, By: "bob", Why: "done"})
	require.Equal(t, shivx.CauseOverrideEnd, ended.Cause)
	require.Equal(t, shivx.LevelEmergency, ended.To)
	require.Equal(t, "bob ended the override to LEVEL_2 by ann (done); by score it is EMERGENCY, now 10.0; memory (90.0 %) costs most", ended.Reason)
	require.Nil(t, ended.Override)
	_, err := b.core.Override(t.Context(), "", shivx.OverrideRequest{End: true, By: "bob"})
	require.ErrorContains(t, err, "no override is in force")
	require.NotEmpty(t, shivx.HintOf(err))
	var events []string
	for _, r := range b.records() {
		if r.EventType != shivx.EventHealthCheck {
			events = append(events, r.EventType)
		}
	}
	require.Equal(t, []string{shivx.EventDegradation, shivx.EventOverride, shivx.EventDegradation}, events)
	require.Equal(t, []shivx.LevelChange{ch, again, ended}, b.changes())
}

func TestOverrideIsIdempotentOverRestarts(t *testing.T) {
	b := newBench(t)
	b.steps(1, 0)
	ch := b.override("a", askFor(shivx.Level2, time.Hour))
	require.Equal(t, ch, b.override("a", askFor(shivx.Level2, time.Hour)))
	b.restart()
	require.Equal(t, ch, b.override("a", askFor(shivx.Level2, time.Hour)))
	end := b.override("b", shivx.OverrideRequest{End: true, By: "ann"})
	b.restart()
	require.Equal(t, end, b.override("b", shivx.OverrideRequest{End: true, By: "ann"}), "no error, though none is in force any more")
	require.Equal(t, ch, b.override("a", askFor(shivx.Level2, time.Hour)), "what was done stays done")
	require.Nil(t, b.core.Status().Override)
	require.Len(t, b.changes(), 2)
}

func TestOverrideEndsByItself(t *testing.T) {
	b := newBench(t)
	b.run()
	b.clock.beat()
	b.clock.idle()
	b.override("", askFor(shivx.Level1, 7*time.Second))
	changed := make(chan *Snapshot, 1)
	b.core.OnFeatures(func(s *Snapshot) { changed <- s })
	waited := []time.Duration{}
	for len(changed) == 0 {
		// The loop may still be waiting for the beat it asked for before the override.
		waited = append(waited, b.clock.beat())
		b.clock.idle()
	}
	require.Equal(t, shivx.LevelNormal, (<-changed).Level)
	require.Equal(t, 2*time.Second, waited[len(waited)-1], "it does not wait for the next sample")
	ch := b.changes()[1]
	require.Equal(t, shivx.CauseOverrideEnd, ch.Cause)
	require.Equal(t, "the override to LEVEL_1 by ann is over", ch.Reason)
}

func TestOverrideEndsWhileTheAgentIsAway(t *testing.T) {
	b := newBench(t)
	b.override("", askFor(shivx.Level1, time.Hour))
	b.restart()
	require.Equal(t, shivx.Level1, b.level())
	b.clock.pass(2 * time.Hour)
	b.restart()
	stop := b.run()
	b.clock.idle()
	require.Equal(t, shivx.LevelNormal, b.level())
	stop()
	require.Len(t, b.changes(), 2)
}

func TestClockThatJumpsDoesNotExtendAnOverride(t *testing.T) {
	b := newBench(t)
	b.override("", askFor(shivx.Level1, time.Hour))
	b.clock.jump(-24 * time.Hour)
	b.clock.pass(59 * time.Minute)
	b.core.endOverride(t.Context())
	require.Equal(t, shivx.Level1, b.level())
	b.restart() // it knows nothing of what passed, but still the length
	b.clock.pass(59 * time.Minute)
	b.core.endOverride(t.Context())
	require.Equal(t, shivx.Level1, b.level())
	b.clock.pass(time.Minute)
	b.core.endOverride(t.Context())
	require.Equal(t, shivx.LevelNormal, b.level())

	b.override("", askFor(shivx.Level1, time.Hour))
	b.clock.jump(2 * time.Hour)
	b.core.endOverride(t.Context())
	require.Equal(t, shivx.LevelNormal, b.level(), "its end is a time of day")
}

func TestOverrideRequestsAreChecked(t *testing.T) {
	b := newBench(t)
	bad := []shivx.OverrideRequest{
		{}, {By: "ann"}, {By: "ann", Level: "HIGH", Why: "x", For: 1},
		{By: "ann", Level: "level-1"}, {By: "ann", Level: "level-1", Why: "x"},
		{By: "ann", Level: shivx.Level1, Why: "x", For: shivx.Duration(shivx.MaxOverride + 1)},
		{By: "ann", Level: shivx.Level1, Why: strings.Repeat("x", maxText+1), For: 1},
		{By: "ann", Level: shivx.Level1, End: true},
	}
	for _, req := range bad {
		_, err := b.core.Override(t.Context(), "k", req)
		require.Error(t, err, "%+v", req)
	}
	_, err := b.core.Override(t.Context(), strings.Repeat("k", 501), askFor(shivx.Level1, time.Hour))
	require.Error(t, err)
	require.Empty(t, b.changes())
	require.Equal(t, shivx.Level1, b.override("k", askFor("level-1", time.Hour)).To)
}
