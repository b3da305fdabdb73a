package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

// sample turns a route's pattern into a path.
func sample(pattern string) string {
	return strings.NewReplacer("{$}", "", "{name}", "chat", "{key}", "chat", "{file}", "status.css", "{source...}", "203.0.113.7",
		"{id}", "t1", "/api/faults/tracks", "/api/faults/tracks?subsystem=memory").Replace(pattern)
}

func TestEveryRouteAnswersItsRoleAndNoSmallerOne(t *testing.T) {
	s := newStand(t)
	file := s.watches()
	bodies := map[string]string{
		"POST /api/alerts": firing, "POST /api/resilience/override": `{"level":"LEVEL_2","for":"30m","why":"test"}`,
		"POST /api/modules":             `{"name":"chat","lease":"30s"}`,
		"POST /api/guardian/events":     `{"source":"203.0.113.8","kind":"failure"}`,
		"POST /api/guardian/isolations": `{"source":"203.0.113.9"}`, "PUT /api/guardian/isolations/{source...}": `{"for":"1h"}`,
		"PUT /api/guardian/mode": `{"mode":"ELEVATED","why":"test"}`, "POST /api/guardian/baseline": `{"why":"test"}`,
		"POST /api/guardian/baseline/tickets": `{"paths":["` + file + `"],"for":"1m","why":"test"}`,
	}
	for _, r := range s.routes() {
		for token, holds := range map[string]role{gateToken: roleApp, viewerToken: roleViewer, operatorToken: roleOperator, s.admin: roleAdmin} {
			s.host.set("NORMAL", 93)
			require.NoError(t, s.modules.Register(t.Context(), "chat", false, 0))
			s.prepare(file)
			path := sample(r.path)
			rec := s.do(r.method, path, token, bodies[r.method+" "+r.path])
			switch {
			case path == "/login" || path == checkPath: // login_test.go, guardian_check_test.go
			case holds < r.role:
				require.Equal(t, http.StatusForbidden, rec.Code, "%s %s as %s", r.method, path, holds)
				require.Contains(t, rec.Body.String(), "the role "+r.role.String()+" is needed")
			default:
				require.Less(t, rec.Code, 400, "%s %s as %s: %s", r.method, path, holds, rec.Body)
			}
		}
	}
}

func TestWithoutATokenNothingIsTold(t *testing.T) {
	s := newStand(t)
	var first string
	for _, path := range []string{"/api/components", "/api/features/chat", "/api/no-such-route", "/", "/assets/status.css", "/ofrep/v1/evaluate/flags"} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH"} {
			for _, token := range []string{"", "wrong", s.admin[:10], s.admin + "x", strings.Repeat("x", 8000)} {
				rec := s.do(method, path, token, "{}")
				require.Equal(t, http.StatusUnauthorized, rec.Code, "%s %s with %q", method, path, token)
				require.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"))
				require.Contains(t, rec.Header().Get("WWW-Authenticate"), "Bearer")
				if first == "" {
					first = rec.Body.String()
				}
				require.Equal(t, first, rec.Body.String(), "%s %s", method, path)
			}
		}
	}
	require.Equal(t, http.StatusOK, s.do("GET", "/api/health/live", "", "").Code, "liveness is open")
}

func TestSchemesOfTokens(t *testing.T) {
	s := newStand(t)
	for header, code := range map[[2]string]int{
		{"Authorization", "Bearer " + appToken}: 200,
		{"Authorization", "bearer " + appToken}: 200,
		{"Authorization", appToken}:             401,
		{"Authorization", "Basic " + appToken}:  401,
		{"Authorization", "Bearer"}:             401,
		{"X-API-Key", appToken}:                 200,
		{"X-API-Key", "wrong"}:                  401,
		{"X-API-Key", ""}:                       401,
	} {
		rec := s.send("GET", "/api/features", "", func(r *http.Request) { r.Header.Set(header[0], header[1]) })
		require.Equal(t, code, rec.Code, "%v", header)
	}
}

