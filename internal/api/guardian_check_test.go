package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// decisionFor asks as a trusted proxy that serves a client.
func (s *stand) decisionFor(client string) (code int, decision string) {
	s.t.Helper()
	rec := s.send("GET", checkPath, "", asks(appToken, proxyPeer, "X-Forwarded-For", client))
	return rec.Code, rec.Header().Get("X-Shivx-Decision")
}

func (s *stand) requireDecision(client string, code int, decision string) {
	s.t.Helper()
	c, d := s.decisionFor(client)
	require.Equal(s.t, code, c, client)
	require.Equal(s.t, decision, d, client)
}

func TestForwardAuth(t *testing.T) {
	s := newStand(t)
	s.requireDecision("203.0.113.7", 200, "allowed")
	s.isolates("203.0.113.7", time.Hour)
	s.isolates("2001:db8:0:1::5", 0)
	s.isolates("198.51.100.0/24", 0)
	s.requireDecision("203.0.113.7", 403, "isolated")
	s.requireDecision("198.51.100.7, 203.0.113.7", 403, "isolated")
	s.requireDecision("203.0.113.7, 198.51.100.7", 200, "allowed")
	s.requireDecision("203.0.113.8", 200, "allowed")
	s.requireDecision("2001:db8:0:1::9", 403, "isolated")
	s.requireDecision("2001:db8:0:2::9", 200, "allowed")
	s.requireDecision("198.51.100.15", 200, "allowed") // on the allow list, in an isolated network
	s.requireDecision("198.51.100.16", 403, "isolated")

	s.pass(time.Hour)
	s.requireDecision("203.0.113.7", 200, "allowed")
	_, err := s.guardian.Restore(t.Context(), "198.51.100.0/24", "test", "")
	require.NoError(t, err)
	s.requireDecision("198.51.100.16", 200, "allowed")
}

func TestForwardAuthInALockdown(t *testing.T) {
	s := newStand(t)
	s.isolates("203.0.113.7", time.Hour)
	s.sets(shivx.DefenseLockdown)
	s.requireDecision("203.0.113.7", 403, "lockdown")
	s.requireDecision("203.0.113.8", 403, "lockdown")
	s.requireDecision("2001:db8::1", 403, "lockdown")
	s.requireDecision("198.51.100.7", 200, "allowed")
	s.requireDecision("127.0.0.1", 200, "allowed")
	s.sets(shivx.DefenseNormal)
	s.requireDecision("203.0.113.8", 200, "allowed")
	s.requireDecision("203.0.113.7", 403, "isolated")
}

// TestForwardAuthFailsClosed: where nobody can be told apart nobody is let through.
func TestForwardAuthFailsClosed(t *testing.T) {
	s := newStand(t)
	for name, c := range map[string]struct {
		peer, decision string
		headers        []string
	}{
		"a proxy that is not trusted": {"192.0.2.1:80", "proxy not trusted", []string{"X-Forwarded-For", "198.51.100.7"}},
		"no address of the proxy":     {"@", "proxy not trusted", []string{"X-Forwarded-For", "198.51.100.7"}},
		"no client":                   {proxyPeer, "no client named", nil},
		"no client, from loopback":    {"127.0.0.1:80", "no client named", nil},
		"an empty name":               {proxyPeer, "no client named", []string{"X-Forwarded-For", ""}},
		"an empty list, loopback":     {"127.0.0.1:80", "no client named", []string{"X-Forwarded-For", " , ,"}},
		"both empty":                  {proxyPeer, "no client named", []string{"X-Forwarded-For", "", "X-Real-IP", ""}},
		"a broken chain":              {proxyPeer, "unreadable address", []string{"X-Forwarded-For", "198.51.100.7, unknown"}},
		"two of X-Real-IP":            {proxyPeer, "unreadable address", []string{"X-Real-IP", "198.51.100.7", "X-Real-IP", "198.51.100.8"}},
	} {
		rec := s.send("GET", checkPath, "", asks(appToken, c.peer, c.headers...))
		require.Equal(t, 403, rec.Code, name)
		require.Equal(t, c.decision, rec.Header().Get("X-Shivx-Decision"), name)
		require.Equal(t, "refused\n", rec.Body.String())
	}
	require.Equal(t, 1, strings.Count(s.log.String(), "forward-auth"), "told once a minute")
	before := len(s.log.String())
	s.pass(time.Minute)
	s.send("GET", checkPath, "", asks(appToken, proxyPeer))
	require.Contains(t, s.log.String()[before:], "without a client")

	require.Equal(t, 401, s.send("GET", checkPath, "", asks("wrong", proxyPeer, "X-Forwarded-For", "198.51.100.7")).Code)
	s.parts.Guardian = nil
	code, _ := s.decisionFor("198.51.100.7")
	require.Equal(t, 503, code, "no guardian, no answer")
}

