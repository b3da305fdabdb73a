package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/guardian/abuse"
	"github.com/shivx/shivx/internal/guardian/detect"
	"github.com/shivx/shivx/internal/guardian/enforce"
	"github.com/shivx/shivx/internal/guardian/ingest"
	"github.com/shivx/shivx/internal/guardian/integrity"
)

// guardAgent stands for the agent of a host with a guardian.
type guardAgent struct {
	status   guardian.Status
	baseline integrity.Status
	requests []string
	bodies   []string
	// isolated is the one source that is.
	isolated shivx.Isolation
	// refuse is the problem with which the next request is answered.
	refuse string
}

func (g *guardAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body strings.Builder
	var in shivx.IsolationRequest
	var mode struct {
		shivx.ModeRequest
		ConfirmWithin *shivx.Duration `json:"confirm_within"`
	}
	if r.Body != nil && r.ContentLength > 0 {
		var raw json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&raw)
		body.Write(raw)
		_, _ = json.Unmarshal(raw, &in), json.Unmarshal(raw, &mode)
	}
	g.requests, g.bodies = append(g.requests, r.Method+" "+r.URL.EscapedPath()), append(g.bodies, body.String())
	problem := func(status int, text string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	}
	if g.refuse != "" {
		problem(http.StatusForbidden, g.refuse)
		g.refuse = ""
		return
	}
	source, about := strings.CutPrefix(r.URL.Path, isolationsPath+"/")
	var answer any
	switch {
	case r.URL.Path == guardianPath:
		answer = g.status
	case r.URL.Path == baselinePath:
		answer = g.baseline
	case r.URL.Path == baselinePath+"/verify":
		answer = integrity.Report{Entries: 3, Bytes: 4096, Took: 0.25, Findings: g.baseline.Open}
	case r.URL.Path == modePath:
		from := shivx.DefenseNormal
		if mode.Mode == from {
			from = shivx.DefenseLockdown
		}
		answer = shivx.ModeChange{From: from, To: mode.Mode, By: mode.By, Reason: mode.Why, At: time.Now(), Until: time.Now().Add(10 * time.Minute),
			Unconfirmed: mode.ConfirmWithin == nil || *mode.ConfirmWithin > 0}
	case about && strings.HasPrefix(source, "cgroup:app"):
		w.WriteHeader(http.StatusNoContent)
		return
	case about && strings.HasPrefix(source, "cgroup:"):
		problem(http.StatusNotFound, `{"title":"it is neither frozen nor limited","detail":"x"}`)
		return
	case about && source != g.isolated.Source:
		problem(http.StatusNotFound, `{"title":"it is not isolated","detail":"`+source+`: it is not isolated"}`)
		return
	case in.Source == "198.51.100.3":
		problem(http.StatusConflict, `{"title":"it is on the allow list","detail":"198.51.100.3: it is on the allow list; take it out of guardian.allow first"}`)
		return
	case r.Method == http.MethodDelete:
		i := g.isolated
		i.Lifted, i.By = true, r.URL.Query().Get("by")
		answer = i
	default:
		answer = shivx.Isolation{Source: in.Source, By: in.By, Why: in.Why, Since: time.Now(), Until: time.Now().Add(in.For.Std())}
		if in.Indefinite {
			answer = shivx.Isolation{Source: in.Source, By: in.By, Why: in.Why, Since: time.Now()}
		}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func startGuardAgent(t *testing.T) *guardAgent {
	t.Helper()
	g := &guardAgent{status: calm(), isolated: shivx.Isolation{Source: "203.0.113.7", Until: time.Now().Add(time.Hour)}}
	s := httptest.NewServer(g)
	t.Cleanup(s.Close)
	t.Setenv("SHIVX_AGENT", strings.TrimPrefix(s.URL, "http://"))
	t.Setenv("SHIVX_TOKEN", "0123456789abcdef")
	t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
	t.Setenv("USER", "ana")
	t.Setenv("SUDO_USER", "")
	t.Setenv("SSH_CONNECTION", "")
	t.Setenv("SSH_CLIENT", "")
	return g
}

// calm is the status of a guardian of which there is nothing to tell.
func calm() guardian.Status {
	now := time.Now()
	return guardian.Status{
		Host: "here", Mode: shivx.DefenseNormal, Change: shivx.ModeChange{To: shivx.DefenseNormal}, Since: now,
		Logs:      []ingest.LogStatus{{Name: "ssh", Format: "sshd", Lines: 12, Events: 3, LastRead: now, LastEvent: now}},
		Enforcers: []enforce.EnforcerStatus{{Name: "nftables", OK: true, LastApplied: now}},
		Sources:   detect.Stats{Sources: 3, Capacity: 200000},
		Integrity: &integrity.Status{Entries: 3, Root: "abc", Trusted: true, Last: integrity.Report{At: now}},
	}
}

func TestStatusOfACalmGuardianFitsAScreen(t *testing.T) {
	startGuardAgent(t)
	r := want(t, exitOK, []string{"here: NORMAL\n", "isolated       nobody", "threats        none", "3 entries, verified 0s ago", "3 of at most 200000"}, "guardian", "status")
	require.NotContains(t, r.out, "!", "nothing is wrong")
	require.NotContains(t, r.out, "since 0001")
	require.LessOrEqual(t, strings.Count(r.out, "\n"), 15)
	require.Regexp(t, `(?m)^LOG +FORMAT +STATE +LINES +EVENTS +LAST LINE$`, r.out)
	require.Regexp(t, `(?m)^ssh +sshd +read +12 +3 +0s ago$`, r.out)
	require.Regexp(t, `(?m)^nftables +works +0 +0s ago$`, r.out)
	got := decode[guardian.Status](t, want(t, exitOK, nil, "guardian", "status", "--output", "json"))
	require.Equal(t, uint64(12), got.Logs[0].Lines)
}

func TestStatusSaysFirstWhatIsWrong(t *testing.T) {
	g := startGuardAgent(t)
	now := time.Now()
	s := &g.status
	s.Change = shivx.ModeChange{From: shivx.DefenseNormal, To: shivx.DefenseLockdown, By: "ana", Reason: "intruder", At: now,
		Until: now.Add(9*time.Minute + 58*time.Second + 873*time.Millisecond), Unconfirmed: true}
	s.Enforcers = append(s.Enforcers, enforce.EnforcerStatus{Name: "deny_file:nginx", Error: "exit status 1"}, enforce.EnforcerStatus{Name: "slow", OK: true, Behind: 5000})
	s.Logs = append(s.Logs,
		ingest.LogStatus{Name: "web", Silent: true, LastRead: now.Add(-90 * time.Second)}, ingest.LogStatus{Name: "far", Lag: 5 << 20, LastRead: now},
		ingest.LogStatus{Name: "gone", Error: "permission denied: let the agent read it"}, ingest.LogStatus{Name: "net", Dropped: 3, Cut: 1, LastRead: now})
	s.Integrity.Findings, s.Integrity.Trusted = 2, false
	s.Unrecorded, s.Lost = 1, 7
	s.Budgets = &abuse.Status{Budgets: []abuse.BudgetStatus{{Name: "app", Error: "no cgroups here"}},
		Contained: []abuse.Contained{{Source: "cgroup:app", Budget: "app", Action: shivx.ActionFrozen, Reason: "cgroup:app: 900 MB", Since: now}}}
	s.Isolated = 41
	for range 41 {
		s.Isolations = append(s.Isolations, shivx.Isolation{Source: "203.0.113.7", By: shivx.Guardian, Offence: 2,
			Until: now.Add(9*time.Minute + 58*time.Second + 873*time.Millisecond), Reason: "203.0.113.7: 10 failed logins\x1b[31m"})
	}
	s.Isolations[0].Until = time.Time{}
	s.Threats = guardian.Threats{Total: 3, ByType: map[shivx.ThreatType]uint64{shivx.ThreatScannerWarning: 1, shivx.ThreatBruteForceCritical: 2},
		ByLevel: map[shivx.ThreatLevel]uint64{shivx.ThreatHigh: 2, shivx.ThreatMedium: 1}}
	s.Busiest = []detect.Sighting{{Source: "203.0.113.7", Failures: 9, Last: now}, {Source: "192.0.2.9", Requests: 80, Score: 12.4, Last: now}}
	r := want(t, exitOK, []string{
		"here: LOCKDOWN since ", " by ana: intruder\nit ends by itself in 9m59s (", "unless confirmed: shivx guardian confirm",
		"! deny_file:nginx does not keep sources out: exit status 1", "! slow is 5000 changes behind",
		"! 2 watched files are not as the baseline says: shivx guardian baseline show", "! the baseline of watched files is not the one",
		"! the log web is silent: nothing read for 1m30s", "! the log far is 5.0 MiB behind", "! the log gone is not read: permission denied",
		"! 1 event is not recorded yet", "! 7 warnings were given up", "! the budget app is not watched: no cgroups here",
		"! 1 process or cgroup is frozen or limited; let go with: shivx guardian restore SOURCE --local",
		"3 recorded: 2 high, 1 medium", "brute_force_critical 2, scanner_warning 1", "1 cut off, 3 refused", "NOT READ", "SILENT", "FAILS",
		"… and 1 more: shivx guardian status --output json",
	}, "guardian", "status")
	require.Less(t, strings.LastIndex(r.out, "\n! "), strings.Index(r.out, "sources seen"))
	require.Regexp(t, `(?m)^203\.0\.113\.7 +indefinite +2 +guardian +10 failed logins\\x1b\[31m$`, r.out, "rounded, cleaned, the source not twice")
	require.Regexp(t, `(?m)^203\.0\.113\.7 +9m59s +[\d :-]+ +2 +guardian`, r.out)
	require.Regexp(t, `(?m)^cgroup:app +frozen +[\d :-]+ +app +900 MB$`, r.out)
	require.Regexp(t, `(?m)^192\.0\.2\.9 +80 +12 +0s ago$`, r.out)
	require.NotRegexp(t, `(?m)^203\.0\.113\.7 +9 `, r.out, "who is isolated is next to no threshold")
}

func TestIsolationsWorkOnTheHostWithoutTemporal(t *testing.T) {
	g := startGuardAgent(t)
	r := want(t, exitOK, []string{"203.0.113.7: isolated until ", " (1h00m) by ana\nit holds on this host now"},
		"guardian", "isolate", "203.0.113.7", "--for", "1h", "--why", "known bad", "--local")
	require.NotRegexp(t, `\d\.\d+s`, r.out)
	require.JSONEq(t, `{"source":"203.0.113.7","for":"1h0m0s","by":"ana","why":"known bad"}`, g.bodies[0])
	want(t, exitOK, []string{"2001:db8::/64: isolated until it is restored by ana"}, "guardian", "isolate", "2001:db8::7", "--indefinite", "--local")
	got := decode[shivx.Isolation](t, want(t, exitOK, nil, "guardian", "extend", "203.0.113.7", "--for", "24h", "--local", "-o", "json"))
	require.Equal(t, "203.0.113.7", got.Source)
	want(t, exitOK, []string{"203.0.113.7: let go by bob"}, "guardian", "restore", "203.0.113.7", "--why", "ours", "--by", "bob", "--local")
	want(t, exitOK, []string{"cgroup:app/x.service: let go by ana"}, "guardian", "restore", "cgroup:app/x.service", "--local")
	require.Equal(t, []string{
		"POST /api/guardian/isolations", "POST /api/guardian/isolations", "PUT /api/guardian/isolations/203.0.113.7",
		"DELETE /api/guardian/isolations/203.0.113.7", "DELETE /api/guardian/isolations/cgroup:app%2Fx.service",
	}, g.requests)

	for _, command := range []string{"restore", "extend"} {
		args := []string{"guardian", command, "203.0.113.8", "--local"}
		if command == "extend" {
			args = append(args, "--for", "1h")
		}
		r := want(t, exitRefused, nil, args...)
		require.Equal(t, "shivx: 203.0.113.8 is not isolated — shivx guardian status lists what is\n", r.err)
	}
	want(t, exitRefused, []string{"cgroup:y is neither frozen nor limited"}, "guardian", "restore", "cgroup:y", "--local")
	r = want(t, exitRefused, nil, "guardian", "isolate", "198.51.100.3", "--local")
	require.Equal(t, "shivx: 198.51.100.3: it is on the allow list; take it out of guardian.allow first\n", r.err, "said once")

	g.requests, g.refuse = nil, `{"type":"`+shivx.ProblemOtherName+`","title":"asked for in the name of another"}`
	want(t, exitOK, nil, "guardian", "isolate", "203.0.113.7", "--local")
	require.Len(t, g.requests, 2, "in the name of the token")
	require.NotContains(t, g.bodies[len(g.bodies)-1], "ana")
}

func TestNobodyIsolatesTheirOwnSession(t *testing.T) {
	g := startGuardAgent(t)
	t.Setenv("SSH_CONNECTION", "::ffff:203.0.113.5 50022 10.0.0.1 22")
	want(t, exitRefused, []string{"that would keep you out: you are logged in from", "guardian.allow"}, "guardian", "isolate", "203.0.113.0/24", "--local")
	require.Empty(t, g.requests)
	want(t, exitOK, nil, "guardian", "isolate", "203.0.113.7", "--local")
	want(t, exitOK, nil, "guardian", "isolate", "203.0.113.0/24", "--local", "--myself")
	t.Setenv("SSH_CONNECTION", "")
	t.Setenv("SSH_CLIENT", "203.0.113.5 50022 22")
	want(t, exitRefused, nil, "guardian", "isolate", "203.0.113.5")
}

// TestWhoIsAllowedStaysAllowed: Temporal knows no allow list of any host.
func TestWhoIsAllowedStaysAllowed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shivx.yaml")
	require.NoError(t, os.WriteFile(file, []byte("version: 1\nhost: here\nguardian: {allow: [203.0.113.0/28, \"2001:db8::7\"]}\n"), 0o600))
	a := &app{config: file}
	for source, allowed := range map[string]bool{
		"203.0.113.7": true, "203.0.113.0/28": true, "203.0.113.16": false, "203.0.113.0/24": false, "2001:db8::7": false, "nonsense": false,
	} {
		require.Equal(t, allowed, a.allows(source), source)
	}
	require.False(t, (&app{config: file + "x"}).allows("203.0.113.7"))
	startGuardAgent(t)
	want(t, exitOK, []string{"it is on this host's allow list"}, "guardian", "isolate", "203.0.113.7", "--local", "--config", file)
	r := want(t, exitOK, nil, "guardian", "isolate", "203.0.113.77", "--local", "--config", file)
	require.NotContains(t, r.out, "allow list")
}

