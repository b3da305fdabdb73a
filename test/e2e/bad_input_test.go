package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/resilience"
	"github.com/shivx/shivx/test/stand"
)

// weights of the resources in the confidence, as docs/RESILIENCE.md has them.
var weights = map[string]float64{
	"cpu": 2, "load": 1, "memory": 2, "disk": 2, "inodes": 1, "threads": 1, "open_files": 1, "network": 1,
	"pressure_cpu": 1, "pressure_memory": 1, "pressure_io": 1,
}

// badInput: the files that tell of the host are damaged one after the other while the agent runs.
// Each is named, none is taken for health or for need, and with too little left the level is held.
func badInput(t *testing.T, server *stand.Server) {
	m := newFakeMachine(t)
	s := agentOf(t, server, "bad-input", "e2e-bad-input", " []"+fill(`
resilience:
  monitor: {root: <root>, every: 250ms, record_every: 1s, mounts: [/data, /spare]}
  levels: {up_after: 1s, max_up_after: 2s}
  score:
    curves: # these two are really asked of the file system of the test
      - {resource: disk, points: [{at: 100000, score: 100}]}
      - {resource: inodes, points: [{at: 100000, score: 100}]}
`, "root", m.root))
	s.knows()
	s.tooLittleToGoBy(m)
	s.damagedFurther(m)
	s.allGone(m)
	select {
	case <-s.Gone():
		t.Fatal("the agent ended")
	default:
	}
	changes := s.agrees()
	require.Len(t, changes, 5, "down to EMERGENCY and up again")
	require.Contains(t, changes[0].Reason, "load")
}

// tooLittleToGoBy damages more than half of what is read. The rest says emergency; that counts only
// once there is enough again.
func (s *scene) tooLittleToGoBy(m *fakeMachine) {
	t := s.t
	t.Helper()
	m.damage("proc/meminfo", "MemTotal: what?\x00\xff\nMemAvailable: -1 kB\n")
	s.knows("memory: /proc/meminfo")
	m.turnIntoFolder("proc/stat")
	s.knows("memory: /proc/meminfo", "cpu: /proc/stat: is a directory")
	m.damage("proc/pressure/memory", "some avg10=NaN avg60=0.00 avg300=0.00 total=0\nfull avg10=NaN avg60=0.00 avg300=0.00 total=0\n")
	s.knows("memory: /proc/meminfo", "cpu: /proc/stat", "pressure_memory: /proc/pressure/memory: \"some avg10=NaN")
	m.damage("proc/1/mountinfo", "31 21 0:41 / /data rw - tmpfs data rw\n")
	held := s.knows("memory: /proc/meminfo", "cpu: /proc/stat", "pressure_memory: /proc/pressure/memory", "disk[/spare]: no longer mounted")
	require.Empty(t, held.Held, "half of the readings is enough")
	m.damage("proc/1/net/snmp", "Tcp: RtoAlgorithm OutSegs RetransSegs\nTcp: 1 -5 -7\n")
	all := []string{"memory: /proc/meminfo", "cpu: /proc/stat", "pressure_memory: /proc/pressure/memory", "disk[/spare]: no longer mounted",
		"network: /proc/1/net/snmp: has no counters of TCP segments"}
	s.knows(all...)

	// What is still known says emergency. It is too little to go by.
	m.damage("proc/loadavg", "200.00 1.00 1.00 2/500 12345\n")
	held = s.awaitLevel("the load to be seen", func(r resilience.Status) bool { return r.Score.Value == 25 })
	from := held.SampledAt
	held = s.awaitLevel("ten more samples", func(r resilience.Status) bool { return r.SampledAt.Sub(from) > 2500*time.Millisecond })
	require.Regexp(t, `^confidence too low: 4\d\.\d % of the readings, 50 % are needed$`, held.Held)
	require.Equal(t, shivx.LevelNormal, held.Level)
	s.knows(all...)
	require.Empty(t, s.LevelChanges(), "a change that nothing justified")
	s.tellsPeople(all)

	// With enough to go by the level follows what is read.
	m.repair("proc/meminfo")
	s.awaitLevel("the load to count", func(r resilience.Status) bool { return r.Level == shivx.LevelEmergency })
	for _, name := range []string{"proc/loadavg", "proc/stat", "proc/pressure/memory", "proc/1/mountinfo", "proc/1/net/snmp"} {
		m.repair(name)
	}
	s.awaitLevel("the host to be well", func(r resilience.Status) bool { return r.Level == shivx.LevelNormal })
	s.knows()
}

