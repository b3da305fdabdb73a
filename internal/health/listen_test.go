package health

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// drain counts the findings so far.
func (i inbox) drain() (faults, ends int) {
	for len(i.findings) > 0 {
		if (<-i.findings).Resolved {
			ends++
		} else {
			faults++
		}
	}
	return faults, ends
}

// TestFlappingIsBounded: a program that alternates as fast as it can makes at most a fault and its
// end in each interval of the check, with the ends of the time it lasts.
func TestFlappingIsBounded(t *testing.T) {
	const every, lasts = 10 * time.Second, 2 * time.Minute
	for name, flap := range map[string]func(t *testing.T, m *Monitor){
		"says failing and ok": func(t *testing.T, m *Monitor) {
			m.heard(t, "failing")
			wait(10 * time.Millisecond)
			m.heard(t, "")
			wait(10 * time.Millisecond)
		},
		"misses its lease each time": func(t *testing.T, m *Monitor) {
			wait(time.Second)
			wait(time.Millisecond)
			m.heard(t, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := newInbox()
				m := run(t, []config.Component{registered("app", time.Second, true)}, Options{Report: in.report})
				synctest.Wait()
				m.heard(t, "")
				began := time.Now()
				flap(t, m)
				if faults, ends := in.drain(); faults != 1 || ends != 1 {
					t.Errorf("the first fault and its end are told at once: %d, %d", faults, ends)
				}
				for time.Since(began) < lasts {
					flap(t, m)
				}
				const most = int(lasts/every) + 1
				faults, ends := in.drain()
				if faults > most || ends > most || faults < 2 {
					t.Errorf("%d faults and %d ends in %s; at most %d of each", faults, ends, lasts, most)
				}
				for range 100 { // it has come to rest
					m.heard(t, "")
					wait(500 * time.Millisecond)
				}
				m.is(t, StateHealthy, m.Status()[0].Checks[0].LastError)
				if more, last := in.drain(); faults+more != ends+last {
					t.Errorf("%d faults and %d ends", faults+more, ends+last)
				}
			})
		})
	}
}

// TestBadNewsNeverWaits: what a program says to be wrong is a fault at once, however often it was.
func TestBadNewsNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, in := listening(t, 1)
		for range 5 {
			m.heard(t, "no licence")
			if f := in.next(t); f.Resolved || !f.ObservedAt.Equal(time.Now()) {
				t.Errorf("%+v", f)
			}
			wait(time.Millisecond)
			m.heard(t, "")
			if wait(11 * time.Second); !in.next(t).Resolved {
				t.Error("the fault does not end")
			}
		}
		m.heard(t, "no licence")
		in.next(t)
		wait(time.Millisecond)
		m.heard(t, "")
		wait(9 * time.Second)
		in.drain()
		again := time.Now()
		m.heard(t, "no licence")
		m.is(t, StateFailing, "no licence")
		if f := m.Status()[0].Fault; f == "" {
			t.Errorf("no fault at %s", again)
		}
	})
}

// TestPauseOfTheAgentIsNoFault: a lease goes on where it was when the agent stopped.
func TestPauseOfTheAgentIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, in := listening(t, 1)
		m.heard(t, "")
		wait(20 * time.Second)
		clock := m.o.running
		clock.mu.Lock()
		clock.timer.Stop() // as in a process that is stopped
		clock.mu.Unlock()
		wait(time.Hour)
		in.none(t)
		clock.look() // it goes on
		wait(10*time.Second - runStep - 1)
		in.none(t)
		m.is(t, StateHealthy, "")
		wait(1)
		if f := in.next(t); f.Source != shivx.SourceHeartbeat || f.Resolved {
			t.Errorf("%+v", f)
		}
		if d := m.Missing("app"); d != 0 {
			t.Errorf("missing for %s", d)
		}
		wait(time.Hour)
		if d := m.Missing("app"); d != time.Hour {
			t.Errorf("missing for %s, not an hour", d)
		}
		m.heard(t, "")
		if m.Missing("app") != 0 || m.Missing("absent") != 0 {
			t.Error("a lease that holds is missing")
		}
	})
}

// TestRoundCountsOnlyHeartbeatsAfterTheFailure: what was said before a restart is no proof that it helped.
func TestRoundCountsOnlyHeartbeatsAfterTheFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := &fake{}
		c := program(1)
		c.Checks = append(c.Checks, config.Check{Name: "port", Every: time.Second, TCP: &config.TCPCheck{Address: "127.0.0.1:1"}})
		in := newInbox()
		m, err := NewMonitor("host", []config.Component{c}, Options{Report: in.report, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		m.components[0].checks[1].probe.inner = port
		start(t, m)
		round := func() Result {
			r, err := m.Round(t.Context(), "app")
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return r[0]
		}
		m.heard(t, "")
		wait(5 * time.Second)
		if r := round(); !r.Healthy {
			t.Errorf("without a fault each heartbeat counts: %+v", r)
		}
		port.broken.Store(true)
		wait(5 * time.Second)
		in.next(t)
		port.broken.Store(false) // it was restarted just now, and has not said anything yet
		if r := round(); r.Healthy || r.Error == "" {
			t.Errorf("a heartbeat from before the restart counts: %+v", r)
		}
		wait(time.Millisecond)
		m.heard(t, "")
		if r := round(); !r.Healthy {
			t.Errorf("%+v", r)
		}
	})
}
