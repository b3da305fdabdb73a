package crash_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// TestStepNobodyCanTellAbout kills the worker around a step whose scripts cannot tell whether
// their effect took place: it is not repeated, and the run goes on with the next strategy.
func TestStepNobodyCanTellAbout(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		point   string
		who     string
		effects int
	}{
		{"recover:before", worker, 0}, {"recover:after", worker, 1}, {"recover:before", both, 0}, {"recover:after", both, 1},
	} {
		t.Run(c.point+"/"+c.who, func(t *testing.T) {
			svc := newService(t)
			host := fmt.Sprintf("blind%d-%s", c.effects, c.who)
			s := h.agent(t, "svc", host, c.point, svc.config(host, svc.rung("first", "blind")+", "+svc.rung("second", "tells")))
			s.arm(c.who)
			s.awaitBlast()
			end := s.awaitEnd()
			s.entity()
			s.report(end.WorkflowExecutionInfo.CloseTime.AsTime())
			res := s.result()
			require.Equal(t, shivx.OutcomeHealed, res.Outcome, res.Message)
			require.Equal(t, "second", res.Strategy)
			require.Equal(t, c.effects, svc.effectsOf("recover", "first"))
			require.Equal(t, 1, svc.effectsOf("recover", "second"))
			require.Equal(t, 1, count(s.agent.Records(), shivx.EventStepFailed, shivx.StepRecover))
			s.agent.VerifyLedger()
			s.checkDeaths(c.who)
		})
	}
}

// TestKilledWhileTakingBack kills around the compensation of a strategy that did not help.
func TestKilledWhileTakingBack(t *testing.T) {
	h := newHouse(t)
	for _, point := range []string{"undo:before", "undo:after"} {
		t.Run(point, func(t *testing.T) {
			svc := newService(t)
			host := "undo-" + point[5:]
			s := h.agent(t, "svc", host, point, svc.config(host, svc.rung("first", "useless")+", "+svc.rung("second", "tells")))
			s.arm(both)
			s.awaitBlast()
			end := s.awaitEnd()
			s.entity()
			s.report(end.WorkflowExecutionInfo.CloseTime.AsTime())
			require.Equal(t, "second", s.result().Strategy)
			for _, effect := range [][2]string{{"isolate", ""}, {"recover", "first"}, {"undo", "first"}, {"recover", "second"}, {"reintegrate", ""}} {
				require.Equal(t, 1, svc.effectsOf(effect[0], effect[1]), "%v of %v", effect, svc.effects())
			}
			require.Zero(t, svc.effectsOf("undo", "second"))
			s.agent.VerifyLedger()
			s.checkDeaths(both)
		})
	}
}

// TestServerAwayDuringASlowStep takes the server away for longer than a step's heartbeat may be
// missing. The step goes on meanwhile, is not run twice, and its end counts.
func TestServerAwayDuringASlowStep(t *testing.T) {
	for _, away := range []time.Duration{0, 6 * time.Second} {
		t.Run("away "+away.String(), func(t *testing.T) {
			h := newHouse(t)
			h.keeper.stayAway(away)
			svc := newService(t)
			svc.write("slow", "6", 0o644)
			host := fmt.Sprintf("slow%d", int(away.Seconds()))
			s := h.agent(t, "svc", host, "recover:before", svc.config(host, svc.rung("first", "tells")+", "+svc.rung("second", "tells")))
			s.arm(server)
			s.awaitBlast()
			s.checkHealedOnce(svc, server)
		})
	}
}

// TestServerAwayForLong measures how soon a run goes on when the server comes back late.
func TestServerAwayForLong(t *testing.T) {
	const away = 25 * time.Second
	h := newHouse(t)
	h.keeper.stayAway(away)
	svc := newService(t)
	s := h.agent(t, "svc", "long", "isolate:after", svc.config("long", svc.rung("first", "tells")))
	s.arm(server)
	s.awaitBlast()
	s.checkHealedOnce(svc, server)
}