// damagedFurther damages the files that were well so far.
func (s *scene) damagedFurther(m *fakeMachine) {
	s.t.Helper()
	m.damage("proc/loadavg", "inf -1 nan 2/many 1\n")
	s.knows("load: /proc/loadavg", "threads: /proc/loadavg")
	m.remove("proc/sys/fs/file-nr")
	s.knows("load: /proc/loadavg", "threads: /proc/loadavg", "open_files: ")
	m.damage("proc/1/mountinfo", "31 21 0:41 / /data\n")
	s.knows("load: /proc/loadavg", "threads: /proc/loadavg", "open_files: ", "disk[/data]: /proc/1/mountinfo", "disk[/spare]: /proc/1/mountinfo")
	for _, name := range []string{"proc/loadavg", "proc/sys/fs/file-nr", "proc/1/mountinfo"} {
		m.repair(name)
	}
	s.knows()
}

// allGone takes away every file, and brings them back.
func (s *scene) allGone(m *fakeMachine) {
	t := s.t
	t.Helper()
	require.NoError(t, os.Rename(filepath.Join(m.root, "sys"), filepath.Join(m.root, "sys.away")))
	for _, name := range []string{"proc/stat", "proc/1/net/dev", "proc/1/net/snmp", "proc"} {
		m.remove(name)
	}
	gone := s.awaitLevel("nothing to be known", func(r resilience.Status) bool { return r.Score.Confidence == 0 })
	require.Equal(t, shivx.LevelNormal, gone.Level)
	require.Contains(t, gone.Held, "confidence too low: 0.0 %")
	require.NoError(t, os.Rename(filepath.Join(m.root, "sys.away"), filepath.Join(m.root, "sys")))
	for name := range steady {
		m.repair(name)
	}
	for _, name := range []string{"proc/stat", "proc/1/net/dev", "proc/1/net/snmp"} {
		m.repair(name)
	}
	s.knows()
}

// knows waits until the status names exactly these terms as missing, "NAME: REASON" with the
// beginning of the reason below the root, and checks the confidence and that the level is NORMAL.
func (s *scene) knows(missing ...string) resilience.Status {
	s.t.Helper()
	last := s.awaitLevel(fmt.Sprintf("these to be missing: %q", missing), func(r resilience.Status) bool {
		return sameTerms(missing, r.Score)
	})
	total, fresh, count := 0.0, 0.0, map[string]int{}
	for _, term := range last.Score.Terms {
		count[resourceOf(term.Name)]++
	}
	for _, term := range last.Score.Terms {
		r := resourceOf(term.Name)
		total += weights[r] / float64(count[r])
		if term.Missing == "" {
			fresh += weights[r] / float64(count[r])
		} else {
			require.True(s.t, term.Stale, "%s was known until just now", term.Name)
			require.InDelta(s.t, 100, term.Score, 0, "its last known score")
		}
	}
	require.InDelta(s.t, fresh/total, last.Score.Confidence, 1e-9)
	require.Equal(s.t, shivx.LevelNormal, last.Level)
	require.True(s.t, last.MonitoringActive)
	return last
}

func resourceOf(term string) string {
	name, _, _ := strings.Cut(term, "[")
	return name
}

// sameTerms says whether the missing terms are those wanted, inodes aside, which come and go with
// their disk and which not every file system has.
func sameTerms(want []string, score *resilience.Score) bool {
	found := 0
	for _, term := range score.Terms {
		if term.Missing == "" || resourceOf(term.Name) == "inodes" {
			continue
		}
		if !slices.Contains(score.Missing, term.Name) || !slices.ContainsFunc(want, func(w string) bool {
			name, reason, _ := strings.Cut(w, ": ")
			return name == term.Name && strings.Contains(term.Missing, reason)
		}) {
			return false
		}
		found++
	}
	return found == len(want)
}

// tellsPeople looks for what is missing in the audit and in what the command line prints.
func (s *scene) tellsPeople(missing []string) {
	s.t.Helper()
	out, code := s.Shivx(s.server, "status", "--explain", "--wide")
	require.Zero(s.t, code, out)
	records := s.AuditRecords()
	last := records[len(records)-1]
	require.Equal(s.t, shivx.EventHealthCheck, last.EventType)
	var details struct {
		Missing []string `json:"missing"`
	}
	require.NoError(s.t, json.Unmarshal(last.Details.(json.RawMessage), &details))
	for _, m := range missing {
		name, reason, _ := strings.Cut(m, ": ")
		require.Contains(s.t, details.Missing, name)
		require.Contains(s.t, out, name)
		require.Contains(s.t, out, reason)
	}
	require.Contains(s.t, out, "confidence too low")
}