func TestUnknownRoutesAndMethods(t *testing.T) {
	s := newStand(t)
	require.Equal(t, http.StatusNotFound, s.do("GET", "/api/nothing", s.admin, "").Code)
	require.Equal(t, http.StatusNotFound, s.do("GET", "/assets/..%2Flogin.html", s.admin, "").Code)
	rec := s.do("PUT", "/api/resilience/override", s.admin, "")
	require.Equal(t, http.StatusMethodNotAllowed, rec.Code)
	require.Equal(t, "POST, DELETE", rec.Header().Get("Allow"))
	require.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"))
}

func TestForeignHostNamesAreRefused(t *testing.T) {
	s := newStand(t)
	for host, code := range map[string]int{
		s.Address(): 200, "localhost": 200, "LOCALHOST:9470": 200, "localhost.:1": 200, "127.0.0.1": 200, "127.9.9.9:80": 200, "[::1]:9470": 200,
		"evil.example": 421, "evil.example:9470": 421, "127.0.0.1.evil.example": 421, "192.0.2.1:9470": 421, "": 200, "localhost.evil.example": 421,
	} {
		rec := s.send("GET", "/api/health/live", "", func(r *http.Request) { r.Host = host })
		require.Equal(t, code, rec.Code, host)
	}
	s.bound.Load().hosts = nil // as on a listener others can reach
	require.Equal(t, 200, s.send("GET", "/api/health/live", "", func(r *http.Request) { r.Host = "agent.example" }).Code)
}

func TestChangedSecretsHold(t *testing.T) {
	s := newStand(t)
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("first-secret-of-ben\n"), 0o600))
	s.cfg.API.Tokens = append(s.cfg.API.Tokens,
		config.Token{Name: "ben", Role: "viewer", Token: "file:" + file},
		config.Token{Name: "short", Role: "admin", Token: "env:SHIVX_TEST_SHORT"},
		config.Token{Name: "away", Role: "admin", Token: "file:/does/not/exist"},
		config.Token{Name: "double", Role: "admin", Token: appToken})
	t.Setenv("SHIVX_TEST_SHORT", "short")
	s.access.reload()
	s.access.reload()
	require.Equal(t, 200, s.do("GET", "/api/components", "first-secret-of-ben", "").Code)
	require.Equal(t, 401, s.do("GET", "/api/features", "short", "").Code)
	require.Equal(t, 403, s.do("GET", "/api/components", appToken, "").Code, "the first holder of a secret counts")
	for _, name := range []string{"short", "away", "double"} {
		require.Equal(t, 1, strings.Count(s.log.String(), "token="+name+" "), "told once: %s", s.log)
	}
	require.NotContains(t, s.log.String(), appToken)

	require.NoError(t, os.WriteFile(file, []byte("second-secret-of-ben"), 0o600))
	s.access.reload()
	require.Equal(t, 401, s.do("GET", "/api/components", "first-secret-of-ben", "").Code)
	require.Equal(t, 200, s.do("GET", "/api/components", "second-secret-of-ben", "").Code)
}

func TestTokenIsKeptAndPrivate(t *testing.T) {
	dir := t.TempDir()
	first, err := Token(dir)
	require.NoError(t, err)
	require.Len(t, first, 64)
	again, err := Token(dir)
	require.NoError(t, err)
	require.Equal(t, first, again)
	info, err := os.Stat(filepath.Join(dir, TokenFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestRunServesAndStops(t *testing.T) {
	s := newStand(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	resp, err := http.Get("http://" + s.Address() + "/api/health/live")
	require.NoError(t, err)
	defer resp.Body.Close()
	var body map[string]string
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&body))
	require.Equal(t, "alive", body["status"])
	stop()
	require.NoError(t, <-done)
}

func TestTurnedOff(t *testing.T) {
	cfg := config.Default()
	cfg.Paths.Var, cfg.API.Listen = t.TempDir(), "off"
	s, err := New(cfg, Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.Equal(t, "off", s.Address())
	require.Empty(t, s.LoginLink())
	require.NoError(t, s.Run(t.Context()))
}
