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
