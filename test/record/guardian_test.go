package record_test

import (
	"context"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/guardian"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// guardianQueue is served by this process.
const guardianQueue = "recording-guardian"

// guards starts a worker for the runbooks of the guardian and returns how to stop it.
func (s *studio) guards() (stop func()) {
	s.t.Helper()
	w := worker.New(s.server.Client(), guardianQueue, worker.Options{})
	workflows.Register(w)
	(&guardian.Activities{Client: s.server.Client()}).Register(w)
	activities.Escalate.Register(w, func(context.Context, activities.EscalateInput) (activities.EscalateResult, error) {
		return activities.EscalateResult{Told: []string{"chat"}}, nil
	})
	require.NoError(s.t, w.Start())
	return w.Stop
}

// begun is an isolation that a host has just begun.
func begun(host, source string, term time.Duration) shivx.Isolation {
	now := time.Now().UTC()
	return shivx.Isolation{Source: source, Since: now, Changed: now, Until: now.Add(term), Offence: 1, By: shivx.Guardian, Host: host,
		Type: shivx.ThreatBruteForceCritical, Reason: "11 failures within 1m", Threat: "threat/" + host}
}

// isolates tells of an isolation as the agent of a host does.
func (s *studio) isolates(i shivx.Isolation) run {
	s.t.Helper()
	r, err := s.server.Client().SignalWithStartWorkflow(s.t.Context(), shivx.IsolationID(i.Source), shivx.SignalIsolate, i,
		guardian.IsolationOptions(guardianQueue, i), shivx.TypeThreatIsolation, workflows.IsolationInput{Source: i.Source})
	require.NoError(s.t, err)
	return run{r.GetID(), r.GetRunID()}
}

func (s *studio) awaitIsolation(id string, ok func(workflows.IsolationState) bool) {
	s.t.Helper()
	stand.Await(s.t, patience, "the run "+id, func(ctx context.Context) bool {
		var state workflows.IsolationState
		return s.query(ctx, id, &state) && ok(state)
	})
}

// ends waits for the end of an isolation.
func (s *studio) ends(r run, outcome string) run {
	s.t.Helper()
	var out workflows.IsolationResult
	require.NoError(s.t, s.server.Client().GetWorkflow(s.t.Context(), r.id, r.runID).Get(s.t.Context(), &out))
	require.Equal(s.t, outcome, out.Outcome)
	return r
}

// isolationExpired is an isolation of two hosts whose term is made longer, then shorter, and ends.
func isolationExpired(s *studio) run {
	defer s.guards()()
	const source = "203.0.113.1"
	i := begun("h1", source, time.Hour)
	r := s.isolates(i)
	s.awaitIsolation(r.id, func(workflows.IsolationState) bool { return true })
	s.isolates(begun("h2", source, 2*time.Hour))
	s.isolates(i) // told again
	s.awaitIsolation(r.id, func(st workflows.IsolationState) bool { return len(st.Changes) == 2 })
	s.update(r.id, shivx.UpdateExtend, shivx.IsolationRequest{Indefinite: true, By: "ana", Why: "until we know more"})
	s.update(r.id, shivx.UpdateExtend, shivx.IsolationRequest{For: shivx.Duration(2 * time.Second), By: "ana", Why: "it was ours"})
	return s.ends(r, workflows.IsolationExpired)
}

// isolationRestored is isolated again in the task in which its term ends, and in the one in which it is
// lifted; no worker runs meanwhile.
func isolationRestored(s *studio) run {
	const source = "203.0.113.2"
	stop := s.guards()
	i := begun("h1", source, 2*time.Second)
	r := s.isolates(i)
	s.awaitEvent(r.id, enumspb.EVENT_TYPE_TIMER_STARTED)
	stop()
	s.awaitEvent(r.id, enumspb.EVENT_TYPE_TIMER_FIRED)
	again := begun("h2", source, time.Hour)
	s.isolates(again)
	stop = s.guards()
	s.awaitIsolation(r.id, func(st workflows.IsolationState) bool { return !st.Lifted && st.Host == "h2" })
	stop()
	again.Lifted, again.By, again.Why, again.Changed = true, "ana", "false alarm", time.Now().UTC()
	s.signal(r.id, shivx.SignalRestore, again)
	s.isolates(begun("h3", source, 2*time.Hour))
	defer s.guards()()
	s.awaitIsolation(r.id, func(st workflows.IsolationState) bool { return !st.Lifted && st.Host == "h3" })
	s.signal(r.id, shivx.SignalRestore, map[string]string{"by": "ben", "why": "our own monitoring"})
	return s.ends(r, workflows.IsolationRestored)
}

// awaitEvent waits until the history of a run has an event of that type.
func (s *studio) awaitEvent(id string, want enumspb.EventType) {
	s.t.Helper()
	stand.Await(s.t, patience, want.String()+" of "+id, func(ctx context.Context) bool {
		events := s.server.Client().GetWorkflowHistory(ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			if e, err := events.Next(); err == nil && e.EventType == want {
				return true
			}
		}
		return false
	})
}

// isolationByHand is started in the Temporal UI under any workflow id.
func isolationByHand(s *studio) run {
	defer s.guards()()
	return s.ends(s.isolatesByHand("isolate the scanner"), workflows.IsolationHandedOver)
}

// isolationHandedOver finds that the source is isolated already.
func isolationHandedOver(s *studio) run {
	defer s.guards()()
	s.isolates(begun("h1", "2001:db8::/64", time.Hour))
	return s.ends(s.isolatesByHand("isolate the scanner again"), workflows.IsolationHandedOver)
}

func (s *studio) isolatesByHand(id string) run {
	s.t.Helper()
	r, err := s.server.Client().ExecuteWorkflow(s.t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: guardianQueue},
		shivx.TypeThreatIsolation, map[string]string{"source": "2001:db8::1", "by": "ana", "for": "2h", "why": "scans us"})
	require.NoError(s.t, err)
	return run{r.GetID(), r.GetRunID()}
}

