package crash_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// TestKilledBetweenFindingAndDispatch kills when a finding is in the ledger and has not been
// told, and when it has been told and the dispatcher's position not been saved.
func TestKilledBetweenFindingAndDispatch(t *testing.T) {
	h := newHouse(t)
	for _, point := range []string{"dispatch:before", "dispatch:after"} {
		for _, who := range []string{worker, both} {
			t.Run(point+"/"+who, func(t *testing.T) {
				svc := newService(t)
				host := "tell-" + who + "-" + point[9:]
				s := h.agent(t, "svc", host, point, svc.config(host, svc.rung("first", "tells")))
				s.arm(who)
				s.awaitBlast()
				s.checkHealedOnce(svc, who)
				faults := 0
				for _, r := range s.agent.Records() {
					if r.EventType == shivx.EventFault {
						faults++
					}
				}
				require.NotZero(t, faults)
			})
		}
	}
}
