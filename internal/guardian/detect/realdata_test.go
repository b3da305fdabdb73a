package detect

import (
	"bufio"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// TestARealLogOfVisitorsIsolatesNobody reads a log of ten thousand real requests, if it is there: it is
// no part of the project.
func TestARealLogOfVisitorsIsolatesNobody(t *testing.T) {
	file := sharedData(t, filepath.Join("logs", "apache_access.log.gz"))
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	plain, err := gzip.NewReader(f)
	require.NoError(t, err)
	parser, err := logs.New("apache-access", logs.Options{})
	require.NoError(t, err)
	d, err := New(Options{Rules: rules(), Host: "web1"})
	require.NoError(t, err)

	warned := map[string]bool{}
	var events []logs.Event
	var decisions []Decision
	n := 0
	lines := bufio.NewScanner(plain)
	for lines.Scan() {
		events = parser.Parse(lines.Bytes(), events[:0])
		for i := range events {
			n++
			decisions = d.Observe(&events[i], decisions[:0])
			for _, decision := range decisions {
				require.NotContains(t, []shivx.ThreatLevel{shivx.ThreatHigh, shivx.ThreatCritical}, decision.Level, decision.Reason)
				warned[decision.Source] = true
				t.Log(decision.Reason, decision.Evidence)
			}
		}
	}
	require.NoError(t, lines.Err())
	require.Greater(t, n, 9900)
	require.LessOrEqual(t, len(warned), 1)
}

// sharedData finds a file of the folder shared/data beside the project.
func sharedData(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		file := filepath.Join(dir, "shared", "data", name)
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	t.Skip("the shared data is not here")
	return ""
}
