package e2e_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/test/stand"
)

// sources is how many addresses attack in guardianLogs; every third stays below the threshold by one.
const sources = 240

// guardianLogs: logs are rotated, copied and truncated, and the agent is killed, while attackers fail
// to log in. Of each of them just as much is in the log as isolates, or one less: a line that is lost
// lets one go, a line that is read twice takes one in. Temporal is away all the time.
func guardianLogs(t *testing.T) {
	host := stand.NewNetwork(t).Machine()
	dir := t.TempDir()
	l := &rotated{t: t, path: filepath.Join(dir, "auth.log")}
	still := filepath.Join(dir, "still.log")
	appendTo(t, still, "somebody was here")
	appendTo(t, l.path, "2026-11-23T09:00:00Z host sshd[1]: Server listening on 0.0.0.0 port 22.")
	g := guard(t, host, nowhere, fill(guardedBy+`
  terms: [1h]
  defense: {threats: 100000}
  logs:
    - {name: ssh, file: <log>, format: sshd}
    - {name: still, file: <still>, format: nginx-access, quiet_after: 1s}
`, "host", "logs-1", "log", l.path, "still", still))

	for round := range 10 {
		switch round {
		case 3:
			l.copyAndTruncate()
		case 5, 8:
			g.Kill()
			l.rotate()
		default:
			l.rotate()
		}
		for source := range sources {
			if round < 9 || source%3 != 0 {
				l.write(failedLogin(attackerOf(source)))
			}
			if source == sources/2 && (round == 5 || round == 8) {
				g.Start()
			}
		}
	}
	l.write(failedLogins("198.51.100.1")...) // the last to be written is the last to be read
	g.Isolated(patience, "198.51.100.1", 1)

	isolated := map[string]int{}
	for _, r := range g.GuardianRecords() {
		if r.ActionTaken == shivx.ActionIsolated {
			isolated[r.Source]++
		}
		require.NotEqual(t, "lost", r.Details["kind"], "%v", r.Details)
	}
	for source := range sources {
		want := 1
		if source%3 == 0 {
			want = 0
		}
		require.Equal(t, want, isolated[attackerOf(source)], "%s is isolated", attackerOf(source))
	}
	quiet(t, g, still)
	verifies(t, g, "--no-witness")
}

// attackerOf is the address of a source, each in a network of its own.
func attackerOf(source int) string { return fmt.Sprintf("198.18.%d.7", source) }

// quiet: a log from which nothing is read is an alarm, once, and its end is told.
func quiet(t *testing.T, g *stand.Guarded, path string) {
	t.Helper()
	silent := func(r stand.GuardianRecord) bool {
		return r.ThreatType == shivx.ThreatSilence && r.Source == "log:still"
	}
	began := g.AwaitGuardianRecord(patience, "the alarm that a log is silent", silent)
	require.Equal(t, shivx.EventIngest, began.EventType)
	g.AwaitStatus(patience, "the status to name the silent log", func(s guardian.Status) bool { return s.Logs[1].Silent })
	appendTo(t, path, `192.0.2.1 - - [23/Nov/2026:09:00:00 +0000] "GET / HTTP/1.1" 200 3 "-" "a browser"`)
	g.AwaitGuardianRecord(patience, "the end of the alarm", func(r stand.GuardianRecord) bool {
		return r.EventType == shivx.EventIngest && r.Source == "log:still" && !silent(r) && r.Timestamp.After(began.Timestamp)
	})
}

// rotated is a log that a service writes line by line.
type rotated struct {
	t    *testing.T
	path string
	old  int
}

func (l *rotated) write(lines ...string) { appendTo(l.t, l.path, lines...) }

// rotate renames the log, and those before it.
func (l *rotated) rotate() {
	for i := l.old; i >= 0; i-- {
		require.NoError(l.t, os.Rename(l.name(i), l.name(i+1)))
	}
	l.old++
}

// copyAndTruncate makes a copy and empties the log, with no time in between.
func (l *rotated) copyAndTruncate() {
	for i := l.old; i > 0; i-- {
		require.NoError(l.t, os.Rename(l.name(i), l.name(i+1)))
	}
	l.old++
	from, err := os.OpenFile(l.path, os.O_RDWR, 0)
	require.NoError(l.t, err)
	to, err := os.Create(l.name(1))
	require.NoError(l.t, err)
	_, err = io.Copy(to, from)
	require.NoError(l.t, err)
	require.NoError(l.t, to.Close())
	require.NoError(l.t, from.Truncate(0))
	require.NoError(l.t, from.Close())
}

func (l *rotated) name(i int) string {
	if i == 0 {
		return l.path
	}
	return fmt.Sprintf("%s.%d", l.path, i)
}
