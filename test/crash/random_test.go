package crash_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/test/stand"
)

// seed of the random times; a failure is tried again with the same one.
const seed = 20240611

// TestKilledAtRandom breaks the service again and again and kills worker, server or both at a
// random time after it. Each fault ends in exactly one effective recovery.
func TestKilledAtRandom(t *testing.T) {
	kills := 40
	if short() {
		kills = 6
	}
	rnd := rand.New(rand.NewPCG(seed, seed))
	svc := newService(t)
	h := newHouse(t)
	s := h.agent(t, "svc", "random", "", svc.config("random", svc.rung("first", "tells")+", "+svc.rung("second", "tells")))
	s.awaitReady()
	stand.Await(t, patience, "the first heal", func(context.Context) bool { return svc.up() })
	for n := 1; n <= kills; n++ {
		s.entity()
		svc.breakDown()
		wait := time.Duration(rnd.IntN(800)) * time.Millisecond
		who := []string{both, worker, server}[n%3]
		time.Sleep(wait) // the random moment itself
		crash := time.Now()
		if who != worker {
			s.server.Kill()
		}
		if who != server {
			s.agent.Kill()
		}
		stand.Await(t, patience, "the fault to be healed", func(context.Context) bool {
			return svc.up() && s.recoveries() == n+1
		})
		t.Logf("%2d: %-6s after %5s, healed %6s after the crash", n, who, wait.Round(time.Millisecond), time.Since(crash).Round(10*time.Millisecond))
		s.checkNothingDoubled(svc, n+1)
	}
	s.entity()
	s.agent.VerifyLedger()
}

// recoveries counts the runs that healed.
func (s *scene) recoveries() int {
	n := 0
	for _, r := range s.agent.Records() {
		if r.EventType == shivx.EventRecovery && r.Outcome == shivx.OutcomeHealed {
			n++
		}
	}
	return n
}

// checkNothingDoubled checks the effects and records of n faults.
func (s *scene) checkNothingDoubled(svc *service, n int) {
	t := s.t
	t.Helper()
	for line, times := range svc.effects() {
		require.Equal(t, 1, times, "effect %q", line)
	}
	for _, step := range []string{"isolate", "recover", "reintegrate"} {
		require.Equal(t, n, svc.effectsOf(step, ""), "effects of %s after %d faults", step, n)
	}
	ends := map[string]int{}
	for _, r := range s.agent.Records() {
		if r.EventType == shivx.EventRecovery {
			ends[r.Run]++
			require.Equal(t, 1, ends[r.Run], "ends of run %s", r.Run)
		}
		require.NotEqual(t, shivx.EventEscalation, r.EventType, r.Message)
		require.NotEqual(t, shivx.EventStepFailed, r.EventType, r.Message)
	}
}