// TestWaitingIsShown: nobody is left for long without a word.
func TestWaitingIsShown(t *testing.T) {
	far, printed := openTerminal(t, 24)
	a := &app{err: newScreen(far)}
	require.NoError(t, a.waiting(func() error { printed.await(t, "waiting for an answer: 1s"); return nil }))
}

func TestLockdownOnTheHost(t *testing.T) {
	g := startGuardAgent(t)
	r := want(t, exitOK, []string{"LOCKDOWN since ", " by ana: intruder\nit ends by itself in 10m00s"}, "guardian", "lockdown", "--why", "intruder", "--local")
	require.NotContains(t, r.out, "here")
	require.JSONEq(t, `{"mode":"LOCKDOWN","by":"ana","why":"intruder"}`, g.bodies[0], "the configuration says how long")
	want(t, exitOK, []string{"it holds until a person ends it"}, "guardian", "lockdown", "--why", "intruder", "--local", "--confirm-within", "0")
	require.JSONEq(t, `{"mode":"LOCKDOWN","by":"ana","why":"intruder","confirm_within":"0s"}`, g.bodies[1])
	want(t, exitOK, []string{"NORMAL since ", "by ana: restored by hand"}, "guardian", "restore", "--lockdown", "--local")
	got := decode[shivx.ModeChange](t, want(t, exitOK, nil, "guardian", "restore", "--lockdown", "--local", "-o", "json"))
	require.Equal(t, shivx.DefenseNormal, got.To)
}

