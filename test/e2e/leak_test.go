package e2e_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/test/stand"
)

// TestLeaks: what leaks comes to a bad end without ShivX. With it the end is forecast and something is done before it
// comes, also after a crash of the agent, and programs that only look as if they leaked are left alone. It measures the time of real processes: nothing
// else runs beside it.
func TestLeaks(t *testing.T) {
	control, lab := newLeakLab(t), newLeakLab(t)
	for _, l := range []*leakLab{control, lab} {
		l.inMemory("leaker", shapeLeak)
		l.inMemory("cache", shapeFloor)
		l.inHandles("handles", shapeLeak)
		l.onDisk("spool", shapeLeak)
	}
	lab.inMemory("collector", shapeSawtooth)
	lab.inMemory("warming", shapeWarmUp)
	lab.onDisk("scratch", shapeSawtooth)
	leaks, healthy := []string{"leaker", "cache", "handles", "spool"}, []string{"collector", "warming", "scratch"}

	server := stand.NewServer(t)
	began := time.Now()
	gone := map[string]chan ending{}
	for _, name := range leaks {
		gone[name] = control.start(name)
		lab.start(name)
	}
	for _, name := range healthy {
		gone[name] = lab.start(name)
	}
	s := agentOf(t, server, "lab", "e2e-lab", lab.configuration())
	s.awaitHealthy()
	t.Logf("the agent is there %s after the programs", time.Since(began).Round(time.Second))
	stand.Await(t, 2*patience, "the time shortly before the first alert", func(context.Context) bool { return time.Since(began) > labCrash })
	s.Kill()
	s.Start()
	crashed := time.Now()

	first := time.Now().Add(time.Hour)
	for _, name := range leaks {
		ended := control.end(name, gone[name])
		t.Logf("%s: ends after %s without ShivX", name, ended.Sub(began).Round(time.Second))
		if at := s.prevented(name, began, ended); at.Before(first) {
			first = at
		}
	}
	require.True(t, first.Before(crashed.Add(labWarm)), "after the crash the models began with nothing: the first alert came %s after it", first.Sub(crashed))
	for name, c := range lab.memory {
		require.Zero(t, c.Killed(), "%s was not stopped in time", name)
	}
	for _, name := range append(leaks, healthy...) {
		_, full := lab.full(name)
		require.False(t, full, "%s came to its end", name)
	}
	for _, name := range healthy {
		s.leftAlone(name)
		select {
		case e := <-gone[name]:
			t.Errorf("%s was not left alone: %s", name, e.state)
		default:
		}
	}
	s.VerifyLedger()
}

// leftAlone checks that nothing was said of a healthy program and nothing done to it.
func (s *scene) leftAlone(name string) {
	s.t.Helper()
	for _, r := range s.Records() {
		require.NotEqual(s.t, name, r.Subsystem, "%s was not left alone: %s %s", name, r.EventType, r.Message)
		require.NotEqual(s.t, name, r.Component, "%s was not left alone: %s %s", name, r.EventType, r.Message)
	}
	id := shivx.MitigationID(shivx.SubsystemTarget{Subsystem: name, Host: s.host})
	_, err := s.server.Client().DescribeWorkflowExecution(s.t.Context(), id, "")
	var unknown *serviceerror.NotFound
	require.ErrorAs(s.t, err, &unknown, name)
}

// prevented checks that the end of a program was forecast, and prevented before it came, and prints the figures. It
// returns when the alert came.
func (s *scene) prevented(name string, began, ended time.Time) time.Time {
	t := s.t
	t.Helper()
	alert := s.AwaitRecord(patience, "an alert for "+name, func(r shivx.RecoveryRecord) bool {
		return r.EventType == shivx.EventPrediction && r.Subsystem == name
	})
	done := s.AwaitRecord(patience, "the end of the mitigation of "+name, func(r shivx.RecoveryRecord) bool {
		return r.EventType == shivx.EventMitigation && r.Subsystem == name
	})
	require.Equal(t, shivx.OutcomePrevented, done.Outcome, done.Message)
	text, err := json.Marshal(done.Details)
	require.NoError(t, err)
	var details struct {
		Prediction *shivx.Prediction        `json:"prediction"`
		Effects    []shivx.MitigationEffect `json:"effects"`
	}
	require.NoError(t, json.Unmarshal(text, &details))
	require.NotNil(t, details.Prediction)
	require.Len(t, details.Effects, 1)
	effect := details.Effects[0]
	require.True(t, effect.Helped, effect.Why)
	require.True(t, effect.Taken.Before(ended), "the action came after the end")
	require.Less(t, effect.After, effect.Forecast)
	for _, r := range s.Records() { // the restart itself is seen as an exit
		require.False(t, r.EventType == shivx.EventFault && r.Component == name && r.Timestamp.Before(effect.Taken), "it failed before: %s", r.Message)
	}
	p := details.Prediction
	t.Logf("%s: alert %s after the start, %s before the end without ShivX, at %.0f %% of the limit; 95 %% forecast for %s (%s to %s), 100 %% came after %s",
		name, alert.Timestamp.Sub(began).Round(time.Second), ended.Sub(alert.Timestamp).Round(time.Second), 100*p.Value,
		p.BreachAt.Sub(began).Round(time.Second), p.Low.Sub(began).Round(time.Second), p.High.Sub(began).Round(time.Second), ended.Sub(began).Round(time.Second))
	t.Logf("%s: acted %s after the alert, %s before the end: %s; probability %.2f before, %.2f after",
		name, effect.Taken.Sub(alert.Timestamp).Round(100*time.Millisecond), ended.Sub(effect.Taken).Round(time.Second), effect.Why, effect.ProbabilityBefore, effect.ProbabilityAfter)
	return alert.Timestamp
}
