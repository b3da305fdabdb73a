package main

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/mocks"

	"github.com/shivx/shivx"
	guardianacts "github.com/shivx/shivx/activities/guardian"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/workflows"
)

// needGuards returns the shared world, whose agent has a guardian that enforces nothing.
func needGuards(t *testing.T) *world {
	t.Helper()
	w := needServer(t)
	t.Setenv("SSH_CONNECTION", "")
	t.Setenv("SSH_CLIENT", "")
	return w
}

func TestIsolationsThroughTemporal(t *testing.T) {
	w := needGuards(t)
	want(t, exitOK, []string{"203.0.113.7: isolated until ", " (1h00m) by ana\nhosts follow within seconds"},
		"guardian", "isolate", "203.0.113.7", "--why", "scans us")
	want(t, exitOK, []string{"203.0.113.7: isolated until ", "it was isolated before, and the longer term holds"}, "guardian", "isolate", "203.0.113.7", "--for", "1m")
	want(t, exitOK, []string{"203.0.113.7: isolated until ", " (2h00m) by bob"}, "guardian", "extend", "203.0.113.7", "--for", "2h", "--by", "bob", "--why", "still there")
	want(t, exitOK, []string{"2001:db8::/64: isolated until it is restored by ana"}, "guardian", "isolate", "2001:db8::7", "--indefinite")
	r := awaitOut(t, "2001:db8::/64", "guardian", "status", "--fleet")
	require.Contains(t, r.out, "fleet: NORMAL\n")
	require.Regexp(t, `(?m)^203\.0\.113\.7 +(2h00m|1h59m) +[\d :-]+ +bob +scans us$`, awaitOut(t, "bob", "guardian", "status", "--fleet").out)
	view := decode[guardianFleetView](t, want(t, exitOK, nil, "guardian", "status", "--fleet", "-o", "json"))
	require.Equal(t, int64(2), view.Isolated)
	want(t, exitOK, []string{"203.0.113.7\tuntil ", "2001:db8::/64\tuntil it is restored"}, "__complete", "guardian", "restore", "")

	want(t, exitOK, []string{"203.0.113.7: isolated until ", "workflow", "isolation/203.0.113.7", "WHEN", "still there"}, "runs", "show", "isolation/203.0.113.7")
	require.NotContains(t, shivxRun("runs").out, "isolation/")

	// The agent follows the fleet, and its audit tells of it.
	audit := []string{"ledger", "show", "--ledger", "guardian", "--var", w.file("var"), "--limit", "0"}
	r = awaitOut(t, "bob: still there", audit...)
	require.Regexp(t, `(?m)isolation +203\.0\.113\.7 +until [\d :-]+ +followed_fleet`, r.out)
	awaitOut(t, "2001:db8::/64", audit...)
	one := want(t, exitOK, []string{"203.0.113.7"}, append(audit, "--component", "203.0.113.7")...)
	require.NotContains(t, one.out, "2001:db8")

	want(t, exitOK, []string{"203.0.113.7: let go by ana\nhosts follow within seconds"}, "guardian", "restore", "203.0.113.7", "--why", "ours")
	want(t, exitOK, []string{"203.0.113.7: let go by ana: ours", "ended", "still there"}, "runs", "show", "isolation/203.0.113.7", "--wide")
	story := decode[guardianRun[workflows.IsolationState]](t, want(t, exitOK, nil, "runs", "show", "isolation/203.0.113.7", "-o", "json"))
	require.Equal(t, workflows.IsolationRestored, story.Outcome)
	require.True(t, story.Status.Lifted)
	for _, args := range [][]string{{"restore", "203.0.113.7"}, {"extend", "203.0.113.7", "--for", "1h"}, {"restore", "192.0.2.1"}} {
		want(t, exitRefused, []string{" is not isolated — shivx guardian status --fleet lists what is"}, append([]string{"guardian"}, args...)...)
	}
	want(t, exitOK, []string{"let go"}, "guardian", "restore", "2001:db8::1")

	awaitOut(t, "ana: ours", audit...)
	want(t, exitOK, []string{"as it was written"}, "ledger", "verify", "--ledger", "guardian", "--var", w.file("var"), "--no-witness")
}

func TestLockdownOfTheFleet(t *testing.T) {
	needGuards(t)
	t.Cleanup(func() { shivxRun("guardian", "restore", "--lockdown") })
	want(t, exitRefused, []string{"no lockdown waits to be confirmed", "the mode of the fleet is NORMAL", "add --local there"}, "guardian", "confirm")
	want(t, exitOK, []string{"LOCKDOWN since ", " by ana: drill\nit ends by itself in 10m00s (", "hosts follow within seconds"}, "guardian", "lockdown", "--why", "drill")
	want(t, exitOK, []string{"fleet: LOCKDOWN since ", "COMPONENT"}, "status")
	want(t, exitOK, []string{"fleet: LOCKDOWN since "}, "guardian", "status", "--fleet")
	want(t, exitOK, []string{"LOCKDOWN since ", "it holds until a person ends it"}, "guardian", "confirm")
	want(t, exitOK, []string{"NORMAL since ", " by ana: false alarm"}, "guardian", "restore", "--lockdown", "--why", "false alarm")
	r := want(t, exitOK, []string{"fleet: NORMAL since ", "NORMAL → LOCKDOWN", "LOCKDOWN → NORMAL", "drill"}, "runs", "show", "defense-mode")
	require.NotContains(t, r.out, "LOCKDOWN → LOCKDOWN")
	require.NotContains(t, want(t, exitOK, nil, "status").out, "fleet:")
}

