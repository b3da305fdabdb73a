package forecast

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// TestAnomaliesThatAnnounceFailures: on this host the queue is strange before the shop fails, and the fan is strange at all times.
func TestAnomaliesThatAnnounceFailures(t *testing.T) {
	horizons := map[string]time.Duration{"shop": time.Hour}
	p := newPrecursors()
	at := func(hours float64) time.Time { return begin.Add(time.Duration(hours * float64(time.Hour))) }
	for day := range 10 {
		h := float64(24 * day)
		p.alarm(alarm{"queue", "level", at(h + 10)})
		if day < 8 {
			p.failed("shop", at(h+10.5))
		}
		p.alarm(alarm{"fan", "spike", at(h + 10)})
		for i := range 5 {
			p.alarm(alarm{"fan", "spike", at(h + 12 + float64(i))})
		}
		p.learn(at(h+24), horizons)
		p.learn(at(h+24), horizons) // once more counts nothing twice
	}
	require.ElementsMatch(t, []evidence{{"queue", "level", 8, 2}, {"fan", "spike", 8, 52}}, p.Counted["shop"])
	require.Zero(t, p.announces("shop", time.Hour, at(250)), "nothing is strange")
	p.alarm(alarm{"fan", "spike", at(250)})
	require.Zero(t, p.announces("shop", time.Hour, at(250.1)), "what is strange at all times announces nothing")
	p.alarm(alarm{"queue", "level", at(250)})
	a := p.announces("shop", time.Hour, at(250.1))
	require.Equal(t, "queue", a.alarm.Series)
	require.InDelta(t, 8.5/15, a.share, 1e-9)
	require.Zero(t, p.announces("shop", time.Hour, at(251.1)), "it was long ago")
	require.Zero(t, p.announces("disk", time.Hour, at(250.1)), "of another subsystem")

	before := p.Counted["shop"][0]
	p.Alarms = append(p.Alarms, alarm{"queue", "level", at(10)}) // the past is read again after a restart
	p.learn(at(250.2), horizons)
	require.Equal(t, before, p.Counted["shop"][0])
}

func TestPrecursorsAreBounded(t *testing.T) {
	p := newPrecursors()
	for i := range 3 * mostAlarms {
		p.alarm(alarm{"a", "level", begin.Add(time.Duration(i) * time.Second)})
		if i < 3*mostFailures {
			p.failed("shop", begin.Add(time.Duration(i)*time.Second))
		}
	}
	require.Len(t, p.Alarms, mostAlarms)
	require.Len(t, p.Failures, mostFailures)
	p.learn(begin.Add(100*24*time.Hour), map[string]time.Duration{"shop": time.Hour})
	require.Empty(t, p.Alarms)
	require.Empty(t, p.Failures)
}

// TestAnnouncedFailureRaisesTheRisk: faults of the ledger are the labels, and the probability is raised by what was learned of them.
func TestAnnouncedFailureRaisesTheRisk(t *testing.T) {
	shop := sharesOf("shop", "")
	shop.Series = []config.SubsystemSeries{{Component: "web", What: "memory", Limit: 1}}
	s := newStand(t)
	s.o.Components = []config.Component{{Name: "web", Checks: []config.Check{{Process: &config.ProcessCheck{Name: "web"}}}}}
	s.o.Rules.Subsystems = []config.Subsystem{shop}
	s.start()
	for day := range 6 {
		at := begin.AddDate(0, 0, day)
		s.engine.precursors.alarm(alarm{"queue", "level", at.Add(time.Hour)})
		_, err := s.ledger.Append(t.Context(), "", shivx.RecoveryRecord{EventType: shivx.EventFault, Component: "web", Timestamp: at.Add(2 * time.Hour)})
		require.NoError(t, err)
		for _, r := range s.all()[day:] {
			s.engine.learnOf(r)
		}
		s.engine.precursors.learn(at.Add(23*time.Hour), s.engine.horizons())
	}
	sub := s.engine.subsystems[0]
	tr, err := newTracker(shop, "web memory", "web")
	require.NoError(t, err)
	sub.series["web memory"], sub.order = tr, []string{"web memory"}
	now := begin.AddDate(0, 0, 6)
	for at := now.Add(-12 * time.Hour); at.Before(now); at = at.Add(time.Minute) {
		tr.take(Point{At: at, Value: 0.3 + 0.001*float64(at.Minute()%7)}, shop.Step, s.engine.over(sub))
	}
	s.engine.predictAll(now)
	require.Less(t, tr.prediction.Probability, 0.05)
	require.False(t, tr.prediction.Alert)
	s.engine.precursors.alarm(alarm{"queue", "level", now})
	now = now.Add(time.Minute)
	s.engine.predictAll(now)
	require.Greater(t, tr.prediction.Probability, 0.5)
	require.Less(t, tr.prediction.Raw, 0.05)
	require.Equal(t, "queue", tr.prediction.Precursors[0].Series)
	require.Equal(t, "anomaly: level", tr.prediction.Precursors[0].Feature)
	require.Positive(t, tr.prediction.Precursors[0].Weight)
	require.True(t, tr.prediction.Alert, "it was followed by a failure each time")

	for range 200 { // it fails all day long: an anomaly says nothing
		sub.learn.Observe(0.5, true, now)
	}
	s.engine.predict(sub, tr, now)
	require.InDelta(t, sub.learn.Apply(tr.prediction.Raw), tr.prediction.Probability, 1e-9)
	require.NotEqual(t, "queue", tr.prediction.Precursors[0].Series)
}

