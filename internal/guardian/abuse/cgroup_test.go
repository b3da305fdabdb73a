package abuse

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

const appGroup = "sys/fs/cgroup/system.slice/app.service/"

// group writes what a cgroup uses: time in microseconds, memory in MB.
func (f fixture) group(dir string, usec, memory, file, processes int) {
	f.t.Helper()
	f.write("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
	f.write(dir+"cgroup.procs", "")
	f.write(dir+"cpu.stat", fmt.Sprintf("usage_usec %d\nuser_usec 1\nsystem_usec 2\n", usec))
	f.write(dir+"memory.current", fmt.Sprintln(memory*megabyte))
	f.write(dir+"memory.stat", fmt.Sprintf("anon 1\nfile %d\nkernel 1\nshmem %d\n", file*megabyte, megabyte))
	f.write(dir+"pids.current", fmt.Sprintln(processes))
}

func (f fixture) controls(dir string) {
	f.t.Helper()
	f.write(dir+"cpu.max", "max 100000\n")
	f.write(dir+"memory.high", "max\n")
	f.write(dir+"pids.max", "512\n")
	f.write(dir+"cgroup.freeze", "0\n")
	f.write(dir+"cgroup.events", "populated 1\nfrozen 1\n")
	f.write(dir+"cgroup.kill", "")
}

var app = config.Budget{Name: "app", Cgroup: "system.slice/app*.service", CPU: 150, MemoryMB: 100, Processes: 50, For: 10 * time.Second, Action: "limit"}

func TestCgroupIsLimitedAndLetGo(t *testing.T) {
	f := newFixture(t)
	f.group(appGroup, 0, 50, 20, 5)
	f.controls(appGroup)
	dir := t.TempDir()
	w := f.watch(dir, app)
	usec := 0
	burn := func(int) { usec += 1_900_000; f.group(appGroup, usec, 50, 20, 5) }
	found := w.seconds(30, burn)
	require.Len(t, found, 1)
	assert.Equal(t, "cgroup:system.slice/app.service", found[0].Source)
	assert.Equal(t, shivx.ThreatCPU, found[0].Type)
	assert.Equal(t, shivx.ActionLimited, found[0].Action)
	assert.Empty(t, found[0].Err)
	assert.Equal(t, "150000 100000", f.read(appGroup+"cpu.max"))
	assert.Equal(t, fmt.Sprint(100*megabyte), f.read(appGroup+"memory.high"))
	assert.Equal(t, "50", f.read(appGroup+"pids.max"))

	found = w.seconds(30, burn)
	require.Len(t, found, 1, "a limit that does not bite is told")
	assert.Equal(t, shivx.ActionNone, found[0].Action)
	assert.Equal(t, "it is limited already", found[0].Err)

	require.NoError(t, w.Release(t.Context(), "cgroup:system.slice/app.service"))
	found = w.seconds(30, burn)
	require.Len(t, found, 1, "it is judged from the beginning")
	assert.Equal(t, shivx.ActionLimited, found[0].Action)
	found = w.seconds(30, burn)
	require.Len(t, found, 1)
	assert.Equal(t, 1, found[0].Evidence["told"])

	f.write(appGroup+"pids.max", "77\n") // by somebody else
	w = f.watch(dir, app)
	w.second()
	require.NoError(t, w.Release(t.Context(), "cgroup:system.slice/app.service"))
	assert.Equal(t, "max 100000", f.read(appGroup+"cpu.max"))
	assert.Equal(t, "max", f.read(appGroup+"memory.high"))
	assert.Equal(t, "77\n", f.read(appGroup+"pids.max"), "is left as it is")
	assert.Empty(t, w.Status().Contained)
}

// TestCgroupThatCannotBeLimitedIsFrozen: the controller is not there. What was set is put back.
func TestCgroupThatCannotBeLimitedIsFrozen(t *testing.T) {
	f := newFixture(t)
	f.group(appGroup, 0, 50, 20, 5)
	f.controls(appGroup)
	f.remove(appGroup + "cpu.max")
	w := f.watch(t.TempDir(), app)
	usec := 0
	found := w.seconds(30, func(int) { usec += 1_900_000; f.group(appGroup, usec, 50, 20, 5) })
	require.Len(t, found, 1)
	assert.Equal(t, shivx.ActionFrozen, found[0].Action)
	assert.Contains(t, found[0].Err, "could not be limited: the cgroup system.slice/app.service has no cpu.max (let the cgroup above it have the controller")
	assert.Equal(t, "1", f.read(appGroup+"cgroup.freeze"))
	assert.Equal(t, "max", f.read(appGroup+"memory.high"))
	assert.Equal(t, "512", f.read(appGroup+"pids.max"))
	assert.Empty(t, w.seconds(30, func(int) {}), "what stands still is not judged")

	f.write(appGroup+"cgroup.freeze", "0\n") // by somebody else: it is judged again
	require.NotEmpty(t, w.seconds(60, func(int) { usec += 1_900_000; f.group(appGroup, usec, 50, 20, 5) }))
	require.NoError(t, w.Release(t.Context(), "cgroup:system.slice/app.service"))
	assert.Equal(t, "0", f.read(appGroup+"cgroup.freeze"))
}

// TestCacheOfFilesIsNoMemoryOfTheCgroup: the kernel takes it back when it is needed.
func TestCacheOfFilesIsNoMemoryOfTheCgroup(t *testing.T) {
	f := newFixture(t)
	f.controls(appGroup)
	f.group(appGroup, 0, 400, 350, 5)
	w := f.watch("", app)
	assert.Empty(t, w.seconds(30, func(int) {}))
	assert.Equal(t, 51, w.Status().Budgets[0].Memory)
	found := w.seconds(30, func(int) { f.group(appGroup, 0, 400, 250, 5) })
	require.Len(t, found, 1)
	assert.Equal(t, shivx.ThreatMemory, found[0].Type)
	assert.Equal(t, int64(151), found[0].Evidence["memory_mb"])
}

// TestCgroupsWithoutControllersAreCountedByTheirProcesses.
func TestCgroupsWithoutControllersAreCountedByTheirProcesses(t *testing.T) {
	f := newFixture(t)
	f.group(appGroup, 0, 0, 0, 0)
	f.remove(appGroup + "memory.current")
	f.remove(appGroup + "pids.current")
	f.write(appGroup+"cgroup.procs", "20\n21\n")
	f.write(appGroup+"workers/cgroup.procs", "22\n")
	for pid := 20; pid < 23; pid++ {
		f.process(fake{pid: pid, start: 1, comm: "app", exe: "/bin/app", memory: 3840, shared: 1280}) // 15 MB, 5 of them shared
	}
	w := f.watch("", app)
	w.second()
	assert.Equal(t, 3, w.Status().Budgets[0].Processes)
	assert.Equal(t, 35, w.Status().Budgets[0].Memory)
}

func TestCgroupOfTheAgentIsSpared(t *testing.T) {
	f := newFixture(t)
	f.controls(appGroup)
	kill := app
	kill.Action = "kill"
	f.group(appGroup, 0, 50, 20, 5)
	w := f.watch(t.TempDir(), kill)
	w.hands.safe[77] = true
	usec := 0
	found := w.seconds(30, func(int) {
		usec += 1_900_000
		f.group(appGroup, usec, 50, 20, 5)
		f.write(appGroup+"agent/cgroup.procs", "76\n77\n")
	})
	require.Len(t, found, 1)
	assert.Equal(t, shivx.ActionFailed, found[0].Action)
	assert.Contains(t, found[0].Err, "the agent itself")
	assert.Empty(t, f.read(appGroup+"cgroup.kill"))
}

// TestNewCgroupsAreFound: a cgroup that comes and goes is judged while it is there.
func TestNewCgroupsAreFound(t *testing.T) {
	f := newFixture(t)
	f.group(appGroup, 0, 50, 20, 5)
	w := f.watch("", app)
	w.second()
	assert.Equal(t, 1, w.Status().Budgets[0].Targets)
	f.group("sys/fs/cgroup/system.slice/app-2.service/", 0, 50, 20, 5)
	f.group("sys/fs/cgroup/system.slice/other.service/", 0, 50, 20, 5)
	w.seconds(int(rediscover/time.Second), func(int) {})
	assert.Equal(t, 2, w.Status().Budgets[0].Targets)
	f.remove(appGroup)
	w.second()
	assert.Equal(t, 1, w.Status().Budgets[0].Targets)
}