// TestNothingIsConfirmedBeforeItBegins: while no agent answers, Temporal keeps a lockdown that was asked for, and
// would keep its confirmation, too: it would begin confirmed. The client knows no update.
func TestNothingIsConfirmedBeforeItBegins(t *testing.T) {
	c := &mocks.Client{}
	c.On("DescribeWorkflowExecution", mock.Anything, shivx.DefenseModeID, "").Return(nil, serviceerror.NewNotFound("none"))
	_, err := confirmThere(t.Context(), &fleet{client: c}, "ana")
	require.ErrorContains(t, err, "no lockdown waits to be confirmed")
	coded, ok := errors.AsType[*codeError](err)
	require.True(t, ok)
	require.Equal(t, exitRefused, coded.code)
}

// TestRequestsThatTemporalKeeps: nobody works on the queue of these runs.
func TestRequestsThatTemporalKeeps(t *testing.T) {
	w := needGuards(t)
	i := shivx.Isolation{Source: "192.0.2.99", By: "ana", Since: time.Now().UTC(), Changed: time.Now().UTC()}
	id := shivx.IsolationID(i.Source)
	_, err := w.client.SignalWithStartWorkflow(t.Context(), id, shivx.SignalIsolate, i,
		guardianacts.IsolationOptions("nobody-polls-this", i), shivx.TypeThreatIsolation, workflows.IsolationInput{Source: i.Source})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.client.TerminateWorkflow(context.Background(), id, "", "the test is over") })
	const kept = "no agent answers just now: Temporal keeps the request"
	want(t, exitOK, []string{"192.0.2.99: isolated until ", kept}, "guardian", "isolate", "192.0.2.99")
	want(t, exitNotHealed, []string{"no agent answered within 10s", "it may have been taken: shivx guardian status --fleet shows it", "add --local"},
		"guardian", "extend", "192.0.2.99", "--for", "1h")
	got := decode[outcome](t, want(t, exitOK, nil, "guardian", "restore", "192.0.2.99", "-o", "json"))
	require.True(t, got.Waits)
	want(t, exitOK, []string{"192.0.2.99: isolated until it is restored by ana", "an agent, none of which answers"}, "runs", "show", id)
}

func TestGuardianRecordsInALedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guardian_audit.ndjson")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	writeRecords(t, path, []shivx.GuardianRecord{
		{EventType: shivx.EventThreat, ThreatType: shivx.ThreatBruteForceCritical, ThreatLevel: shivx.ThreatHigh, Source: "203.0.113.7", ActionTaken: shivx.ActionIsolated,
			Timestamp: at, Details: map[string]any{"reason": "203.0.113.7: 10 failed logins", "accounts": []string{"root"}, "kind": 7}},
		{EventType: shivx.EventIsolation, Source: "203.0.113.7", ActionTaken: shivx.ActionRestored, Timestamp: at, Details: shivx.Isolation{Lifted: true, By: "ana", Why: "ours"}},
		{EventType: shivx.EventIsolation, Source: "203.0.113.8", ActionTaken: shivx.ActionRestored, Timestamp: at, Details: shivx.Isolation{Lifted: true, By: "ana", Reason: "known bad"}},
		{EventType: shivx.EventMode, Source: "host:h1", ActionTaken: shivx.ActionLockdown, Timestamp: at,
			Details: shivx.ModeChange{From: shivx.DefenseNormal, To: shivx.DefenseLockdown, By: "ana", Reason: "evil \x1b[31m"}},
		{EventType: shivx.EventIngest, Source: "log:web", ActionTaken: shivx.ActionNone, Timestamp: at, Details: map[string]any{"kind": "lost", "bytes": 2048, "path": "/var/log/web"}},
		{EventType: shivx.EventEnforcement, Source: "enforcer:nftables", ActionTaken: shivx.ActionFailed, Timestamp: at, Details: map[string]any{"works": false, "error": "no table"}},
		{EventType: shivx.EventIntegrity, Source: "host:h1", ActionTaken: "baseline_created", Timestamp: at, Details: map[string]any{"entries": 3, "by": "guardian", "why": "the first start"}},
		{EventType: shivx.EventIntegrity, Source: "host:h1", ActionTaken: "ticket_opened", Timestamp: at,
			Details: map[string]any{"entries": 3, "by": "guardian", "why": "the first start", "ticket": map[string]any{"by": "ana", "why": "deploy 1.4.2"}}},
	})
	r := want(t, exitOK, nil, "ledger", "show", path)
	for _, line := range []string{
		`threat +203\.0\.113\.7 +brute_force_critical +auto_isolated +10 failed logins`, `isolation +203\.0\.113\.7 +restored +ana: ours`, `203\.0\.113\.8 +restored +by ana\n`,
		`mode +host:h1 +NORMAL → LOCKDOWN +lockdown_initiated +ana: evil \\x1b\[31m`, `ingest +log:web +lost +recorded +2\.0 KiB of /var/log/web`,
		`enforcement +enforcer:nftables +fails +failed +no table`, `integrity +host:h1 +3 entries +baseline_created +guardian: the first start`,
		`integrity +host:h1 +3 entries +ticket_opened +ana: deploy 1\.4\.2`,
	} {
		require.Regexp(t, line, r.out)
	}
	r = want(t, exitOK, []string{"lost"}, "ledger", "show", path, "--type", "ingest")
	require.NotContains(t, r.out, "203.0.113.7")
}

func writeRecords(t *testing.T, path string, records []shivx.GuardianRecord) {
	t.Helper()
	l, err := ledger.Open(path, ledger.Options{})
	require.NoError(t, err)
	for _, r := range records {
		_, err := l.Append(t.Context(), "", r)
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
}
