package abuse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStatOfEvilNames(t *testing.T) {
	for _, comm := range []string{"sh", "a b", "x) R 1 1", "((", "a\nb", ") S 0 0 0 0 0 0 0 0 0", "", "\x1b[31m"} {
		line := "123 (" + comm + ") T 7 1 1 0 -1 4194304 10 20 0 0 250 50 5 6 20 0 1 0 987654 1000 300 18446744073709551615 1 1 0 0\n"
		p := process{identity: identity{PID: 123}}
		require.NoError(t, p.parseStat([]byte(line), 4096), comm)
		assert.Equal(t, comm, p.comm)
		assert.Equal(t, []any{byte('T'), 7, uint64(987654), 3 * time.Second, 110 * time.Millisecond, int64(300 * 4096), false},
			[]any{p.state, p.parent, p.Start, p.cpu, p.waited, p.resident, p.kernel}, comm)
		assert.NotContains(t, p.label()[4:len(p.label())-1], ")", "a source ends where the watch ends it")
		assert.NotContains(t, p.label(), "\x1b")
		assert.NotContains(t, p.label(), "\n")
	}
	for _, line := range []string{"", "123", "123 (sh", "123 (sh) S 1 2", ")(", "123 (sh)"} {
		require.Error(t, new(process).parseStat([]byte(line), 4096), line)
	}
}

func FuzzStat(f *testing.F) {
	f.Add([]byte("123 (sh) S 7 1 1 0 -1 4194304 10 20 0 0 250 50 5 6 20 0 1 0 987654 1000 300 1"))
	f.Add([]byte("1 ( ) ) ("))
	f.Fuzz(func(t *testing.T, line []byte) {
		p := process{}
		if p.parseStat(line, 4096) == nil {
			require.NotEmpty(t, p.label())
			require.NotZero(t, p.state)
		}
		parseStatm(line)
		parseUID(line)
	})
}

func TestUID(t *testing.T) {
	assert.Equal(t, 1001, parseUID([]byte("Name:\tx\\nUid:\t0\nUmask:\t0022\nUid:\t1001\t0\t0\t0\n")))
	assert.Equal(t, -1, parseUID([]byte("Name:\tx\n")))
	assert.Equal(t, -1, parseUID(nil))
}

// newMatched is a table whose only budget matches a program.
func newMatched(f fixture, exe string) *table {
	t := newTable(f.root)
	t.users = true
	t.match = func(p *process) []int {
		if p.exe == exe {
			return []int{0}
		}
		return nil
	}
	return t
}

func TestTableFollowsWhatProcessesBecome(t *testing.T) {
	f := newFixture(t)
	app := fake{pid: 10, start: 100, comm: "bash", exe: "/bin/bash", cpu: 50, uid: 1001}
	f.process(app)
	f.process(fake{pid: 2, start: 1, comm: "kthreadd", flags: kernelThread, exe: "/opt/app"})
	table := newMatched(f, "/opt/app")
	require.NoError(t, table.read())
	assert.Empty(t, table.all[10].budgets)
	assert.Equal(t, 1001, table.all[10].uid)

	app.exe, app.comm = "/opt/app", "app" // exec
	f.process(app)
	require.NoError(t, table.read())
	require.Equal(t, []int{0}, table.all[10].budgets)
	assert.Empty(t, table.all[2].budgets, "a kernel thread is nobody's")

	app.cpu, app.exe = 80, "/opt/app (deleted)" // an upgrade has replaced the file
	f.process(app)
	require.NoError(t, table.read())
	assert.Equal(t, 300*time.Millisecond, table.all[10].usedCPU)
	assert.Equal(t, []int{0}, table.all[10].budgets)
}

func TestTableTellsAReusedNumber(t *testing.T) {
	f := newFixture(t)
	f.process(fake{pid: 10, start: 100, comm: "app", exe: "/opt/app", cpu: 50})
	table := newMatched(f, "/opt/app")
	require.NoError(t, table.read())
	require.NoError(t, table.read())
	assert.Equal(t, 1, table.open)

	f.process(fake{pid: 10, start: 900, comm: "other", exe: "/bin/other", cpu: 1})
	require.NoError(t, table.read())
	assert.Equal(t, uint64(900), table.all[10].Start)
	assert.Empty(t, table.all[10].budgets)
	require.Len(t, table.gone, 1)
	assert.Equal(t, uint64(100), table.gone[0].Start)
	assert.Zero(t, table.open, "its file is closed")

	f.end(10)
	require.NoError(t, table.read())
	assert.Empty(t, table.all)
}

// TestEachProcessIsLookedAtAgain: an old process that execs is found within a bounded number of rounds.
func TestEachProcessIsLookedAtAgain(t *testing.T) {
	f := newFixture(t)
	for pid := 100; pid < 140; pid++ {
		f.process(fake{pid: pid, start: 1, comm: "sh", exe: "/bin/sh"})
	}
	table := newMatched(f, "/opt/app")
	for range 10 {
		require.NoError(t, table.read())
	}
	for pid := 100; pid < 140; pid++ {
		f.process(fake{pid: pid, start: 1, comm: "sh", exe: "/opt/app"})
	}
	for range recheck {
		require.NoError(t, table.read())
	}
	for pid := 100; pid < 140; pid++ {
		assert.NotEmpty(t, table.all[pid].budgets, pid)
	}
}