// defending is a fleet that is attacked, locked down without a word of a person, and locked down for good.
func defending(s *studio) run {
	defer s.guards()()
	tell := func(signal string, arg any) {
		_, err := s.server.Client().SignalWithStartWorkflow(s.t.Context(), shivx.DefenseModeID, signal, arg,
			guardian.DefenseOptions(guardianQueue), shivx.TypeDefenseMode, workflows.DefenseInput{})
		require.NoError(s.t, err)
	}
	await := func(what string, ok func(workflows.DefenseState) bool) {
		s.t.Helper()
		stand.Await(s.t, patience, what, func(ctx context.Context) bool {
			var state workflows.DefenseState
			return s.query(ctx, shivx.DefenseModeID, &state) && len(state.Untold) == 0 && ok(state)
		})
	}
	is := func(m shivx.DefenseMode) {
		await(string(m), func(st workflows.DefenseState) bool { return st.Shown.To == m })
	}
	tell(shivx.SignalConfigure, shivx.DefensePolicy{Threats: 3, Window: shivx.Duration(2 * time.Second), ConfirmWithin: shivx.Duration(2 * time.Second)})
	for n := range 3 {
		host := fmt.Sprint("h", n)
		tell(shivx.SignalThreat, shivx.Threat{ID: "threat/" + host, Host: host, Type: shivx.ThreatScannerCritical, Level: shivx.ThreatHigh,
			Source: "203.0.113.7", At: time.Now().UTC()})
	}
	is(shivx.DefenseElevated)
	is(shivx.DefenseNormal) // it decays
	now := time.Now().UTC()
	tell(shivx.SignalMode, shivx.ModeChange{Host: "h1", From: shivx.DefenseNormal, To: shivx.DefenseLockdown, By: shivx.Guardian,
		Reason: "/usr/bin/app was tampered with", At: now, Until: now.Add(2 * time.Second), Unconfirmed: true})
	is(shivx.DefenseLockdown)
	is(shivx.DefenseNormal) // it rolls back
	s.update(shivx.DefenseModeID, shivx.UpdateSetMode, shivx.ModeRequest{Mode: shivx.DefenseLockdown, By: "ana", Why: "intruder",
		ConfirmWithin: shivx.Duration(time.Hour)})
	s.update(shivx.DefenseModeID, shivx.UpdateConfirm, workflows.By{By: "ben"})
	await("the confirmation", func(st workflows.DefenseState) bool {
		return st.Shown.To == shivx.DefenseLockdown && !st.Shown.Unconfirmed
	})
	tell(shivx.SignalRestore, map[string]string{"by": "ana", "why": "all clear"})
	is(shivx.DefenseNormal)
	return run{id: shivx.DefenseModeID}
}
