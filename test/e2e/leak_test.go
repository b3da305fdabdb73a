package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
)

const (
	// labMemory is the limit of each cgroup of the lab, labDisk the size of each file system.
	labMemory = 160 << 20
	labDisk   = 64 << 20
	// labHandles is how many files a process may have open.
	labHandles = 1000
	// labStep and labHorizon stand for the five minutes and six hours of a real host.
	labStep    = 500 * time.Millisecond
	labHorizon = 36 * time.Second
	// labCrash is when the agent is killed: after it, there is no time to see as many steps as the models want before
	// they say anything. They begin with what was measured before.
	labCrash = 65 * time.Second
	labWarm  = 48 * labStep
)

// leakLab is a set of programs that leak, or look as if they did.
type leakLab struct {
	t   *testing.T
	dir string
	// memory are the cgroups, disks the file systems, by the names of the programs.
	memory map[string]*stand.MemoryCgroup
	disks  map[string]string
	// handles are the programs that use up their open files.
	handles []string
}

func newLeakLab(t *testing.T) *leakLab {
	t.Helper()
	return &leakLab{t: t, dir: t.TempDir(), memory: map[string]*stand.MemoryCgroup{}, disks: map[string]string{}}
}

func (l *leakLab) file(name, what string) string { return filepath.Join(l.dir, name+"."+what) }

// argv is how a program is started.
func (l *leakLab) argv(name string) []string {
	return []string{os.Args[0], "grower", l.file(name, "json")}
}

func (l *leakLab) describe(name string, g grower) {
	l.t.Helper()
	text, err := json.Marshal(g)
	require.NoError(l.t, err)
	require.NoError(l.t, os.WriteFile(l.file(name, "json"), text, 0o600))
}

// inMemory prepares a program that uses the memory of a cgroup.
func (l *leakLab) inMemory(name, shape string) {
	l.t.Helper()
	c := stand.NewMemoryCgroup(l.t, labMemory)
	l.memory[name] = c
	l.describe(name, grower{Shape: shape, Limit: labMemory, Procs: c.Procs(), PIDFile: l.file(name, "pid")})
}

// onDisk prepares a program that uses a file system.
func (l *leakLab) onDisk(name, shape string) {
	l.t.Helper()
	dir := l.file(name, "disk")
	testenv.Tmpfs(l.t, dir, fmt.Sprintf("size=%d", labDisk))
	require.NoError(l.t, os.Mkdir(filepath.Join(dir, "cache"), 0o755))
	l.disks[name] = dir
	l.describe(name, grower{Shape: shape, Limit: labDisk, Folder: filepath.Join(dir, "cache"), Full: l.file(name, "full")})
}

// inHandles prepares a program that uses open files.
func (l *leakLab) inHandles(name, shape string) {
	l.t.Helper()
	l.handles = append(l.handles, name)
	l.describe(name, grower{Shape: shape, Limit: labHandles, Handles: true, PIDFile: l.file(name, "pid"), Full: l.file(name, "full")})
}

// ending is how a program ended, and when.
type ending struct {
	state *os.ProcessState
	at    time.Time
}

