package modules

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/resilience"
)

// statuses stands for what the checks say.
type statuses []health.ComponentStatus

func (s statuses) Status() []health.ComponentStatus { return s }

func check(name string, state health.State, failures int, lastError string, since time.Time) health.CheckStatus {
	return health.CheckStatus{Name: name, State: state, Failures: failures, LastError: lastError, Since: since}
}

func TestViewPutsEverythingTogether(t *testing.T) {
	s, _ := open(t, settings(t.TempDir()))
	require.NoError(t, s.Register(t.Context(), "worker", true, time.Minute))
	at := func(n int64) time.Time { return time.Unix(n, 0).UTC() }
	v := &View{Registry: s.Registry, Restarts: func(name string) int { return len(name) }, Health: statuses{
		{Component: "beating", State: health.StateFailing, Limit: 3, Since: at(9), Checks: []health.CheckStatus{
			check("http", health.StateHealthy, 0, "refused", at(8)),
			check("heartbeat", health.StateFailing, 1, "no heartbeat for 61s", at(5)),
		}},
		{Component: "silent", State: health.StateHealthy, Limit: 3, Since: at(3), Checks: []health.CheckStatus{
			check("a", health.StateHealthy, 0, "old", at(1)), check("b", health.StateHealthy, 0, "newer", at(2)), check("c", health.StateHealthy, 0, "", at(3)),
		}},
		{Component: "gone", State: health.StateHealthy},
		{Component: "worker", State: health.StateUnknown, Limit: 1, Checks: []health.CheckStatus{check("heartbeat", health.StateUnknown, 0, "", time.Time{})}},
	}}
	require.InDelta(t, 200.0/3, v.List()[0].Score, 1e-9)
	list := v.List()
	list[0].Score = 0
	require.Equal(t, []resilience.Module{
		{Name: "beating", Critical: true, State: "failing", Restarts: 7, LastError: "heartbeat: no heartbeat for 61s", Since: at(9)},
		{Name: "silent", State: "healthy", Score: 100, Restarts: 6, LastError: "b: newer", Since: at(3)},
		{Name: "worker", Critical: true, State: "unknown", Restarts: 6, Registered: true},
	}, list)
}

func TestScoreOfAModule(t *testing.T) {
	failing := func(limit int, fault string, failures ...int) health.ComponentStatus {
		s := health.ComponentStatus{State: health.StateFailing, Limit: limit, Fault: fault}
		for _, n := range failures {
			s.Checks = append(s.Checks, health.CheckStatus{Failures: n})
		}
		return s
	}
	for name, c := range map[string]struct {
		status health.ComponentStatus
		want   float64
	}{
		"all pass":                   {health.ComponentStatus{State: health.StateHealthy, Limit: 3, Checks: make([]health.CheckStatus, 2)}, 100},
		"one of three":               {failing(3, "", 0, 1), 100 * (1 - 1.0/3)},
		"the worst counts":           {failing(4, "", 3, 1, 2), 25},
		"a fault":                    {failing(3, "h/c/x/1", 3), 0},
		"a fault by an exit":         {failing(3, "h/c/x/1", 1), 0},
		"a fault whose checks pass":  {failing(3, "h/c/x/1", 0, 0), 0},
		"nothing answered yet":       {health.ComponentStatus{State: health.StateUnknown, Limit: 3, Checks: make([]health.CheckStatus, 2)}, 0},
		"more failures than allowed": {failing(2, "", 5), 0},
		"no limit is one":            {failing(0, "", 0), 100},
	} {
		t.Run(name, func(t *testing.T) {
			require.InDelta(t, c.want, Score(c.status), 1e-9)
		})
	}
}
