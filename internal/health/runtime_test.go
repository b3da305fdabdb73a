package health

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

func registered(name string, lease time.Duration, critical bool) config.Component {
	return config.Component{Name: name, Critical: critical, Failures: 1, Checks: []config.Check{
		{Every: 10 * time.Second, Heartbeat: &config.HeartbeatCheck{Lease: lease}}}}
}

func (m *Monitor) add(t *testing.T, c config.Component) {
	t.Helper()
	if err := m.Add(c); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func TestComponentsComeAndGoAtRunTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInbox()
		m := run(t, []config.Component{{Name: "bare"}}, Options{Report: in.report})
		synctest.Wait()
		if err := m.Add(registered("bare", lease, false)); err == nil {
			t.Error("a configured component was replaced")
		}
		m.add(t, registered("one", lease, false))
		m.add(t, registered("two", time.Minute, false))
		wait(lease)
		f := in.next(t)
		if f.Component != "one" || f.Severity != shivx.SeverityError {
			t.Errorf("%+v", f)
		}
		m.add(t, registered("one", lease, true)) // it keeps its fault
		if s := m.Status()[1]; s.Fault != f.ID {
			t.Errorf("the fault was lost: %+v", s)
		}
		if !m.Remove(t.Context(), "one") || m.Remove(t.Context(), "one") || m.Remove(t.Context(), "bare") {
			t.Error("what was added can be removed, once, and nothing else")
		}
		if end := in.next(t); !end.Resolved || end.ID != f.ID+"#resolved" || end.Reason != "heartbeat: it was removed and is not watched any more" {
			t.Errorf("the end of the fault: %+v", end)
		}
		m.add(t, registered("one", lease, true))
		wait(lease) // two's minute is over at the same time
		got := map[string]shivx.Severity{}
		for range 2 {
			f := in.next(t)
			got[f.Component] = f.Severity
		}
		if got["one"] != shivx.SeverityCritical || got["two"] != shivx.SeverityError {
			t.Errorf("findings %v", got)
		}
		if _, err := m.Round(t.Context(), "two"); err != nil {
			t.Error(err)
		}
		in.none(t)
	})
}

func TestLeaseChangesWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInbox()
		m := run(t, nil, Options{Report: in.report})
		synctest.Wait()
		m.add(t, registered("app", lease, false))
		m.heard(t, "")
		wait(20 * time.Second)
		m.add(t, registered("app", time.Minute, false))
		wait(40*time.Second - 1)
		in.none(t)
		m.heard(t, "")
		wait(10 * time.Second)
		m.add(t, registered("app", 5*time.Second, false)) // over already
		if f := in.next(t); f.Reason != "heartbeat: no heartbeat for 10s; the lease is 5s" {
			t.Errorf("%+v", f)
		}
	})
}

// TestRemovedLeavesNothingBehind: the goroutine of a removed component ends before the monitor does.
func TestRemovedLeavesNothingBehind(t *testing.T) {
	m := run(t, nil, Options{})
	await(t, "the monitor", func() bool { return m.Pulse().After(m.epoch) })
	before := runtime.NumGoroutine()
	for i := range 50 {
		if err := m.Add(registered(strconv.Itoa(i), lease, false)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the checks", func() bool { return runtime.NumGoroutine() >= before+50 })
	for i := range 50 {
		m.Remove(t.Context(), strconv.Itoa(i))
	}
	await(t, "the end of the checks", func() bool { return runtime.NumGoroutine() <= before })
	if n := len(m.Status()); n != 0 {
		t.Errorf("%d components are left", n)
	}
}

// TestComingAndGoingInAHurry is for the race detector.
func TestComingAndGoingInAHurry(t *testing.T) {
	m := run(t, []config.Component{program(1)}, Options{})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			name := strconv.Itoa(i % 4)
			for range 200 {
				_ = m.Add(registered(name, time.Millisecond, i%2 == 0))
				_ = m.Heartbeat(name, "") // it may have been removed meanwhile
				_ = m.Heartbeat("app", "failing")
				_ = m.Status()
				_, _ = m.Round(t.Context(), name)
				m.Remove(t.Context(), name)
			}
		})
	}
	all.Wait()
}

// TestPulseGoesOnWhileAReportHangs: one component that is held up is no reason to restart the agent.
func TestPulseGoesOnWhileAReportHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs, release := make(chan struct{}), make(chan struct{})
		m := run(t, []config.Component{program(1)}, Options{Report: func(context.Context, shivx.Finding) { close(hangs); <-release }})
		<-hangs
		began := time.Now()
		wait(time.Minute)
		if got := time.Since(m.Pulse()); got > pulseEvery {
			t.Errorf("%s after the report began to hang the last pulse is %s old", time.Since(began), got)
		}
		close(release)
	})
}

// TestPulseStopsWithTheMonitor: a lock that is never given back stops it.
func TestPulseStopsWithTheMonitor(t *testing.T) {
	m := run(t, []config.Component{program(1)}, Options{})
	await(t, "a pulse", func() bool { return m.Pulse().After(m.epoch) })
	c := m.find("app")
	c.mu.Lock()
	defer c.mu.Unlock()
	await(t, "the end of the pulse", func() bool { return time.Since(m.Pulse()) > 2*pulseEvery })
}

// TestPeopleAreRemindedLessOften: without a ladder each finding calls people.
func TestPeopleAreRemindedLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInbox()
		run(t, []config.Component{program(1), registered("module", lease, false)}, Options{Report: in.report})
		wait(lease + 2*time.Hour)
		count := map[string]int{}
		for len(in.findings) > 0 {
			count[(<-in.findings).Component]++
		}
		if count["module"] != 1+4 || count["app"] < 100 {
			t.Errorf("findings in two hours: %v", count)
		}
	})
}

// TestRoundThatPassesEndsAFailureThatWasNoFault: it is not shown until the check's next turn.
func TestRoundThatPassesEndsAFailureThatWasNoFault(t *testing.T) {
	a, b := &fake{}, &fake{}
	a.broken.Store(true)
	m := withFakes(t, Options{}, time.Hour, a, b)
	start(t, m)
	await(t, "a failure", func() bool {
		return m.Status()[0].Checks[0].State == StateFailing && m.Status()[0].Checks[1].Last != nil
	})
	if _, err := m.Round(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	if n := m.Status()[0].Checks[0].Failures; n != 1 {
		t.Errorf("a round that failed was counted: %d failures", n)
	}
	a.broken.Store(false)
	if _, err := m.Round(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	await(t, "health", func() bool { return m.Status()[0].State == StateHealthy })
	if n := b.runs.Load(); n != 3 {
		t.Errorf("a check that was known to pass ran %d times, not once by itself and once in each round", n)
	}
}
