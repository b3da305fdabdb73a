package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"
	sdkworker "go.temporal.io/sdk/worker"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities/degradation"
	"github.com/shivx/shivx/internal/resilience"
	"github.com/shivx/shivx/workflows"
)

// levelAgent stands for the agent of a host with one override.
type levelAgent struct {
	status   resilience.Status
	requests []string
	// keys are the Idempotency-Keys of the requests.
	keys  []string
	asked shivx.OverrideRequest
	// refuse is the problem with which the next request is answered.
	refuse string
}

func (l *levelAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.requests, l.keys = append(l.requests, r.Method+" "+r.URL.String()), append(l.keys, r.Header.Get("Idempotency-Key"))
	if l.refuse != "" {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(l.refuse))
		l.refuse = ""
		return
	}
	answer := any(l.status)
	switch {
	case r.Method == http.MethodPost:
		if err := json.NewDecoder(r.Body).Decode(&l.asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l.status.Override = &shivx.Override{Level: l.asked.Level, By: l.asked.By, Why: l.asked.Why, Until: time.Now().Add(l.asked.For.Std())}
		answer = shivx.LevelChange{Host: "here", Number: 4, To: l.asked.Level, Cause: shivx.CauseOverride, Override: l.status.Override}
	case r.Method == http.MethodDelete && l.status.Override == nil:
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(`{"title":"there is no override to end","detail":"the level follows the score"}`))
		return
	case r.Method == http.MethodDelete:
		l.status.Override = nil
		answer = shivx.LevelChange{Host: "here", Number: 5, From: shivx.Level2, To: shivx.LevelNormal, Cause: shivx.CauseOverrideEnd}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// strained is a status with something of everything.
func strained() resilience.Status {
	now := time.Now()
	return resilience.Status{
		Host: "here", Level: shivx.Level2, Automatic: shivx.Level1, Changes: 3, Since: now.Add(-time.Minute), SampledAt: now,
		MonitoringActive: true, Held: "good enough since 10s, rises after 1m0s", Notices: []string{"the clock jumped by 2h"},
		Override: &shivx.Override{Level: shivx.Level2, By: "ana", Why: "load test", Until: now.Add(time.Hour)},
		Score: &resilience.Score{Value: 61.5, Confidence: 0.97, Missing: []string{"disk[/mnt/nfs]", "load"}, Terms: []resilience.Term{
			{Name: "memory", Reading: "92.3 %", Score: 65, Cost: 35.1},
			{Name: "disk[/mnt/nfs]", Reading: "71.0 %", Score: 96.6, Cost: 3.4, Missing: "no answer within 2s", Stale: true},
			{Name: "load", Missing: "open /proc/loadavg: permission denied"},
			{Name: "module evil\x1b[31m", Reading: "healthy", Score: 100},
		}},
		DegradedFeatures: []shivx.Feature{{Name: "analytics"}, {Name: "uploads"}},
		Hooks: []shivx.HookState{
			{Name: "stop-batch", Level: shivx.Level1, On: true, Summary: "frozen"},
			{Name: "drop-uploads", Level: shivx.Level2, Error: "exit status 1"},
		},
		Modules: []resilience.Module{{Name: "redis", Critical: true, State: "failing", Score: 33, Restarts: 2, LastError: "connection refused"}},
	}
}

func startLevelAgent(t *testing.T) *levelAgent {
	t.Helper()
	l := &levelAgent{status: strained()}
	s := httptest.NewServer(l)
	t.Cleanup(s.Close)
	t.Setenv("SHIVX_AGENT", strings.TrimPrefix(s.URL, "http://"))
	t.Setenv("SHIVX_TOKEN", "0123456789abcdef")
	t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
	t.Setenv("USER", "ana")
	t.Setenv("SUDO_USER", "")
	return l
}

func TestExplainShowsEveryTermAndTheirSum(t *testing.T) {
	l := startLevelAgent(t)
	r := want(t, exitOK, []string{
		"here: LEVEL_2\n", "61.5 of 100, measured 0s ago", "97 % of the readings", "disk[/mnt/nfs], load", "change 3",
		"by ana: load test", "by score      LEVEL_1", "analytics, uploads", "the clock jumped by 2h",
		"71.0 % earlier; missing: no answer within 2s", "missing: open /proc/loadavg: permission denied",
		`module evil\x1b[31m`, "sheds load", "off, in error", "exit status 1", "redis", "connection refused",
	}, "status", "--explain")
	require.Regexp(t, `(?m)^TERM +READING +SCORE +COSTS$`, r.out)
	require.Regexp(t, `(?m)^memory +92\.3 % +65\.0 +35\.1$`, r.out)
	require.Regexp(t, `(?m)^load +missing: open /proc/loadavg: permission denied +0\.0$`, r.out, "without a reading there is no score")
	require.Regexp(t, `(?m)^all +score = 100 − 38\.5 +61\.5 +38\.5$`, r.out)
	require.Equal(t, []string{"GET /api/resilience/status"}, l.requests)

	got := decode[resilience.Status](t, want(t, exitOK, nil, "status", "--explain", "--output", "json"))
	require.InDelta(t, 35.1, got.Score.Terms[0].Cost, 1e-9)

	require.NotContains(t, r.out, "good enough", "the override holds it")
	l.status.Override = nil
	want(t, exitOK, []string{"held", "good enough since 10s, rises after 1m0s"}, "status", "--explain")

	l.status = resilience.Status{Host: "here", Level: shivx.LevelNormal, Automatic: shivx.LevelNormal}
	r = want(t, exitOK, []string{"here: NORMAL", "nothing was measured yet", "no sample comes any more, or none yet"}, "status", "--explain")
	require.NotContains(t, r.out, "TERM")
}

func TestOverridesWorkOnTheHostWithoutTemporal(t *testing.T) {
	l := startLevelAgent(t)
	want(t, exitOK, []string{"here: held at LEVEL_1 until ", " by ana, change 4"}, "level", "set", "level-1", "--for", "30m", "--why", "upgrade", "--local")
	require.Equal(t, shivx.OverrideRequest{Level: shivx.Level1, For: shivx.Duration(30 * time.Minute), By: "ana", Why: "upgrade"}, l.asked)
	want(t, exitOK, []string{"here: the override is ended by bob; the level is NORMAL, change 5"}, "level", "clear", "--by", "bob", "--why", "all well", "--local")
	require.Equal(t, []string{"POST /api/resilience/override", "DELETE /api/resilience/override?by=bob&why=all+well"}, l.requests)
	want(t, exitRefused, []string{"there is no override to end", "the level follows the score"}, "level", "clear", "--local")
	got := decode[shivx.LevelChange](t, want(t, exitOK, nil, "level", "set", "LEVEL_2", "--for", "1h", "--why", "test", "--local", "-o", "json"))
	require.Equal(t, shivx.Level2, got.Override.Level)
}

// TestOnlyARefusedNameIsLeftOut: any other refusal is the answer, and a repetition counts once.
func TestOnlyARefusedNameIsLeftOut(t *testing.T) {
	l := startLevelAgent(t)
	l.refuse = `{"type":"` + shivx.ProblemOtherName + `","title":"asked for in the name of another","status":403}`
	want(t, exitOK, []string{"held at LEVEL_1"}, "level", "set", "LEVEL_1", "--for", "30m", "--why", "upgrade", "--local")
	require.Len(t, l.requests, 2)
	require.Empty(t, l.asked.By)
	require.Equal(t, l.keys[0], l.keys[1])
	require.NotEmpty(t, l.keys[0])
	first := l.keys[0]

	want(t, exitOK, nil, "level", "set", "LEVEL_1", "--for", "30m", "--why", "upgrade", "--local")
	require.NotEqual(t, first, l.keys[2], "asked for anew")
	for _, problem := range []string{
		`{"type":"about:blank","title":"the role operator is needed","status":403}`, `{"type":"about:blank","title":"the request came too late","status":409}`,
	} {
		l.requests, l.refuse = nil, problem
		want(t, exitRefused, nil, "level", "set", "LEVEL_1", "--for", "30m", "--why", "upgrade", "--local")
		require.Len(t, l.requests, 1)
	}
	l.requests, l.refuse = nil, `{"type":"`+shivx.ProblemOtherName+`","title":"asked for in the name of another","status":403}`
	want(t, exitRefused, nil, "level", "clear", "--by", "bob", "--local")
	require.Len(t, l.requests, 1, "who it is for was said on purpose")
}

// levelCore is the core of a host, in memory.
type levelCore struct {
	mu     sync.Mutex
	status resilience.Status
	tell   func(shivx.LevelChange)
}

var _ degradation.Core = (*levelCore)(nil)

func (c *levelCore) Status() resilience.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

func (c *levelCore) Reconcile(context.Context) ([]shivx.HookState, error) {
	return c.Status().Hooks, nil
}

func (c *levelCore) Override(_ context.Context, _ string, req shivx.OverrideRequest) (shivx.LevelChange, error) {
	c.mu.Lock()
	had := c.status.Override
	c.mu.Unlock()
	switch {
	case req.End && had == nil:
		return shivx.LevelChange{}, errors.New("no override is in force")
	case req.End:
		return c.change(shivx.LevelNormal, nil, "ended by "+req.By), nil
	}
	until := time.Now().Add(req.For.Std())
	return c.change(req.Level, &shivx.Override{Level: req.Level, By: req.By, Why: req.Why, Until: until}, "held by "+req.By+": "+req.Why), nil
}

// change makes the host's next change and tells Temporal.
func (c *levelCore) change(to shivx.Level, o *shivx.Override, why string) shivx.LevelChange {
	c.mu.Lock()
	s := &c.status
	score := 55.5
	ch := shivx.LevelChange{Host: s.Host, Ledger: "l", Number: s.Changes + 1, From: s.Level, To: to, Reason: why, Score: &score, Override: o, At: time.Now()}
	s.Level, s.Changes, s.Override = to, ch.Number, o
	c.mu.Unlock()
	c.tell(ch)
	return ch
}

// startHosts starts hosts of which there is nothing but their core, each at NORMAL.
func startHosts(t *testing.T, w *world, names ...string) map[string]*levelCore {
	t.Helper()
	const queue = "levels"
	start := func(queue string, register func(sdkworker.Worker)) {
		k := sdkworker.New(w.client, queue, sdkworker.Options{})
		register(k)
		require.NoError(t, k.Start())
		t.Cleanup(k.Stop)
	}
	start(queue, func(k sdkworker.Worker) { workflows.Register(k) })
	cores := map[string]*levelCore{}
	for _, name := range names {
		c := &levelCore{status: resilience.Status{
			Host: name, Level: shivx.LevelNormal, Automatic: shivx.LevelNormal, Score: &resilience.Score{Value: 93.25},
			DegradedFeatures: []shivx.Feature{{Name: "analytics"}}, Hooks: []shivx.HookState{{Name: "stop-batch", Level: shivx.Level1, Error: "exit status 7"}},
		}}
		c.tell = func(ch shivx.LevelChange) {
			_, err := w.client.SignalWithStartWorkflow(context.Background(), shivx.DegradationID(name), shivx.SignalHealth, ch,
				degradation.EntityOptions(queue, name), shivx.TypeDegradationResponse, workflows.DegradationInput{Host: name})
			assert.NoError(t, err)
		}
		cores[name] = c
		start(shivx.HostQueue(name), func(k sdkworker.Worker) { (&degradation.Activities{Core: c}).Register(k) })
		t.Cleanup(func() {
			_ = w.client.TerminateWorkflow(context.Background(), shivx.DegradationID(name), "", "the test is over")
		})
	}
	return cores
}

func TestLevelsOfAllHosts(t *testing.T) {
	w := needServer(t)
	cores := startHosts(t, w, "web1", "db1")
	cores["web1"].change(shivx.Level3, nil, "score below 50 in 2 samples; memory costs most")
	cores["db1"].change(shivx.LevelNormal, nil, "all well")
	awaitOut(t, "web1", "level")
	awaitOut(t, "db1", "level")
	r := awaitOut(t, "hooks in error: stop-batch: exit status 7", "level")
	require.Regexp(t, `(?m)^web1 +LEVEL_3 +\ds ago +93\.2, \ds ago +1 +hooks in error`, r.out)
	require.Regexp(t, `(?m)^db1 +NORMAL`, r.out)
	require.Regexp(t, `(?m)^HOST +LEVEL`, r.out)

	// Beside the components.
	r = want(t, exitOK, []string{"COMPONENT", "web1", "LEVEL_3"}, "status")
	require.Less(t, strings.Index(r.out, "web1"), strings.Index(r.out, "COMPONENT"))

	views := decode[[]hostView](t, want(t, exitOK, nil, "level", "--output", "json"))
	i := slices.IndexFunc(views, func(v hostView) bool { return v.Host == "web1" })
	require.Equal(t, shivx.Level3, views[i].Level)
	require.Len(t, views[i].Status.Changes, 1)

	want(t, exitOK, []string{"web1: LEVEL_3", "features off  analytics", "stop-batch", "off, in error", "NORMAL → LEVEL_3", "memory costs most"}, "level", "web1")
	one := decode[hostView](t, want(t, exitOK, nil, "level", "web1", "-o", "json"))
	require.Equal(t, "web1", one.Status.Host)
	want(t, exitError, []string{"there is no host wep1", "did you mean web1?"}, "level", "wep1")
	want(t, exitUsage, []string{"is not the name of a host"}, "level", "x' OR '1'='1")
	want(t, exitOK, []string{"web1\n", "db1\n"}, "__complete", "level", "")
}

func TestOverridesThroughTemporal(t *testing.T) {
	w := needServer(t)
	cores := startHosts(t, w, "web2", "db2")
	for _, c := range cores {
		c.change(shivx.LevelNormal, nil, "all well")
	}
	awaitOut(t, "web2", "level")
	awaitOut(t, "db2", "level")
	want(t, exitUsage, []string{"there are several hosts", "say which with --host: "}, "level", "set", "LEVEL_2", "--for", "30m", "--why", "test")
	want(t, exitOK, []string{"web2: held at LEVEL_2 until ", " by ana, change 2"},
		"level", "set", "level_2", "--for", "30m", "--why", "load test", "--host", "web2")
	awaitOut(t, "LEVEL_2 until ", "level", "web2")
	want(t, exitOK, []string{"by ana: load test", "held by ana: load test"}, "level", "web2")
	require.Nil(t, cores["db2"].Status().Override)
	want(t, exitOK, []string{"web2: the override is ended by bob; the level is NORMAL, change 3"}, "level", "clear", "--host", "web2", "--by", "bob")
	want(t, exitRefused, []string{"no override is in force"}, "level", "clear", "--host", "web2")
	got := decode[shivx.LevelChange](t, want(t, exitOK, nil, "level", "set", "LEVEL_1", "--for", "1h", "--why", "x", "--host", "db2", "-o", "json"))
	require.Equal(t, "db2", got.Host)
	want(t, exitError, []string{"there is no host nowhere"}, "level", "clear", "--host", "nowhere")
}

func TestOverrideOfAHostThatIsAway(t *testing.T) {
	w := needServer(t)
	startHosts(t, w, "web3") // its workers run the workflow of the one that is away, too
	_, err := w.client.SignalWithStartWorkflow(t.Context(), shivx.DegradationID("away"), shivx.SignalHealth, shivx.LevelChange{},
		degradation.EntityOptions("levels", "away"), shivx.TypeDegradationResponse, workflows.DegradationInput{Host: "away"})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = w.client.TerminateWorkflow(context.Background(), shivx.DegradationID("away"), "", "the test is over")
	})
	awaitOut(t, "away", "level")
	want(t, exitNotHealed, []string{"the agent of away did not take the override within 20s", "shivx level set LEVEL_1 --local"},
		"level", "set", "LEVEL_1", "--for", "1h", "--why", "x", "--host", "away")
}

