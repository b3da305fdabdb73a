package api

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/guardian/enforce"
	"github.com/shivx/shivx/internal/guardian/integrity"
	"github.com/shivx/shivx/internal/ledger"
)

// The networks of a stand's configuration.
const (
	allowedNet = "198.51.100.0/28"
	proxyNet   = "10.20.0.0/16"
	proxyPeer  = "10.20.0.1:4711"
)

// standRules allow a network and trust proxies.
func standRules(t testing.TB) config.Guardian {
	t.Helper()
	rules := config.Default().Guardian
	rules.Allow, rules.TrustedProxies = []string{allowedNet}, []string{proxyNet}
	rules.Rules.MaxSources = 10_000
	return rules
}

// newGuardian is a real guardian on files of its own, which runs until the test ends.
func newGuardian(t testing.TB, rules config.Guardian, now func() time.Time, enforcers ...enforce.Enforcer) *guardian.Guardian {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.ndjson")
	audit, err := ledger.Open(path, ledger.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	g, err := guardian.New(guardian.Options{
		Host: "h1", Rules: rules, Ledger: audit, LedgerPath: path, Dir: dir, Logger: slog.New(slog.DiscardHandler), Now: now,
		Enforcers: enforcers})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
		require.NoError(t, audit.Close())
	})
	return g
}

// guardNow is the guardian's clock: it is read while the test goes on.
func (s *stand) guardNow() time.Time { return time.Unix(0, s.guardClock.Load()).UTC() }

// pass moves all clocks.
func (s *stand) pass(d time.Duration) {
	s.clock = s.clock.Add(d)
	s.guardClock.Store(s.clock.UnixNano())
}

// watches gives the stand a guardian that watches a folder with one file, and returns the file.
func (s *stand) watches() string {
	s.t.Helper()
	dir := s.t.TempDir()
	file := filepath.Join(dir, "program")
	require.NoError(s.t, os.WriteFile(file, []byte("what it was\n"), 0o600))
	rules := standRules(s.t)
	rules.Integrity.Paths, rules.Integrity.OnTampering = []string{dir}, "alert"
	s.guardian = newGuardian(s.t, rules, s.guardNow)
	s.parts.Guardian = s.guardian
	_, err := s.guardian.Integrity().Verify(s.t.Context())
	require.NoError(s.t, err)
	return file
}

// isolatesMany isolates sources indefinitely without waiting for the disk after each.
func (s *stand) isolatesMany(sources ...string) {
	list := make([]shivx.Isolation, len(sources))
	for i, source := range sources {
		list[i] = shivx.Isolation{Source: source, Since: s.clock, Changed: s.clock, By: "test", Offence: 1}
	}
	s.guardian.Fleet(list)
}

// isolates isolates a source for a term; 0: indefinitely.
func (s *stand) isolates(source string, term time.Duration) {
	s.t.Helper()
	_, err := s.guardian.Isolate(s.t.Context(), shivx.IsolationRequest{
		Source: source, By: "test", Why: "test", For: shivx.Duration(term), Indefinite: term == 0})
	require.NoError(s.t, err)
}

// sets sets the defense mode.
func (s *stand) sets(mode shivx.DefenseMode) {
	s.t.Helper()
	_, err := s.guardian.SetMode(s.t.Context(), shivx.ModeRequest{Mode: mode, By: "test", Why: "test", ConfirmWithin: shivx.Duration(time.Hour)})
	require.NoError(s.t, err)
}

// asks is a change of a request: it comes from a peer with a token and headers in pairs.
func asks(token, peer string, headers ...string) func(*http.Request) {
	return func(r *http.Request) {
		r.RemoteAddr = peer
		r.Header.Set("X-Api-Key", token)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
	}
}

// prepare makes what the routes that end something need: a source that is isolated, a lockdown to
// confirm, an open ticket.
func (s *stand) prepare(file string) {
	s.t.Helper()
	s.isolates("203.0.113.7", time.Hour)
	s.sets(shivx.DefenseLockdown)
	if slices.ContainsFunc(s.guardian.Integrity().Status().Tickets, func(t integrity.Ticket) bool { return t.ID == "t1" }) {
		return
	}
	_, err := s.guardian.Integrity().OpenTicket(s.t.Context(), integrity.Ticket{
		ID: "t1", Paths: []string{file}, By: "test", Why: "test", Until: s.clock.Add(time.Hour)})
	require.NoError(s.t, err)
}
