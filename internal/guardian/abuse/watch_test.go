package abuse

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

var reports = config.Budget{Name: "reports", Process: "/opt/shop/*", CPU: 50, For: 10 * time.Second, Action: "freeze"}

func TestOneProcessIsFrozenAndLetGo(t *testing.T) {
	f := newFixture(t)
	hot := fake{pid: 10, start: 100, comm: "report (x)", exe: "/opt/shop/report"}
	cold := fake{pid: 11, start: 101, comm: "report", exe: "/opt/shop/report"}
	f.process(cold)
	dir := t.TempDir()
	w := f.watch(dir, reports)
	run := func(i int) { hot.cpu += 90; f.process(hot) }

	found := w.seconds(30, run)
	require.Len(t, found, 1)
	got := found[0]
	assert.Equal(t, "process:10(report ?x?)", got.Source)
	assert.Equal(t, shivx.ThreatCPU, got.Type)
	assert.Equal(t, shivx.ThreatHigh, got.Level)
	assert.Equal(t, shivx.ActionFrozen, got.Action)
	assert.Equal(t, got.Source, got.Undo)
	assert.Empty(t, got.Err)
	assert.Equal(t, `process:10(report ?x?): 90 % of a core for 10s; the budget "reports" allows 50 %`, got.Reason)
	assert.Equal(t, "reports", got.Evidence["budget"])
	assert.Equal(t, []sent{{identity{10, 100}, unix.SIGSTOP}}, w.hands.sent)

	hot.state = "T" // it stands still, and is not frozen twice, also not by the next agent
	f.process(hot)
	assert.Empty(t, w.seconds(30, func(int) {}))
	again := f.watch(dir, reports)
	assert.Empty(t, again.seconds(30, func(int) {}))
	require.Len(t, again.Status().Contained, 1)

	require.NoError(t, again.Release(t.Context(), "process:10"))
	assert.Equal(t, []sent{{identity{10, 100}, unix.SIGCONT}}, again.hands.sent)
	assert.Empty(t, again.Status().Contained)
	err := again.Release(t.Context(), "process:10")
	require.ErrorIs(t, err, ErrNotContained)
	assert.NotEmpty(t, shivx.HintOf(err))

	hot.state = "R"
	found = again.seconds(30, run)
	require.Len(t, found, 1, "it is judged from the beginning")
	assert.Equal(t, shivx.ActionFrozen, found[0].Action)
}

// TestBootEndsAll: after a restart of the machine nothing of the list is left, and its numbers are
// those of others.
func TestBootEndsAll(t *testing.T) {
	f := newFixture(t)
	hot := fake{pid: 10, start: 100, comm: "report", exe: "/opt/shop/report"}
	dir := t.TempDir()
	w := f.watch(dir, reports)
	require.NotEmpty(t, w.seconds(30, func(int) { hot.cpu += 90; f.process(hot) }))
	f.write("proc/sys/kernel/random/boot_id", "second-boot\n")
	assert.Empty(t, f.watch(dir, reports).Status().Contained)
}

func TestDamagedListIsSetAside(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, keptFile), []byte(`{"version":1,"cont`), 0o600))
	assert.Empty(t, f.watch(dir, reports).Status().Contained)
	assert.FileExists(t, filepath.Join(dir, keptFile+".damaged"))
}

// TestInterruptedFreezeIsCompleted: the agent ended while it stopped a bomb's processes.
func TestInterruptedFreezeIsCompleted(t *testing.T) {
	f := newFixture(t)
	crowd := config.Budget{Name: "crowd", Process: "/opt/shop/*", Processes: 5, For: 10 * time.Second, Action: "freeze"}
	dir := t.TempDir()
	first := f.watch(dir, crowd)
	require.NoError(t, first.kept.put(Contained{Source: "process:10(x)", Budget: "crowd", Action: shivx.ActionFrozen, Begun: true}))
	for pid := 10; pid < 13; pid++ {
		f.process(fake{pid: pid, start: 100, comm: "x", exe: "/opt/shop/x", state: "T"})
	}
	f.process(fake{pid: 13, start: 100, comm: "other", exe: "/bin/other", state: "T"})
	w := f.watch(dir, crowd)
	w.second()
	require.Len(t, w.Status().Contained, 1)
	assert.ElementsMatch(t, []identity{{10, 100}, {11, 100}, {12, 100}}, w.Status().Contained[0].Processes)
	assert.False(t, w.Status().Contained[0].Begun)

	for pid := 10; pid < 13; pid++ {
		f.end(pid)
	}
	for range prune {
		w.second()
	}
	assert.Empty(t, w.Status().Contained, "what has ended is taken off the list")
}

