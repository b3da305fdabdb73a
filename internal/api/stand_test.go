package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/resilience"
)

// The tokens of a stand's holders; the administrator's is made by the server.
const (
	appToken      = "token-of-the-shop"
	viewerToken   = "token-of-the-screen"
	gateToken     = "token-of-the-gate"
	operatorToken = "token-of-anna-operator"
)

// stand is a server with two components whose parts are fakes. Every answer is compared with
// docs/openapi.yaml.
type stand struct {
	*Server
	t     *testing.T
	doc   *openAPI
	admin string
	clock time.Time
	// public is the public address that a server is configured with.
	public string
	log    *logged

	got  []shivx.Finding
	fail error
	// failOn is the signal for which alone it fails; "" is every.
	failOn string

	host    *fakeHost
	faults  *fakeFaults
	modules *fakeModules
	checks  []Check
	// guardian is a real one, with a clock of its own.
	guardian   *guardian.Guardian
	guardClock atomic.Int64
}

func newStand(t *testing.T) *stand {
	t.Helper()
	s := newStandFor(t)
	s.t = t
	return s
}

// newStandFor is newStand for a test that sends requests itself.
func newStandFor(t testing.TB) *stand {
	t.Helper()
	s := &stand{doc: readOpenAPI(t), clock: time.Unix(1_800_000_000, 0).UTC(), host: newFakeHost(), faults: newFakeFaults(), log: &logged{},
		modules: &fakeModules{known: map[string]resilience.Module{}}, checks: []Check{{Name: "ledger", OK: true}, {Name: "temporal", Informs: true, Detail: "away"}}}
	dir := t.TempDir()
	s.guardClock.Store(s.clock.UnixNano())
	s.guardian = newGuardian(t, standRules(t), s.guardNow)
	s.serverAt(t, dir)
	var err error
	s.admin, err = Token(dir)
	require.NoError(t, err)
	return s
}

// serverAt gives the stand a server with a var folder.
func (s *stand) serverAt(t testing.TB, dir string) {
	t.Helper()
	cfg := config.Default()
	cfg.Host, cfg.Paths.Var, cfg.API.Listen = "h1", dir, "127.0.0.1:0"
	cfg.API.PublicURL, cfg.Guardian = s.public, standRules(t)
	cfg.Components = []config.Component{
		{Name: "redis"},
		{Name: "web", Alerts: []map[string]string{{"alertname": "WebDown", "env": "prod"}}},
	}
	cfg.API.Tokens = []config.Token{
		{Name: "shop", Role: "app", Token: appToken, Modules: []string{"chat", "shop*", "a"}},
		{Name: "screen", Role: "viewer", Token: viewerToken, Modules: []string{"chat"}, Events: true},
		{Name: "anna", Role: "operator", Token: operatorToken},
		{Name: "gate", Role: "app", Token: gateToken, Events: true, Modules: []string{"chat"}},
	}
	srv, err := New(cfg, Options{
		Monitor: fakeMonitor{}, Report: s.report, Resilience: s.host, Modules: s.modules, Guardian: s.guardian, Faults: s.faults,
		Ready: func() []Check { return s.checks }, History: fakeHistory(), Logger: slog.New(slog.NewTextHandler(s.log, nil)),
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = srv.bound.Load().Close() }) // Run may have closed it
	s.Server = srv
	s.now = func() time.Time { return s.clock }
}

func (s *stand) report(_ context.Context, f shivx.Finding) error {
	if s.fail != nil && (s.failOn == "" || s.failOn == f.Signal) {
		return s.fail
	}
	s.got = append(s.got, f)
	return nil
}

// do sends a request with a token, if any.
func (s *stand) do(method, path, token, body string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.send(method, path, body, func(r *http.Request) {
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
	})
}

// send sends a request as change leaves it.
func (s *stand) send(method, path, body string, change func(*http.Request)) *httptest.ResponseRecorder {
	s.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Host = s.Address()
	if change != nil {
		change(req)
	}
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, req)
	s.doc.check(s.t, req.Method, req.URL.EscapedPath(), rec)
	return rec
}