func TestAnOverrideWithoutAnAnswerMayHaveBeenTaken(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		lost bool
	}{
		"no answer in time":      {context.DeadlineExceeded, true},
		"interrupted":            {context.Canceled, true},
		"Temporal went away":     {serviceerror.NewUnavailable("connection reset"), true},
		"no such host":           {serviceerror.NewNotFound("workflow not found"), false},
		"refused by the host":    {temporal.NewApplicationError("no override is in force", "NoOverride"), false},
		"taken, and carried out": {nil, false},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.lost, answerLost(c.err)) })
	}
	err := mayBeTaken(explain("override degradation@web1", context.DeadlineExceeded), "web1")
	require.ErrorContains(t, err, "no agent answered within 10s")
	require.Contains(t, hintOf(err), "it may have been taken: shivx level web1 shows it; ")
	require.Contains(t, hintOf(err), "add --local")
	var coded *codeError
	require.ErrorAs(t, err, &coded)
	require.Equal(t, exitNotHealed, coded.code)
}

func TestHostWhoseAuditWentBack(t *testing.T) {
	pairs := describeHost(workflows.DegradationState{Rewinds: []workflows.Rewind{{Ledger: "l", From: 7, ToLedger: "l", To: 5, At: time.Now()}}})
	i := slices.IndexFunc(pairs, func(p [2]string) bool { return p[0] == "went back" })
	require.Contains(t, pairs[i][1], "from change 7 to 5, seen ")
}