// TestComingBackIsBounded: something starts a process again and again that is killed each time.
func TestComingBackIsBounded(t *testing.T) {
	f := newFixture(t)
	kill := reports
	kill.Action = "kill"
	w := f.watch(t.TempDir(), kill)
	killed, told := 0, []time.Duration{}
	began := w.now
	p := fake{pid: 100, start: 1000, comm: "report", exe: "/opt/shop/report"}
	w.step = 5 * time.Second
	for w.now.Sub(began) < 55*time.Minute {
		p.cpu += 500
		f.process(p)
		for _, found := range w.second() {
			switch found.Action {
			case shivx.ActionKilled:
				killed++
				assert.Equal(t, killed, found.Evidence["actions_within_hour"])
				assert.Equal(t, sent{p.identity(), unix.SIGKILL}, w.hands.sent[len(w.hands.sent)-1])
			default: // it ends and comes back all the same
				f.end(p.pid)
				assert.Equal(t, shivx.ActionNone, found.Action)
				assert.Contains(t, found.Err, "6 times within the hour")
				told = append(told, w.now.Sub(began).Round(time.Minute))
				assert.Equal(t, len(told), found.Evidence["told"])
			}
			p.pid, p.start, p.cpu = p.pid+1, p.start+10, 0
		}
	}
	assert.Equal(t, maxActions, killed)
	assert.Equal(t, []time.Duration{2 * time.Minute, 3 * time.Minute, 5 * time.Minute, 9 * time.Minute, 17 * time.Minute, 33 * time.Minute}, told)
}

func (p fake) identity() identity { return identity{p.pid, p.start} }

func TestAlertsAreToldMoreAndMoreRarely(t *testing.T) {
	f := newFixture(t)
	alert := reports
	alert.Action = "alert"
	w := f.watch("", alert)
	p := fake{pid: 10, start: 100, comm: "report", exe: "/opt/shop/report"}
	count := 0
	w.step = 10 * time.Second
	for range 4 * 360 {
		p.cpu += 1000
		f.process(p)
		for _, found := range w.second() {
			count++
			assert.Equal(t, shivx.ActionNone, found.Action)
			assert.Empty(t, found.Err)
		}
	}
	assert.Equal(t, 9, count, "1, 2, 4, … 32 minutes, then hourly")
	assert.Empty(t, w.hands.sent)
}

func TestFailureIsToldAndTriedAgain(t *testing.T) {
	f := newFixture(t)
	w := f.watch(t.TempDir(), reports)
	w.hands.err = shivx.Hint(errors.New("not permitted"), "run as root")
	p := fake{pid: 10, start: 100, comm: "report", exe: "/opt/shop/report"}
	run := func(int) { p.cpu += 90; f.process(p) }
	found := w.seconds(30, run)
	require.Len(t, found, 1)
	assert.Equal(t, shivx.ActionFailed, found[0].Action)
	assert.Equal(t, "not permitted (run as root)", found[0].Err)
	assert.Empty(t, found[0].Undo)
	assert.Empty(t, w.Status().Contained)
	assert.Empty(t, w.seconds(4, run))
	w.hands.err = nil
	found = w.seconds(10, run)
	require.Len(t, found, 1)
	assert.Equal(t, shivx.ActionFrozen, found[0].Action)
}

// TestTheAgentIsSpared: alone it is refused; in a crowd it is left out.
func TestTheAgentIsSpared(t *testing.T) {
	f := newFixture(t)
	w := f.watch(t.TempDir(), reports)
	w.hands.safe[10] = true
	p := fake{pid: 10, start: 100, comm: "agent", exe: "/opt/shop/agent"}
	found := w.seconds(30, func(int) { p.cpu += 90; f.process(p) })
	require.Len(t, found, 1)
	assert.Equal(t, shivx.ActionFailed, found[0].Action)
	assert.Contains(t, found[0].Err, "the agent itself")
	assert.Empty(t, w.hands.sent)

	w = f.watch(t.TempDir(), config.Budget{Name: "crowd", Process: "/opt/shop/*", Processes: 5, For: 10 * time.Second, Action: "kill"})
	w.hands.safe[10] = true
	found = w.seconds(3, func(i int) {
		for pid := 20; i == 1 && pid < 40; pid++ {
			f.process(fake{pid: pid, start: 200, comm: "x", exe: "/opt/shop/x"})
		}
	})
	require.Len(t, found, 1)
	assert.Equal(t, "process:10(agent)", found[0].Source)
	assert.Equal(t, shivx.ThreatFork, found[0].Type)
	assert.Equal(t, shivx.ThreatCritical, found[0].Level)
	assert.Equal(t, shivx.ActionKilled, found[0].Action)
	require.Len(t, w.hands.sent, 40)
	for i, s := range w.hands.sent {
		assert.NotEqual(t, 10, s.id.PID)
		assert.Equal(t, i >= 20, s.sig == unix.SIGKILL, "all are stopped before the first is ended")
	}
}

