package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/resilience"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
)

// pressed watches one tmpfs, so that the machine's own disks do not count, and scores memory from
// what is in use at the start: a tenth of the machine's memory more is enough to see the level fall.
const pressed = `
resilience:
  monitor: {every: 250ms, record_every: 2s, mounts: [<mount>]}
  levels: {up_after: 1s, max_up_after: 2s}
  score:
    curves:
      - resource: memory
        points: [{at: <calm>, score: 100}, {at: <tight>, score: 40}]
      - resource: load # it remembers what ran on the machine a minute ago
        points: [{at: 100000, score: 100}]
  hooks:
    - name: stop-batch
      level: LEVEL_1
      use: script
      with: {isolate: [/bin/sh, -c, "echo shed batch >> <log>"], reintegrate: [/bin/sh, -c, "echo restore batch >> <log>"]}
    - name: drop-uploads
      level: LEVEL_3
      use: script
      with: {isolate: [/bin/sh, -c, "echo shed uploads >> <log>"], reintegrate: [/bin/sh, -c, "echo restore uploads >> <log>"]}
`

// calming is how long a machine may take to come to rest.
const calming = 4 * time.Minute

// TestDegrades walks a host from NORMAL to EMERGENCY and back by real pressure, with Temporal away
// in the middle. An application sees it through the OpenFeature SDK. It runs alone: it takes all
// there is of the machine.
func TestDegrades(t *testing.T) {
	testenv.Need(t, "stress-ng")
	server := stand.NewServer(t)
	mount, log := tmpfs(t), filepath.Join(t.TempDir(), "hooks.log")
	used := memoryUsed(t)
	s := agentOf(t, server, "walk", "e2e-walk", " []"+strings.ReplaceAll(fill(pressed,
		"mount", mount, "calm", used+4, "tight", used+10), "<log>", log))
	app := watchFeatures(t, s)
	s.awaitLevel("the calm host to be at NORMAL", func(r resilience.Status) bool {
		return r.Level == shivx.LevelNormal && r.Score.Value >= 95
	})
	// What the machine did before does not count, once it is taken back.
	stand.Await(t, patience, "no hook to be switched", func(context.Context) bool {
		said, _ := os.ReadFile(log)
		return strings.Count(string(said), "shed ") == strings.Count(string(said), "restore ")
	})
	require.NoError(t, os.RemoveAll(log))
	app.await("every feature to be on", func(on map[string]bool) bool { return len(on) == 8 && !anyOff(on) })

	// All cores, many times over: the host does less, but it is no emergency.
	cpu := stress(t, "--cpu", "16")
	st := s.awaitLevel("the CPU to cost a level", func(r resilience.Status) bool { return r.Level.WorseThan(shivx.LevelNormal) })
	require.Regexp(t, `^(cpu|pressure_cpu)`, st.Score.Terms[0].Name)
	app.await("analytics to be off, and chat on", func(on map[string]bool) bool { return !on["analytics"] && on["chat"] })

	// Memory on top.
	memory := stress(t, "--vm", "1", "--vm-bytes", "12%", "--vm-keep", "--vm-populate")
	s.awaitLevel("memory to cost more", func(r resilience.Status) bool {
		return r.Level.Rank() >= shivx.Level3.Rank() && r.Score.Terms[0].Name == "memory"
	})
	app.await("uploads to be off, memory writes still on", func(on map[string]bool) bool { return !on["uploads"] && on["memory_writes"] && on["chat"] })

	// Temporal goes away; the disk fills up.
	server.Kill()
	fillUp(t, mount)
	s.awaitLevel("the full disk to be an emergency", func(r resilience.Status) bool { return r.Level == shivx.LevelEmergency })
	app.await("the core only", func(on map[string]bool) bool { return !on["memory_writes"] && on["chat"] })
	require.Equal(t, []string{"shed batch", "shed uploads"}, lines(t, log))

	// All is well again, while Temporal is still away.
	require.NoError(t, os.Remove(filepath.Join(mount, "fill")))
	memory()
	cpu()
	s.awaitLevel("the host to rise", func(r resilience.Status) bool { return r.Level.Rank() <= shivx.Level2.Rank() })
	server.Start()
	server.Await()
	s.awaitLevel("the host to be at NORMAL again", func(r resilience.Status) bool { return r.Level == shivx.LevelNormal })
	app.await("every feature to be on again", func(on map[string]bool) bool { return len(on) == 8 && !anyOff(on) })
	stand.Await(t, patience, "the hooks to be taken back", func(context.Context) bool { return len(lines(t, log)) == 4 })
	require.Equal(t, []string{"shed batch", "shed uploads", "restore uploads", "restore batch"}, lines(t, log))
	s.agrees()
}

// agrees waits until the workflow knows every change that the ledger has, the same ones.
func (s *scene) agrees() []shivx.LevelChange {
	s.t.Helper()
	changes := s.AwaitAgreement(s.server, s.host, patience)
	s.t.Logf("%d changes, the same in the ledger and in the workflow", len(changes))
	return changes
}

// resilience is what the agent says of its level; false while it does not answer.
func (s *scene) resilience() (out resilience.Status, ok bool) {
	resp, err := s.request(http.MethodGet, "/api/resilience/status", s.token(), "")
	if err != nil {
		return out, false
	}
	defer func() { _ = resp.Body.Close() }()
	return out, resp.StatusCode == http.StatusOK && json.NewDecoder(resp.Body).Decode(&out) == nil
}

func (s *scene) awaitLevel(what string, match func(resilience.Status) bool) (last resilience.Status) {
	s.t.Helper()
	began := time.Now()
	seen := ""
	defer func() {
		if s.t.Failed() && last.Score != nil {
			s.t.Logf("last seen: %s, score %.1f, %+v", last.Level, last.Score.Value, last.Score.Terms)
		}
	}()
	stand.Await(s.t, calming, what, func(context.Context) bool {
		now, ok := s.resilience()
		if !ok || now.Score == nil { // it has not measured yet
			return false
		}
		last = now
		if l := string(now.Level); l != seen {
			seen = l
			s.t.Logf("%s", l)
		}
		return match(now)
	})
	s.t.Logf("%s: %s after %s, score %.0f", what, last.Level, time.Since(began).Round(time.Millisecond), last.Score.Value)
	return last
}