// form posts a form with a cookie, if any.
func (s *stand) form(path string, values url.Values, cookie *http.Cookie) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.send("POST", path, values.Encode(), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		if cookie != nil {
			r.AddCookie(cookie)
		}
	})
}

// with adds a cookie to a request.
func with(c *http.Cookie) func(*http.Request) { return func(r *http.Request) { r.AddCookie(c) } }

// logged is a log that tests read.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

type fakeMonitor struct{}

func (fakeMonitor) Status() []health.ComponentStatus {
	at := time.Unix(1_799_999_990, 0).UTC()
	return []health.ComponentStatus{
		{Component: "redis", State: health.StateFailing, Since: at, Fault: "f1", Checks: []health.CheckStatus{
			{Name: "ping", Kind: "redis", State: health.StateFailing, Since: at, Failures: 3, LastError: "no answer",
				Last: &health.Result{Check: "ping", Error: "no answer", Took: time.Second, At: at}},
			{Name: "port", Kind: "tcp", State: health.StateUnknown},
		}},
		{Component: "web", State: health.StateUnknown, Checks: []health.CheckStatus{}},
	}
}

// fakeHost is a host whose level is set by tests.
type fakeHost struct {
	mu       sync.Mutex
	status   resilience.Status
	snapshot *resilience.Snapshot
	requests []shivx.OverrideRequest
	keys     []string
	err      error
}

func newFakeHost() *fakeHost {
	h := &fakeHost{status: resilience.Status{
		Host: "h1", Automatic: shivx.LevelNormal, MonitoringActive: true, UptimeSeconds: 93784, SampledAt: time.Unix(1_799_999_997, 0).UTC(),
	}}
	h.set(shivx.LevelNormal, 93)
	return h
}

// set puts the host at a level.
func (h *fakeHost) set(l shivx.Level, score float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &resilience.Snapshot{Level: l}
	h.status.DegradedFeatures = nil
	for _, f := range config.Default().Resilience.Features {
		feature := shivx.Feature{Name: f.Name, OffAt: shivx.Level(f.OffAt), Enabled: true, Reason: "on: the host is at " + string(l)}
		if f.OffAt == "never" {
			feature.OffAt = ""
		} else if !feature.OffAt.WorseThan(l) {
			feature.Enabled, feature.Reason = false, "off since 08:00 UTC on 1 Jan: the host is at "+string(l)
			h.status.DegradedFeatures = append(h.status.DegradedFeatures, feature)
		}
		s.List = append(s.List, feature)
	}
	h.snapshot = s
	h.status.Level, h.status.Changes = l, h.status.Changes+1
	h.status.Score = &resilience.Score{Value: score, Confidence: 0.98, Terms: []resilience.Term{
		{Name: "disk[/var]", Reading: "97.3 %", Score: score, Cost: 100 - score},
		{Name: "cpu", Reading: "12.0 %", Score: 100},
	}}
}

func (h *fakeHost) Status() resilience.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

func (h *fakeHost) Features() *resilience.Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.snapshot
}

func (h *fakeHost) Override(_ context.Context, key string, r shivx.OverrideRequest) (shivx.LevelChange, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return shivx.LevelChange{}, h.err
	}
	h.keys, h.requests = append(h.keys, key), append(h.requests, r)
	c := shivx.LevelChange{Host: "h1", Ledger: "abc", Number: 7, From: h.status.Level, To: h.status.Level, Cause: shivx.CauseOverrideEnd,
		Reason: "test", Confidence: 0.98, At: time.Unix(1_800_000_000, 0).UTC()}
	if h.status.Override = nil; !r.End {
		h.status.Override = &shivx.Override{Level: r.Level, By: r.By, Why: r.Why, Since: c.At, Until: c.At.Add(r.For.Std())}
		c.To, c.Cause, c.Override = r.Level, shivx.CauseOverride, h.status.Override
	}
	return c, nil
}