// TestAccountSharesItsBudget: no process of it is beyond the budget by itself; time that passes to a
// parent is not counted twice; shared memory is counted once.
func TestAccountSharesItsBudget(t *testing.T) {
	f := newFixture(t)
	guests := config.Budget{Name: "guests", User: "64001", CPU: 150, MemoryMB: 100, For: 10 * time.Second, Action: "limit"}
	w := f.watch(t.TempDir(), guests)
	parent := fake{pid: 9, start: 1, comm: "sh", exe: "/bin/sh", uid: 64001, shared: 20000, memory: 20010}
	child := fake{pid: 10, start: 100, parent: 9, comm: "sh", exe: "/bin/sh", uid: 64001, shared: 20000, memory: 20010}
	late := 0
	assert.Empty(t, w.seconds(60, func(i int) {
		f.end(child.pid)
		if i%2 == 0 { // the parent waits at once, or a round later
			parent.waited += child.cpu + late
			late = 0
		} else {
			late = child.cpu
		}
		child.pid, child.start, child.cpu = child.pid+1, child.start+100, 100
		f.process(parent)
		f.process(child)
	}), "a core, 78 MB shared")
	assert.Equal(t, 100, w.Status().Budgets[0].CPU)
	assert.Equal(t, 78, w.Status().Budgets[0].Memory)

	others := fake{pid: 900, start: 1, comm: "x", exe: "/bin/x", uid: 64002}
	found := w.seconds(60, func(int) {
		parent.cpu += 90
		child.cpu += 90
		others.cpu += 100
		f.process(parent)
		f.process(child)
		f.process(others)
	})
	require.Len(t, found, 1)
	assert.Equal(t, "user:64001", found[0].Source)
	assert.Equal(t, shivx.ActionFrozen, found[0].Action)
	assert.Equal(t, "only a cgroup can be limited: it was frozen instead", found[0].Err)
	assert.ElementsMatch(t, []sent{{parent.identity(), unix.SIGSTOP}, {child.identity(), unix.SIGSTOP}}, w.hands.sent)
}

func TestWhatCannotBeWatchedIsSaid(t *testing.T) {
	f := newFixture(t)
	w := f.watch("", config.Budget{Name: "a", User: "no-such-account-here", CPU: 1, For: 1}, config.Budget{Name: "b", Cgroup: "app", CPU: 1, For: 1})
	w.second()
	assert.Contains(t, w.Status().Budgets[0].Error, "no-such-account-here")
	assert.Contains(t, w.Status().Budgets[1].Error, "no cgroups of version 2")

	f.remove("proc")
	w.round(t.Context())
	assert.Contains(t, w.Status().Error, "list the processes")
}

// TestDecoysDoNotBuyABomb: what was enforced before, sustained or bombs, keeps no bomb from being ended,
// and bombs use up nothing of what sustained excess may be enforced.
func TestDecoysDoNotBuyABomb(t *testing.T) {
	f := newFixture(t)
	w := f.watch(t.TempDir(), config.Budget{Name: "crowd", Process: "/opt/shop/*", CPU: 50, Processes: 5, For: 10 * time.Second, Action: "kill"})
	next := 100
	crowd := func(n int) {
		for range n {
			next++
			f.process(fake{pid: next, start: uint64(next), comm: "x", exe: "/opt/shop/x"})
		}
	}
	excess := func() []Finding {
		next++
		p := fake{pid: next, start: uint64(next), comm: "decoy", exe: "/opt/shop/decoy"}
		defer f.end(p.pid)
		return w.seconds(30, func(int) { p.cpu += 90; f.process(p) })
	}
	bomb := func(nth int) (told int) {
		before := len(w.hands.sent)
		crowd(30)
		for _, found := range w.second() {
			told++
			assert.Equal(t, shivx.ActionKilled, found.Action)
			assert.Equal(t, nth, found.Evidence["actions_within_hour"])
		}
		assert.Len(t, w.hands.sent, before+60, "bomb %d: each is stopped and ended", nth)
		w.second()
		return told
	}
	assert.Empty(t, w.seconds(3, func(int) {}))
	for nth := 1; nth <= maxActions; nth++ {
		require.Equal(t, 1, bomb(nth), "told of")
	}
	for range maxActions {
		found := excess()
		require.Len(t, found, 1)
		require.Equal(t, shivx.ActionKilled, found[0].Action)
	}
	found := excess()
	require.Len(t, found, 1)
	require.Equal(t, shivx.ActionNone, found[0].Action, "sustained excess is only told now")
	told := 0
	for nth := maxActions + 1; nth <= 100; nth++ {
		told += bomb(nth)
	}
	assert.Equal(t, 100+maxActions, w.Status().Budgets[0].Actions)
	assert.Less(t, told, maxTellings+10, "acted on each time, told of more and more rarely")
	assert.Positive(t, told)
}