func TestForwardAuthIPv6AndRealIP(t *testing.T) {
	s := newStand(t)
	s.isolates("203.0.113.7", time.Hour)
	for _, peer := range []string{"[::1]:80", "127.0.0.1:80", "[::ffff:10.20.3.4]:80"} {
		rec := s.send("GET", checkPath, "", asks(appToken, peer, "X-Real-IP", "203.0.113.7"))
		require.Equal(t, "isolated", rec.Header().Get("X-Shivx-Decision"), peer)
	}
}

// TestForwardAuthWithBothHeaders: a proxy that sets one of them may pass on the other as the client wrote it.
func TestForwardAuthWithBothHeaders(t *testing.T) {
	s := newStand(t)
	s.isolates("203.0.113.7", time.Hour)
	ask := func(forwarded, real string) string {
		return s.send("GET", checkPath, "", asks(appToken, proxyPeer, "X-Forwarded-For", forwarded, "X-Real-IP", real)).Header().Get("X-Shivx-Decision")
	}
	for _, claimed := range []string{"192.0.2.1", "198.51.100.7", "127.0.0.1", "10.20.0.9", "198.51.100.7, 10.20.0.9"} {
		require.Equal(t, "isolated", ask(claimed, "203.0.113.7"), claimed)
	}
	require.Equal(t, "isolated", ask("192.0.2.1", "::ffff:203.0.113.7"))
	require.Equal(t, "isolated", ask("203.0.113.7", "198.51.100.7"))
	require.Equal(t, "allowed", ask("192.0.2.1", "192.0.2.1"))
	require.Equal(t, "allowed", ask("192.0.2.1", "10.20.0.9"), "a proxy between")
	require.Equal(t, "allowed", ask("192.0.2.1", "192.168.1.5"), "clients may write one, too")
	s.sets(shivx.DefenseLockdown)
	require.Equal(t, "lockdown", ask("198.51.100.7", "192.0.2.1"))
	require.Equal(t, "allowed", ask("198.51.100.7", "198.51.100.7"))
	require.Equal(t, "allowed", ask("198.51.100.7", "10.20.0.9"))
}

// TestForwardAuthWithAnyMethodAndPath: Envoy asks with those of the request.
func TestForwardAuthWithAnyMethodAndPath(t *testing.T) {
	s := newStand(t)
	s.isolates("203.0.113.7", time.Hour)
	handler := s.Handler()
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"} {
		for _, path := range []string{checkPath, checkPath + "/", checkPath + "/shop//a/../b?x=%2F", checkPath + "/%2e%2e/x"} {
			for client, code := range map[string]int{"203.0.113.7": 403, "203.0.113.8": 200} {
				req := httptest.NewRequest(method, path, nil)
				req.Host = s.Address()
				asks(appToken, proxyPeer, "X-Forwarded-For", client)(req)
				rec := httptest.NewRecorder()
				handler.ServeHTTP(rec, req)
				require.Equal(t, code, rec.Code, "%s %s for %s", method, path, client)
				require.NotEmpty(t, rec.Header().Get("X-Shivx-Decision"))
			}
		}
	}
	require.Equal(t, 404, s.do("GET", checkPath+"ed", appToken, "").Code)
}

// newGate is an asker of the forward-auth for a client.
func newGate(tb testing.TB, client string) *asker {
	s := newStandFor(tb)
	sources := make([]string, 1000)
	for i := range sources {
		sources[i] = fmt.Sprintf("203.0.%d.%d", 113+i/256, i%256)
	}
	s.isolatesMany(sources...)
	// It comes back when all of them are recorded: nothing else goes on after that.
	_, err := s.guardian.Isolate(tb.Context(), shivx.IsolationRequest{Source: "203.0.120.1", By: "test", Indefinite: true})
	require.NoError(tb, err)
	a := &asker{handler: s.Handler(), request: httptest.NewRequest("GET", checkPath, nil), body: &rewound{}, sink: sink{header: http.Header{}}}
	a.request.Host = s.Address()
	asks(appToken, proxyPeer, "X-Forwarded-For", client)(a.request)
	return a
}

func BenchmarkForwardAuth(b *testing.B) {
	for name, client := range map[string]string{"allowed": "192.0.2.7", "refused": "203.0.113.7"} {
		a := newGate(b, client)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				clear(a.sink.header)
				a.handler.ServeHTTP(&a.sink, a.request)
			}
		})
	}
}

// TestForwardAuthMakesNoGarbage: it is asked for each request of each site behind the proxy.
func TestForwardAuthMakesNoGarbage(t *testing.T) {
	for client, status := range map[string]int{"192.0.2.7": 200, "203.0.113.7": 403} {
		a := newGate(t, client)
		allocs := testing.AllocsPerRun(1000, func() {
			clear(a.sink.header)
			a.handler.ServeHTTP(&a.sink, a.request)
		})
		require.Equal(t, status, a.sink.status)
		require.LessOrEqual(t, allocs, 1.0, client)
	}
}