func TestBaselineCommands(t *testing.T) {
	g := startGuardAgent(t)
	g.baseline = integrity.Status{Entries: 3, Root: "abcdef", Trusted: true, By: "ana", Why: "first", CreatedAt: time.Now(), Tickets: []integrity.Ticket{{ID: "t1", Why: "deploy"}}}
	want(t, exitOK, []string{"every watched file is as the baseline says", "by ana: first", "abcdef", "t1"}, "guardian", "baseline", "show")
	want(t, exitOK, []string{"every watched file is as the baseline says", "read     4.0 KiB", "took     250ms"}, "guardian", "baseline", "verify")
	want(t, exitOK, []string{"t1\tdeploy"}, "__complete", "guardian", "baseline", "close", "")
	g.baseline.Findings = 1
	g.baseline.Open = []integrity.Finding{{Path: "/opt/app/a\x1b[2J", Kind: "content", ExpectedHash: "0123456789abcdef", CurrentHash: "fedcba9876543210", At: time.Now()}}
	want(t, exitTampered, []string{"1 watched file is not as the baseline says", `/opt/app/a\x1b[2J`, "0123456789ab  fedcba987654", "baseline accept"}, "guardian", "baseline", "show")
	want(t, exitTampered, []string{"1 watched file is not as the baseline says"}, "guardian", "baseline", "verify")
	for _, command := range []string{"show", "verify"} {
		r := want(t, exitTampered, nil, "guardian", "baseline", command, "--output", "json")
		require.True(t, json.Valid([]byte(r.out)), r.out)
		require.Empty(t, r.err)
	}
}

func TestSourcesAreCompleted(t *testing.T) {
	g := startGuardAgent(t)
	g.status.Isolations = []shivx.Isolation{{Source: "203.0.113.7"}, {Source: "2001:db8::/64", Until: time.Now().Add(time.Hour)}}
	g.status.Budgets = &abuse.Status{Contained: []abuse.Contained{{Source: "cgroup:app", Action: shivx.ActionFrozen}}}
	r := want(t, exitOK, []string{"203.0.113.7\tuntil it is restored", "2001:db8::/64\tuntil ", "cgroup:app\tfrozen", ":4"}, "__complete", "guardian", "restore", "--local", "")
	require.NotContains(t, r.out, "_activeHelp_")
	r = want(t, exitOK, []string{"203.0.113.7"}, "__complete", "guardian", "extend", "--local", "")
	require.NotContains(t, r.out, "cgroup:app")
	want(t, exitOK, []string{"nginx-access\n"}, "__complete", "guardian", "replay", "--format", "")
}
