package health

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

const lease = 30 * time.Second

// program is a component that is watched by heartbeats and looked at every 10 s.
func program(failures int) config.Component {
	return config.Component{Name: "app", Failures: failures, Ladder: []config.Strategy{{Name: "restart"}}, Checks: []config.Check{
		{Every: 10 * time.Second, Heartbeat: &config.HeartbeatCheck{Lease: lease}}}}
}

// listening starts a monitor of the program in the bubble of a synctest, where time is the test's.
func listening(t *testing.T, failures int) (*Monitor, inbox) {
	t.Helper()
	in := newInbox()
	m := run(t, []config.Component{program(failures)}, Options{Report: in.report})
	synctest.Wait()
	return m, in
}

func (m *Monitor) heard(t *testing.T, failing string) {
	t.Helper()
	if err := m.Heartbeat("app", failing); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (m *Monitor) is(t *testing.T, want State, lastError string) {
	t.Helper()
	s := m.Status()[0]
	if s.State != want || s.Checks[0].LastError != lastError {
		t.Errorf("state %s, last error %q; want %s, %q", s.State, s.Checks[0].LastError, want, lastError)
	}
}

func TestHeartbeatHoldsForItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, in := listening(t, 1)
		for range 100 { // each just in time
			m.heard(t, "")
			m.is(t, StateHealthy, "")
			wait(lease - 1)
		}
		in.none(t)
		m.is(t, StateHealthy, "")
		last := time.Now().Add(-(lease - 1))
		wait(1) // at once, not at the next turn
		f := in.next(t)
		if f.Source != shivx.SourceHeartbeat || f.Signal != "heartbeat" || f.Resolved || f.ObservedAt.Sub(last) != lease ||
			f.Reason != "heartbeat: no heartbeat for 30s; the lease is 30s" {
			t.Errorf("%s after the last heartbeat: %+v", f.ObservedAt.Sub(last), f)
		}
		wait(1)
		m.heard(t, "")
		end := in.next(t)
		if !end.Resolved || end.ID != f.ID+"#resolved" || end.Source != shivx.SourceHeartbeat || !end.ObservedAt.Equal(time.Now()) {
			t.Errorf("the end of the fault: %+v", end)
		}
		m.is(t, StateHealthy, "no heartbeat for 30s; the lease is 30s")
	})
}

func TestMissedLeaseCountsLikeAnyFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, in := listening(t, 3)
		m.heard(t, "")
		wait(lease)
		m.is(t, StateFailing, "no heartbeat for 30s; the lease is 30s")
		wait(20*time.Second - 1)
		in.none(t)
		wait(1)
		if f := in.next(t); f.Reason != "heartbeat: no heartbeat for 50s; the lease is 30s, 3 times in a row" {
			t.Errorf("%+v", f)
		}
	})
}

// TestRestartOfTheAgentIsNoFault: the program has one whole lease for its first heartbeat.
func TestRestartOfTheAgentIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, in := listening(t, 1)
		wait(lease - 1)
		m.is(t, StateUnknown, "")
		r, err := m.Round(t.Context(), "app")
		if err != nil || r[0].Healthy {
			t.Errorf("what was not heard is no proof of health: %+v, %v", r, err)
		}
		in.none(t)
		m.is(t, StateUnknown, "")
		wait(1)
		if f := in.next(t); f.Reason != "heartbeat: no heartbeat in the 30s since the first is waited for; the lease is 30s" {
			t.Errorf("%+v", f)
		}
	})
}

func TestHeartbeatThatSaysFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, in := listening(t, 3)
		m.heard(t, "")
		m.heard(t, "the queue\n is   full")
		m.is(t, StateFailing, "the queue is full")
		for range 5 { // said again and again before the next turn: one failure
			m.heard(t, "the queue is still full")
		}
		if n := m.Status()[0].Checks[0].Failures; n != 1 {
			t.Errorf("%d failures", n)
		}
		wait(10 * time.Second)
		m.heard(t, "still full")
		wait(10 * time.Second)
		f := in.next(t)
		if f.Source != shivx.SourceHeartbeat || f.Reason != "heartbeat: still full, 3 times in a row" {
			t.Errorf("%+v", f)
		}
		m.heard(t, "")
		if end := in.next(t); !end.Resolved {
			t.Errorf("%+v", end)
		}
	})
}

func TestHeartbeatOfNobody(t *testing.T) {
	m := withFakes(t, Options{}, time.Hour, &fake{})
	for _, name := range []string{"app", "absent"} {
		if err := m.Heartbeat(name, ""); !errors.Is(err, ErrNoHeartbeatCheck) || shivx.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHeartbeatBeforeTheMonitorRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInbox()
		m, err := NewMonitor("host", []config.Component{program(1)}, Options{Report: in.report, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		m.heard(t, "")
		wait(20 * time.Second)
		start(t, m)
		synctest.Wait()
		m.is(t, StateHealthy, "")
		wait(10 * time.Second)
		if f := in.next(t); f.Reason != "heartbeat: no heartbeat for 30s; the lease is 30s" {
			t.Errorf("%+v", f)
		}
	})
}
