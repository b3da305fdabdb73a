package crash_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
)

// forecastSection has an action against the failure of a subsystem.
const forecastSection = `
forecast:
  schedule: 0s
  subsystems:
    - name: space
      model: exhaustion
      series: [{path: "{dir}"}]
      mitigations: [{name: tidy, use: script, with: {dir: "{files}/tells"}, measure_after: 100ms}]
`

// TestKilledInAMitigation kills around the action of a mitigation: its effect takes place once, and it counts for the
// budget after the restart.
func TestKilledInAMitigation(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct{ point, who string }{
		{"act:before", worker}, {"act:after", worker}, {"act:before", both}, {"act:after", both},
	} {
		t.Run(c.point+"/"+c.who, func(t *testing.T) {
			svc := newService(t)
			svc.write("up", "", 0o644)
			host := strings.ReplaceAll(c.point, ":", "-") + "-" + c.who
			s := h.agent(t, "svc", host, c.point, svc.config(host, svc.rung("first", "tells"))+strings.ReplaceAll(forecastSection, "{files}", svc.dir))
			s.awaitReady()
			target := shivx.SubsystemTarget{Subsystem: "space", Host: host}
			mitigate := func() client.WorkflowRun {
				run, err := s.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
					ID: shivx.MitigationID(target), TaskQueue: shivx.RunbookQueue, WorkflowTaskTimeout: shivx.TaskTimeout,
				}, shivx.TypeMitigation, shivx.MitigationInput{SubsystemTarget: target, Action: "tidy"})
				require.NoError(t, err)
				return run
			}
			s.arm(c.who)
			run := mitigate()
			s.awaitBlast()
			var out shivx.MitigationResult
			require.NoError(t, run.Get(t.Context(), &out))
			require.Equal(t, shivx.OutcomeUnneeded, out.Outcome, "nothing is forecast: %s", out.Message)
			require.Len(t, svc.effects(), 1)
			for effect, times := range svc.effects() {
				require.Contains(t, effect, "/act/tidy")
				require.Equal(t, 1, times)
			}
			require.Equal(t, 1, count(s.agent.Records(), shivx.EventStepDone, shivx.Step(shivx.MitigationAct)))
			require.ErrorContains(t, mitigate().Get(t.Context(), nil), "the last mitigation of space was at ")
			s.agent.VerifyLedger()
			s.checkDeaths(c.who)
		})
	}
}