// TestFaultsOfThePast are in the ledger when the engine begins; nothing is learned before they were read.
func TestFaultsOfThePast(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	_, err := s.ledger.Append(t.Context(), "", shivx.RecoveryRecord{EventType: shivx.EventFault, Component: "web", Timestamp: begin})
	require.NoError(t, err)
	s.start()
	s.look()
	require.Empty(t, s.engine.precursors.Learned)
	for _, r := range s.all() {
		s.engine.learnOf(r)
	}
	s.now = s.now.Add(time.Minute)
	s.look()
	require.Contains(t, s.engine.precursors.Learned, "disk")
}

// TestAlarmsOfManySeries: a storm of alarms does not make a look slow.
func TestAlarmsOfManySeries(t *testing.T) {
	s := newStand(t, sharesOf("disk", "used_ratio"))
	sub, p := s.engine.subsystems[0], &s.engine.precursors
	for i := range mostAlarms {
		p.Alarms = append(p.Alarms, alarm{fmt.Sprint("used_ratio of a file system ", i), "level", begin})
	}
	for i := range mostCounted {
		p.Counted["disk"] = append(p.Counted["disk"], evidence{fmt.Sprint("used_ratio of a file system ", i), "level", 20, 1})
	}
	for i := range 5000 {
		name := fmt.Sprint(i)
		tr, err := newTracker(sub.Subsystem, name, "")
		require.NoError(t, err)
		tr.newest, tr.asked, tr.forecast.Ready = begin, floor(begin, sub.Step).UnixNano(), true
		sub.series[name], sub.order = tr, append(sub.order, name)
	}
	started := time.Now()
	s.engine.predictAll(begin)
	require.Less(t, time.Since(started), 2*time.Second)
	require.Greater(t, sub.series["7"].prediction.Probability, 0.5, "each is raised")
}

// TestLearningAfterAWrongClock goes on when the clock is right again.
func TestLearningAfterAWrongClock(t *testing.T) {
	p, horizons := newPrecursors(), map[string]time.Duration{"shop": time.Hour}
	p.alarm(alarm{"queue", "level", begin.AddDate(10, 0, 0)})
	p.failed("shop", begin.AddDate(10, 0, 0))
	p.learn(begin.AddDate(10, 0, 1), horizons)
	p.alarm(alarm{"queue", "level", begin.AddDate(10, 0, 0)})
	p.learn(begin, horizons)
	require.Empty(t, p.Alarms, "of a time to come")
	p.alarm(alarm{"queue", "level", begin.Add(time.Hour)})
	p.failed("shop", begin.Add(90*time.Minute))
	p.learn(begin.Add(3*time.Hour), horizons)
	require.Equal(t, []evidence{{"queue", "level", 1, 0}}, p.Counted["shop"])

	s, tr := ofModel(t, "exhaustion")
	said(s, tr, begin.AddDate(10, 0, 0), 0.5)
	s.acted = begin.AddDate(10, 0, 0)
	tr.pending = nil
	said(s, tr, begin, 0.5)
	require.Len(t, tr.pending, 1)
}