// start starts a program; gone has how it ended.
func (l *leakLab) start(name string) (gone chan ending) {
	l.t.Helper()
	cmd := exec.Command(l.argv(name)[0], l.argv(name)[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(l.t, cmd.Start())
	gone = make(chan ending, 1)
	waited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		gone <- ending{cmd.ProcessState, time.Now()}
		close(waited)
	}()
	l.t.Cleanup(func() { _ = cmd.Process.Kill(); <-waited })
	return gone
}

// full is when a file system had no room any more, or a process could open no more files.
func (l *leakLab) full(name string) (at time.Time, ok bool) {
	text, err := os.ReadFile(l.file(name, "full"))
	if err == nil {
		at, err = time.Parse(time.RFC3339Nano, string(text))
	}
	return at, err == nil
}

// labComponent is a component of the agent that runs a program of the lab.
const labComponent = `
  - name: NAME
    checks: [{process: {pid_file: <pid_file>}}]
    ladder: [{name: restart, use: process, with: {start: <argv>, pid_file: <pid_file>}}]
` + quick

const labForecast = `
forecast:
  every: 200ms
  schedule: 2s
  limits: {mitigations: 100, window: 1h}
  subsystems:
    - {name: cpu, enabled: false}
    - {name: memory, enabled: false}
    - {name: disk, enabled: false}
    - {name: inodes, enabled: false}
    - {name: open_files, enabled: false}
    - {name: threads, enabled: false}
    - {name: network, enabled: false}
`

const labSubsystem = `
    - name: NAME
      model: exhaustion
      series: [SERIES]
      step: <step>
      horizon: <horizon>
      limits: {mitigations: 20, cooldown: 5s}
      mitigations:
        - {name: ACTION, measure_after: 5s}
`

// configuration has all programs: those on a disk make room, the others are healed.
func (l *leakLab) configuration() string {
	components, subsystems := "", labForecast
	add := func(name, series, action string) {
		text := strings.NewReplacer("NAME", name, "SERIES", series, "ACTION", action).Replace(labSubsystem)
		subsystems += fill(text, "step", labStep.String(), "horizon", labHorizon.String())
	}
	healed := func(name, series string) {
		components += fill(strings.ReplaceAll(labComponent, "NAME", name), "pid_file", l.file(name, "pid"), "argv", l.argv(name))
		add(name, series, fmt.Sprintf("restart, heal: %s, strategy: restart", name))
	}
	for name, c := range l.memory {
		healed(name, fmt.Sprintf("{cgroup: %q, what: memory}", c.Path))
	}
	for _, name := range l.handles {
		healed(name, fmt.Sprintf("{component: %s, what: open_files}", name))
	}
	for name, dir := range l.disks {
		add(name, fmt.Sprintf("{path: %q}", dir), fill(`make-room, use: disk, with: {path: <dir>, until_free: 70%,
          rules: [{old_files: {path: <cache>, match: "*.tmp", older_than: 5s, keep: 3}}]}`, "dir", dir, "cache", filepath.Join(dir, "cache")))
	}
	return components + subsystems
}

// TestLeaks: what leaks comes to a bad end without ShivX. With it the end is forecast and something is done before it
// comes, also after a crash of the agent, and programs that only look as if they leaked are left alone. It measures the time of real processes: nothing
// else runs beside it.
func TestLeaks(t *testing.T) {
	control, lab := newLeakLab(t), newLeakLab(t)
	for _, l := range []*leakLab{control, lab} {
		l.inMemory("leaker", shapeLeak)
		l.inMemory("cache", shapeFloor)
		l.inHandles("handles", shapeLeak)
		l.onDisk("spool", shapeLeak)
	}
	lab.inMemory("collector", shapeSawtooth)
	lab.inMemory("warming", shapeWarmUp)
	lab.onDisk("scratch", shapeSawtooth)
	leaks, healthy := []string{"leaker", "cache", "handles", "spool"}, []string{"collector", "warming", "scratch"}

	server := stand.NewServer(t)
	began := time.Now()
	gone := map[string]chan ending{}
	for _, name := range leaks {
		gone[name] = control.start(name)
		lab.start(name)
	}
	for _, name := range healthy {
		gone[name] = lab.start(name)
	}
	s := agentOf(t, server, "lab", "e2e-lab", lab.configuration())
	s.awaitHealthy()
	t.Logf("the agent is there %s after the programs", time.Since(began).Round(time.Second))
	stand.Await(t, 2*patience, "the time shortly before the first alert", func(context.Context) bool { return time.Since(began) > labCrash })
	s.Kill()
	s.Start()
	crashed := time.Now()

	first := time.Now().Add(time.Hour)
	for _, name := range leaks {
		ended := control.end(name, gone[name])
		t.Logf("%s: ends after %s without ShivX", name, ended.Sub(began).Round(time.Second))
		if at := s.prevented(name, began, ended); at.Before(first) {
			first = at
		}
	}
	require.True(t, first.Before(crashed.Add(labWarm)), "after the crash the models began with nothing: the first alert came %s after it", first.Sub(crashed))
	for name, c := range lab.memory {
		require.Zero(t, c.Killed(), "%s was not stopped in time", name)
	}
	for _, name := range append(leaks, healthy...) {
		_, full := lab.full(name)
		require.False(t, full, "%s came to its end", name)
	}
	for _, name := range healthy {
		s.leftAlone(name)
		select {
		case e := <-gone[name]:
			t.Errorf("%s was not left alone: %s", name, e.state)
		default:
		}
	}
	s.VerifyLedger()
}

// end waits for the end of a leak in the control group: the kernel kills the process for want of memory, or there is no
// room or no open file any more.
func (l *leakLab) end(name string, gone chan ending) (ended time.Time) {
	l.t.Helper()
	if l.memory[name] == nil {
		stand.Await(l.t, 2*leakLife, "the end of "+name, func(context.Context) (ok bool) {
			ended, ok = l.full(name)
			return ok
		})
		return ended
	}
	select {
	case e := <-gone:
		ended = e.at
		status, _ := e.state.Sys().(syscall.WaitStatus)
		require.Equal(l.t, syscall.SIGKILL, status.Signal(), "%s: %s", name, e.state)
		require.Positive(l.t, l.memory[name].Killed())
	case <-time.After(2 * leakLife):
		l.t.Fatalf("%s goes on for ever", name)
	}
	return ended
}

// leftAlone checks that nothing was said of a healthy program and nothing done to it.
func (s *scene) leftAlone(name string) {
	s.t.Helper()
	for _, r := range s.Records() {
		require.NotEqual(s.t, name, r.Subsystem, "%s was not left alone: %s %s", name, r.EventType, r.Message)
		require.NotEqual(s.t, name, r.Component, "%s was not left alone: %s %s", name, r.EventType, r.Message)
	}
	id := shivx.MitigationID(shivx.SubsystemTarget{Subsystem: name, Host: s.host})
	_, err := s.server.Client().DescribeWorkflowExecution(s.t.Context(), id, "")
	var unknown *serviceerror.NotFound
	require.ErrorAs(s.t, err, &unknown, name)
}

// prevented checks that the end of a program was forecast, and prevented before it came, and prints the figures. It
// returns when the alert came.
func (s *scene) prevented(name string, began, ended time.Time) time.Time {
	t := s.t
	t.Helper()
	alert := s.AwaitRecord(patience, "an alert for "+name, func(r shivx.RecoveryRecord) bool {
		return r.EventType == shivx.EventPrediction && r.Subsystem == name
	})
	done := s.AwaitRecord(patience, "the end of the mitigation of "+name, func(r shivx.RecoveryRecord) bool {
		return r.EventType == shivx.EventMitigation && r.Subsystem == name
	})
	require.Equal(t, shivx.OutcomePrevented, done.Outcome, done.Message)
	text, err := json.Marshal(done.Details)
	require.NoError(t, err)
	var details struct {
		Prediction *shivx.Prediction        `json:"prediction"`
		Effects    []shivx.MitigationEffect `json:"effects"`
	}
	require.NoError(t, json.Unmarshal(text, &details))
	require.NotNil(t, details.Prediction)
	require.Len(t, details.Effects, 1)
	effect := details.Effects[0]
	require.True(t, effect.Helped, effect.Why)
	require.True(t, effect.Taken.Before(ended), "the action came after the end")
	require.Less(t, effect.After, effect.Forecast)
	for _, r := range s.Records() { // the restart itself is seen as an exit
		require.False(t, r.EventType == shivx.EventFault && r.Component == name && r.Timestamp.Before(effect.Taken), "it failed before: %s", r.Message)
	}
	p := details.Prediction
	t.Logf("%s: alert %s after the start, %s before the end without ShivX, at %.0f %% of the limit; 95 %% forecast for %s (%s to %s), 100 %% came after %s",
		name, alert.Timestamp.Sub(began).Round(time.Second), ended.Sub(alert.Timestamp).Round(time.Second), 100*p.Value,
		p.BreachAt.Sub(began).Round(time.Second), p.Low.Sub(began).Round(time.Second), p.High.Sub(began).Round(time.Second), ended.Sub(began).Round(time.Second))
	t.Logf("%s: acted %s after the alert, %s before the end: %s; probability %.2f before, %.2f after",
		name, effect.Taken.Sub(alert.Timestamp).Round(100*time.Millisecond), ended.Sub(effect.Taken).Round(time.Second), effect.Why, effect.ProbabilityBefore, effect.ProbabilityAfter)
	return alert.Timestamp
}
