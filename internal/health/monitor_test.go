package health

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

func TestMonitorFindsAndResolves(t *testing.T) {
	in, a, b := newInbox(), &fake{}, &fake{}
	m := withFakes(t, Options{Report: in.report}, 5*time.Millisecond, a, b)
	start(t, m)
	await(t, "health", func() bool { return m.Status()[0].State == StateHealthy })
	a.broken.Store(true)
	f := in.next(t)
	if f.Source != shivx.SourceHealthCheck || f.Signal != "a" || f.String() != "app@host" ||
		f.Reason != "a: broken, 3 times in a row" || f.Severity != shivx.SeverityError || f.Resolved || !strings.HasPrefix(f.ID, "host/app/a/") {
		t.Errorf("finding %+v", f)
	}
	s := m.Status()[0]
	if s.State != StateFailing || s.Fault != f.ID || s.Checks[0].Failures < 3 || s.Checks[0].LastError != "broken" || s.Checks[1].State != StateHealthy {
		t.Errorf("status %+v", s)
	}
	a.broken.Store(false)
	end := in.next(t)
	if !end.Resolved || end.ID != f.ID+"#resolved" || end.Signal != "a" {
		t.Errorf("end %+v", end)
	}
	if s := m.Status()[0]; s.State != StateHealthy || s.Fault != "" || s.Checks[0].LastError != "broken" {
		t.Errorf("status %+v", s)
	}
	in.none(t)
}

func TestMonitorReminds(t *testing.T) {
	in, a := newInbox(), &fake{}
	a.broken.Store(true)
	start(t, withFakes(t, Options{Report: in.report, Remind: 20 * time.Millisecond}, 2*time.Millisecond, a))
	first, second, third := in.next(t), in.next(t), in.next(t)
	if second.ID != first.ID+"#2" || third.ID != first.ID+"#3" {
		t.Errorf("IDs %s, %s, %s", first.ID, second.ID, third.ID)
	}
	if gap := third.ObservedAt.Sub(second.ObservedAt); gap < 20*time.Millisecond {
		t.Errorf("reminded after %s", gap)
	}
}

// TestReportMayAskTheMonitor: the agent looks at the status, or checks again, before it records a finding.
func TestReportMayAskTheMonitor(t *testing.T) {
	a := &fake{}
	a.broken.Store(true)
	asked := make(chan []Result, 10)
	var m *Monitor
	m = withFakes(t, Options{Report: func(ctx context.Context, _ shivx.Finding) {
		_ = m.Status()
		results, _ := m.Round(ctx, "app")
		asked <- results
	}}, 2*time.Millisecond, a, &fake{})
	start(t, m)
	select {
	case r := <-asked:
		if len(r) != 2 || r[0].Healthy || !r[1].Healthy {
			t.Errorf("results %+v", r)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Report hangs")
	}
}

func TestChecksDoNotOverlapAndKeepTheirPace(t *testing.T) {
	slow, quick := &fake{takes: 20 * time.Millisecond}, &fake{}
	start(t, withFakes(t, Options{}, 5*time.Millisecond, slow, quick))
	await(t, "runs", func() bool { return slow.runs.Load() > 10 && quick.runs.Load() > 10 })
	if slow.overlap.Load() {
		t.Error("a slow check overlaps with itself")
	}
}

// TestFaultyComponentsAreLookedAtSooner: an hour's interval does not delay the end of a fault.
func TestFaultyComponentsAreLookedAtSooner(t *testing.T) {
	in, a, b := newInbox(), &fake{}, &fake{}
	m := withFakes(t, Options{Report: in.report}, time.Hour, a, b)
	m.components[0].det.failures = 1
	a.broken.Store(true)
	start(t, m)
	first := in.next(t)
	a.broken.Store(false)
	if _, err := m.Round(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	end := in.next(t)
	if !end.Resolved || end.ID != first.ID+"#resolved" {
		t.Errorf("end %+v", end)
	}
	t.Logf("resolved %s after the round", time.Since(began))
}

func TestRound(t *testing.T) {
	slow := []*fake{{takes: 100 * time.Millisecond}, {takes: 100 * time.Millisecond}, {takes: 100 * time.Millisecond}, {}}
	slow[1].broken.Store(true)
	m := withFakes(t, Options{}, time.Hour, slow...)
	began := time.Now()
	results, err := m.Round(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 250*time.Millisecond {
		t.Errorf("three checks of 100 ms took %s: not in parallel", took)
	}
	for i, r := range results {
		if r.Check != string(rune('a'+i)) || r.Healthy != (i != 1) || (r.Error == "broken") != (i == 1) || r.At.Before(began) || (i < 3 && r.Took < 100*time.Millisecond) {
			t.Errorf("result %d: %+v", i, r)
		}
	}
	if m.Status()[0].State != StateUnknown {
		t.Error("a round has changed the status")
	}
	m.components[0].checks[0].probe.timeout = 10 * time.Millisecond
	if results, _ = m.Round(t.Context(), "app"); results[0].Error != "no answer within 10ms" {
		t.Errorf("a late check: %+v", results[0])
	}
}

func TestRoundWithoutSamplesIsAFailure(t *testing.T) {
	m, err := NewMonitor("host", []config.Component{{Name: "bare"}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bare", "absent"} {
		if r, err := m.Round(t.Context(), name); err == nil || shivx.HintOf(err) == "" {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := withFakes(t, Options{}, time.Hour, &fake{}).Round(ctx, "app"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v, %v", r, err)
	}
}

func TestNewMonitorTellsAllThatIsWrong(t *testing.T) {
	tcp := config.Check{TCP: &config.TCPCheck{Address: "127.0.0.1:1"}}
	_, err := NewMonitor("host", []config.Component{
		{Name: "a", Checks: []config.Check{tcp, tcp}}, {Name: "b", Checks: []config.Check{{}}}, {Name: "c"}, {Name: "c"},
	}, Options{})
	want := "component a: two checks are named \"tcp\"\ncomponent b: check \"\" has no kind\ncomponent c is there twice"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestRunLeavesNothingBehind counts goroutines and descriptors; a check hangs when Run is to end.
func TestRunLeavesNothingBehind(t *testing.T) {
	goroutines, descriptors := runtime.NumGoroutine(), openFiles(t)
	m := withFakes(t, Options{}, time.Millisecond, &fake{}, &fake{takes: time.Hour})
	own := config.Check{Process: &config.ProcessCheck{Name: comm(t)}}
	watched, err := newComponent("host", config.Component{Name: "self", Checks: []config.Check{own}}, m.o)
	if err != nil {
		t.Fatal(err)
	}
	m.components = append(m.components, watched)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := m.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	await(t, "checks", func() bool { return m.Status()[1].State == StateHealthy && m.Status()[0].Checks[0].Last != nil })
	if err := m.Run(ctx); err == nil {
		t.Error("Run runs twice")
	}
	cancel()
	wg.Wait()
	await(t, "the end of all goroutines", func() bool { return runtime.NumGoroutine() <= goroutines })
	await(t, "the end of all descriptors", func() bool { return openFiles(t) <= descriptors })
}

func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func comm(t testing.TB) string {
	t.Helper()
	s, err := readStat(defaultProc, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return s.comm
}

func TestStatusAsJSON(t *testing.T) {
	m := withFakes(t, Options{}, time.Hour, &fake{})
	unknown, err := json.Marshal(m.Status())
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"component":"app","state":"unknown","checks":[{"name":"a","kind":"tcp","state":"unknown","failures":0}]}]`
	if string(unknown) != want {
		t.Errorf("JSON %s, want %s", unknown, want)
	}
}
