package peers

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

const (
	// restoreSources are isolated when the worker starts.
	restoreSources = 100_000
	// restoreAim is how long it may take from the start of the process to the last block.
	restoreAim = 2 * time.Second
	// restoreBlocked is how many are then attacked from, with all these blocks in force.
	restoreBlocked = 100
)

// TestBenchGuardianRestore measures a start of the worker with many isolations in force, from the start of
// its process to the moment when the kernel has them all: with the state that the worker saves from time to
// time, and from the audit alone. Nobody
// watches the elements as they come: the kernel would have to tell of each.
func TestBenchGuardianRestore(t *testing.T) {
	ns, dir := newNamespace(t, "r"), t.TempDir()
	security := filepath.Join(dir, "var", "security")
	isolateMany(t, security)
	log := emptyLog(t, dir)
	agent := ns.agent(t, dir, fmt.Sprintf(blockGuardian, log.Name()))
	t.Logf("%d isolations in force at the start of the worker; load average %s", restoreSources, loadAverage())
	for _, c := range []struct {
		name  string
		state bool
	}{{"with the saved state", true}, {"from the audit alone", false}} {
		if !c.state {
			if err := os.Remove(filepath.Join(security, "guardian.state")); err != nil {
				t.Fatal(err)
			}
		}
		before, begin := ns.generation(t), time.Now()
		agent.Start()
		took, sources := restored(t, ns, before, begin)
		t.Logf("  %-24s %6.2f s from the start of the process to all blocks, in one transaction; then %.0f MB of resident memory",
			c.name, took.Seconds(), megabytes(memoryOf(t, agent.PID())))
		if sources != restoreSources {
			t.Errorf("%d sources are blocked after the first transaction", sources)
		}
		if c.state && took > restoreAim {
			t.Errorf("the blocks took %s, aim %s", took, restoreAim)
		}
		if !c.state {
			more := attack(t, log, ns.watch(t), 42, restoreBlocked, 20*time.Millisecond)
			t.Logf("  each further block with these in force: p50 %.1f ms, p99 %.1f ms", ms(quantile(more, .5)), ms(quantile(more, .99)))
		}
		agent.Kill()
	}
}

// restored waits for the next generation of the namespace's ruleset, in which the kernel has all isolations
// of a transaction at once, and says how long that took since begin, and how many sources it then has.
func restored(t *testing.T, ns *namespace, before uint32, begin time.Time) (took time.Duration, sources int) {
	t.Helper()
	for ns.generation(t) == before {
		if took = time.Since(begin); took > time.Minute {
			t.Fatal("nothing was blocked within a minute")
		}
		time.Sleep(time.Millisecond)
	}
	took = time.Since(begin)
	return took, ns.elements(t, "shivx", "block4_32")
}

// isolateMany writes an audit in dir as a worker does that has isolated many sources, and its saved state.
func isolateMany(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	all := make([]shivx.Isolation, restoreSources)
	for i := range all {
		addr := netip.AddrFrom4([4]byte{50 + byte(i>>16), byte(i >> 8), byte(i), 7})
		all[i] = shivx.Isolation{
			Source: addr.String(), Since: now, Until: now.Add(time.Hour), Changed: now, Offence: 1, By: shivx.Guardian, Host: "web2",
			Type: shivx.ThreatBruteForceCritical, Reason: addr.String() + ": 10 failed logins within 10m0s, the threshold is 10",
		}
	}
	g, stop := startGuardian(t, dir, config.Default().Guardian)
	g.Fleet(all)
	for g.Brief().Unrecorded > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
}
