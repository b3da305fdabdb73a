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
	// labStep and labHorizon stand for the five minutes and six hours of a real host.
	labStep    = 500 * time.Millisecond
	labHorizon = 36 * time.Second
)

// leakLab is a set of programs that leak, or look as if they did.
type leakLab struct {
	t   *testing.T
	dir string
	// memory are the cgroups, disks the file systems, by the names of the programs.
	memory map[string]*stand.MemoryCgroup
	disks  map[string]string
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

// start starts a program; gone has how it ended.
func (l *leakLab) start(name string) (gone chan *os.ProcessState) {
	l.t.Helper()
	cmd := exec.Command(l.argv(name)[0], l.argv(name)[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(l.t, cmd.Start())
	gone = make(chan *os.ProcessState, 1)
	waited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		gone <- cmd.ProcessState
		close(waited)
	}()
	l.t.Cleanup(func() { _ = cmd.Process.Kill(); <-waited })
	return gone
}

// full is when a file system had no room any more.
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

// configuration has all programs: those in memory are healed, those on a disk make room.
func (l *leakLab) configuration() string {
	components, subsystems := "", labForecast
	add := func(name, series, action string) {
		text := strings.NewReplacer("NAME", name, "SERIES", series, "ACTION", action).Replace(labSubsystem)
		subsystems += fill(text, "step", labStep.String(), "horizon", labHorizon.String())
	}
	for name, c := range l.memory {
		components += fill(strings.ReplaceAll(labComponent, "NAME", name), "pid_file", l.file(name, "pid"), "argv", l.argv(name))
		add(name, fmt.Sprintf("{cgroup: %q, what: memory}", c.Path), fmt.Sprintf("restart, heal: %s, strategy: restart", name))
	}
	for name, dir := range l.disks {
		add(name, fmt.Sprintf("{path: %q}", dir), fill(`make-room, use: disk, with: {path: <dir>, until_free: 70%,
          rules: [{old_files: {path: <cache>, match: "*.tmp", older_than: 5s, keep: 3}}]}`, "dir", dir, "cache", filepath.Join(dir, "cache")))
	}
	return components + subsystems
}

// TestLeaks: what leaks comes to a bad end without ShivX. With it the end is forecast and something is done before it
// comes, and programs that only look as if they leaked are left alone. It measures the time of real processes: nothing
// else runs beside it.
func TestLeaks(t *testing.T) {
	control, lab := newLeakLab(t), newLeakLab(t)
	control.inMemory("leaker", shapeLeak)
	control.onDisk("spool", shapeLeak)
	lab.inMemory("leaker", shapeLeak)
	lab.onDisk("spool", shapeLeak)
	lab.inMemory("collector", shapeSawtooth)
	lab.inMemory("warming", shapeWarmUp)
	lab.onDisk("scratch", shapeSawtooth)
	healthy := []string{"collector", "warming", "scratch"}

	server := stand.NewServer(t)
	began := time.Now()
	killed := control.start("leaker")
	control.start("spool")
	for _, name := range []string{"leaker", "collector", "warming", "spool", "scratch"} {
		lab.start(name)
	}
	s := agentOf(t, server, "lab", "e2e-lab", lab.configuration())
	s.awaitHealthy()
	t.Logf("the agent is there %s after the programs", time.Since(began).Round(time.Second))

	var state *os.ProcessState
	select {
	case state = <-killed:
	case <-time.After(2 * leakLife):
		t.Fatal("the leak of the control group goes on for ever")
	}
	died := time.Now()
	status, _ := state.Sys().(syscall.WaitStatus)
	require.Equal(t, syscall.SIGKILL, status.Signal(), "the control group: %s", state)
	require.Positive(t, control.memory["leaker"].Killed())
	stand.Await(t, patience, "the file system of the control group to be full", func(context.Context) bool {
		_, ok := control.full("spool")
		return ok
	})
	filled, _ := control.full("spool")
	t.Logf("without ShivX: killed for want of memory after %s, disk full after %s", died.Sub(began).Round(time.Second), filled.Sub(began).Round(time.Second))

	for _, c := range []struct {
		name  string
		ended time.Time
	}{{"leaker", died}, {"spool", filled}} {
		s.prevented(c.name, began, c.ended)
	}
	require.Zero(t, lab.memory["leaker"].Killed(), "the leak was not stopped in time")
	_, full := lab.full("spool")
	require.False(t, full, "the disk was full")
	for _, name := range healthy {
		for _, r := range s.Records() {
			require.NotEqual(t, name, r.Subsystem, "a healthy program was not left alone: %s %s", r.EventType, r.Message)
			require.NotEqual(t, name, r.Component, "a healthy program was not left alone: %s %s", r.EventType, r.Message)
		}
		_, err := server.Client().DescribeWorkflowExecution(t.Context(), shivx.MitigationID(shivx.SubsystemTarget{Subsystem: name, Host: "lab"}), "")
		var unknown *serviceerror.NotFound
		require.ErrorAs(t, err, &unknown, name)
	}
	s.VerifyLedger()
}

// prevented checks that the end of a program was forecast, and prevented before it came, and prints the figures.
func (s *scene) prevented(name string, began, ended time.Time) {
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
	t.Logf("%s: alert %s after the start, %s before the end without ShivX, at %.0f %% of the limit; end forecast for %s (%s to %s), it came after %s",
		name, alert.Timestamp.Sub(began).Round(time.Second), ended.Sub(alert.Timestamp).Round(time.Second), 100*p.Value,
		p.BreachAt.Sub(began).Round(time.Second), p.Low.Sub(began).Round(time.Second), p.High.Sub(began).Round(time.Second), ended.Sub(began).Round(time.Second))
	t.Logf("%s: acted %s after the alert, %s before the end: %s; probability %.2f before, %.2f after",
		name, effect.Taken.Sub(alert.Timestamp).Round(100*time.Millisecond), ended.Sub(effect.Taken).Round(time.Second), effect.Why, effect.ProbabilityBefore, effect.ProbabilityAfter)
}
