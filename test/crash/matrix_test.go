// Package crash_test kills the worker and the Temporal server with SIGKILL in the middle of
// runs and looks whether every run still ends, no effect is doubled and nothing is lost.
//
// CRASH=short runs a part of the cases, for continuous integration.
package crash_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/checkpoint"
)

// short says whether only a part of the cases is to run.
func short() bool { return os.Getenv("CRASH") == "short" }

// points are the crash points: each of the six steps, before and after its effect.
func points() []string {
	var out []string
	for _, step := range shivx.Steps() {
		out = append(out, string(step)+":before", string(step)+":after")
	}
	return out
}

// TestKilledAtEachStep is the matrix: every step, before and after its effect, the worker, the
// server or both.
func TestKilledAtEachStep(t *testing.T) {
	h := newHouse(t)
	for i, point := range points() {
		for _, who := range []string{both, worker, server} {
			if short() && who != both && i%5 != 0 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", point, who), func(t *testing.T) {
				svc := newService(t)
				s := h.agent(t, "svc", fmt.Sprintf("h%d-%s", i, who), point, svc.config(fmt.Sprintf("h%d-%s", i, who), svc.rung("first", "tells")))
				s.arm(who)
				s.awaitBlast()
				s.checkHealedOnce(svc, who)
				require.Equal(t, who != server, s.reclaimed(), "the restarted agent told Temporal at once that its step was cut off")
			})
		}
	}
}

// reclaimed says whether a step was tried again because the agent said after its restart that it
// had been cut off, and not only when its heartbeat was missed.
func (s *scene) reclaimed() bool {
	s.t.Helper()
	events := s.client.GetWorkflowHistory(s.t.Context(), shivx.SelfHealID(s.target), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		require.NoError(s.t, err)
		if e.GetActivityTaskStartedEventAttributes().GetLastFailure().GetApplicationFailureInfo().GetType() == "CutOff" {
			return true
		}
	}
	return false
}

// checkHealedOnce waits for the end of the only run and checks what it left behind.
func (s *scene) checkHealedOnce(svc *service, who string) {
	t := s.t
	end := s.awaitEnd()
	state := s.entity()
	s.report(end.WorkflowExecutionInfo.CloseTime.AsTime())
	require.Equal(t, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED, end.WorkflowExecutionInfo.Status)
	res := s.result()
	require.Equal(t, shivx.OutcomeHealed, res.Outcome, res.Message)
	require.True(t, svc.up())
	for _, step := range res.Steps {
		require.Equal(t, "done", step.State, "%s: %s", step.Step, step.Summary)
	}
	require.Len(t, state.Heals, 1, "one fault makes one run")
	require.Equal(t, shivx.OutcomeHealed, state.Last.Outcome)
	for _, step := range []string{"isolate", "recover", "reintegrate"} {
		require.Equal(t, 1, svc.effectsOf(step, ""), "effects of %s: %v", step, svc.effects())
	}
	require.Zero(t, svc.effectsOf("undo", ""))
	s.checkLedger()
	s.checkDeaths(who)
}

// checkLedger checks the records of a run that healed at its first strategy.
func (s *scene) checkLedger() {
	t, records := s.t, s.agent.Records()
	for _, step := range []shivx.Step{shivx.StepIsolate, shivx.StepRecover, shivx.StepReintegrate} {
		require.Equal(t, 1, count(records, shivx.EventStepStarted, step), "starts of %s", step)
		require.Equal(t, 1, count(records, shivx.EventStepDone, step), "ends of %s", step)
		require.Zero(t, count(records, shivx.EventStepFailed, step), "failures of %s", step)
	}
	require.Equal(t, 1, count(records, shivx.EventCheckpoint, shivx.StepCheckpoint))
	kept, err := filepath.Glob(filepath.Join(checkpoint.Dir(s.agent.Var), "goldens", "svc.*", "*.golden"))
	require.NoError(t, err)
	require.Len(t, kept, 1, "checkpoints on disk")
	require.Equal(t, 1, count(records, shivx.EventRecovery, ""))
	require.Zero(t, count(records, shivx.EventEscalation, ""))
	require.NotZero(t, count(records, shivx.EventFault, ""))
	s.agent.VerifyLedger()
}

// checkDeaths checks that those died who were to die, and that nobody died of something else.
func (s *scene) checkDeaths(who string) {
	want := map[string]int{worker: 1, server: 0, both: 1}[who]
	require.Len(s.t, s.agentKeeper.died(), want, "deaths of the worker")
}

// report notes how long the run took from the first death to its end.
func (s *scene) report(end time.Time) {
	var crash time.Time
	for _, k := range []*supervisor{s.agentKeeper, s.serverKeeper} {
		if k == nil {
			continue
		}
		if deaths := k.died(); len(deaths) > 0 && deaths[len(deaths)-1].After(s.since) {
			if last := deaths[len(deaths)-1]; crash.IsZero() || last.Before(crash) {
				crash = last
			}
		}
	}
	s.t.Logf("crash to end %s", end.Sub(crash).Round(10*time.Millisecond))
}
