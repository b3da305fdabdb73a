package abuse

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// burning is the cgroup of the budget app, which uses nearly two cores each second.
func (f fixture) burning() func(int) {
	f.t.Helper()
	usec := 0
	burn := func(int) { usec += 1_900_000; f.group(appGroup, usec, 50, 20, 5) }
	burn(0)
	f.controls(appGroup)
	return burn
}

// TestALimitIsSetAgainWhenItIsGone: a service that was started again has a new cgroup of the same name;
// and systemd writes the limits of its units when they are loaded again.
func TestALimitIsSetAgainWhenItIsGone(t *testing.T) {
	f := newFixture(t)
	burn := f.burning()
	w := f.watch(t.TempDir(), app)
	require.Len(t, w.seconds(30, burn), 1)
	require.Equal(t, "150000 100000", f.read(appGroup+"cpu.max"))

	f.write(appGroup+"cpu.max", "max 100000\n")
	f.write(appGroup+"pids.max", "70\n")
	found := w.seconds(30, burn)
	require.Len(t, found, 1)
	assert.Equal(t, shivx.ActionLimited, found[0].Action, found[0].Err)
	assert.Equal(t, "150000 100000", f.read(appGroup+"cpu.max"))

	require.Len(t, w.Status().Contained, 1)
	require.NoError(t, w.Release(t.Context(), "cgroup:system.slice/app.service"))
	assert.Equal(t, "max 100000", f.read(appGroup+"cpu.max"))
	assert.Equal(t, "max", f.read(appGroup+"memory.high"), "as before the first time")
	assert.Equal(t, "70", f.read(appGroup+"pids.max"), "as it was since")
}

// TestALimitIsCompletedAfterACrash: the agent ended after it had written down what it was about to set,
// and before it had set all.
func TestALimitIsCompletedAfterACrash(t *testing.T) {
	for set, cpu := range map[string]string{"nothing": "max 100000\n", "cpu.max": "150000 100000\n"} {
		t.Run(set, func(t *testing.T) {
			f := newFixture(t)
			burn := f.burning()
			dir := t.TempDir()
			require.NoError(t, f.watch(dir, app).kept.put(Contained{
				Source: "cgroup:system.slice/app.service", Budget: "app", Action: shivx.ActionLimited, Cgroup: "system.slice/app.service",
				Limits: []setting{{"cpu.max", "max 100000", "150000 100000"}, {"memory.high", "max", fmt.Sprint(100 * megabyte)}, {"pids.max", "512", "50"}},
			}))
			f.write(appGroup+"cpu.max", cpu)
			w := f.watch(dir, app)
			w.seconds(30, burn)
			usec := 0
			w.seconds(30, func(i int) { usec++; f.group(appGroup, usec, 110+i, 0, 5) })
			assert.Equal(t, "150000 100000", strings.TrimSpace(f.read(appGroup+"cpu.max")))
			assert.Equal(t, fmt.Sprint(100*megabyte), f.read(appGroup+"memory.high"))
			require.NoError(t, w.Release(t.Context(), "cgroup:system.slice/app.service"))
			assert.Equal(t, "max 100000", f.read(appGroup+"cpu.max"))
			assert.Equal(t, "max", f.read(appGroup+"memory.high"))
			assert.Equal(t, "512", f.read(appGroup+"pids.max"))
		})
	}
}

// TestOneLimitDoesNotStandForAnother: of two budgets of a cgroup one has limited its CPU.
func TestOneLimitDoesNotStandForAnother(t *testing.T) {
	f := newFixture(t)
	burn := f.burning()
	cpu, memory := app, app
	cpu.MemoryMB, cpu.Processes = 0, 0
	memory.Name, memory.CPU, memory.Processes = "memory", 0, 0
	w := f.watch(t.TempDir(), cpu, memory)
	require.Len(t, w.seconds(30, burn), 1)
	found := w.seconds(30, func(i int) { f.group(appGroup, 0, 120, 0, 5) })
	require.Len(t, found, 1)
	assert.Equal(t, shivx.ThreatMemory, found[0].Type)
	assert.Equal(t, shivx.ActionLimited, found[0].Action, found[0].Err)
	assert.Equal(t, fmt.Sprint(100*megabyte), f.read(appGroup+"memory.high"))
}

// TestALimitLoosensNothing: what allows the cgroup less than the budget already stays.
func TestALimitLoosensNothing(t *testing.T) {
	f := newFixture(t)
	f.burning()
	f.write(appGroup+"cpu.max", "25000 50000\n") // half a core
	f.write(appGroup+"pids.max", "20\n")
	w := f.watch(t.TempDir(), app)
	found := w.seconds(30, func(i int) { f.group(appGroup, 0, 120, 0, 5) })
	require.Len(t, found, 1)
	assert.Equal(t, shivx.ActionLimited, found[0].Action)
	assert.Equal(t, fmt.Sprint(100*megabyte), f.read(appGroup+"memory.high"))
	assert.Equal(t, "25000 50000", strings.TrimSpace(f.read(appGroup+"cpu.max")))
	assert.Equal(t, "20", strings.TrimSpace(f.read(appGroup+"pids.max")))
	w.step = time.Minute
	found = w.seconds(2, func(int) { f.group(appGroup, 0, 120, 0, 5) })
	require.Len(t, found, 1)
	assert.Equal(t, "it is limited already", found[0].Err)
}
