package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/guardian/enforce"
	"github.com/shivx/shivx/internal/guardian/integrity"
)

func TestDefenseModes(t *testing.T) {
	s := newStand(t)
	var c shivx.ModeChange
	decodeAnswer(t, s.do("PUT", "/api/guardian/mode", operatorToken, `{"mode":"lockdown","why":"test"}`), &c)
	require.Equal(t, shivx.DefenseLockdown, c.To)
	require.Equal(t, "anna", c.By)
	require.True(t, c.Unconfirmed)
	require.True(t, c.Until.Equal(c.At.Add(s.cfg.Guardian.Defense.ConfirmWithin)), "as the configuration says")

	rec := s.do("POST", "/api/guardian/mode/confirm", operatorToken, "")
	require.Equal(t, 200, rec.Code)
	require.NotContains(t, rec.Body.String(), "unconfirmed")
	require.Equal(t, 409, s.do("POST", "/api/guardian/mode/confirm", operatorToken, "").Code)
	require.Equal(t, 200, s.do("PUT", "/api/guardian/mode", s.admin, `{"mode":"NORMAL","why":"over","by":"ben"}`).Code)
	require.Equal(t, "ben", s.guardian.Mode().By)

	rec = s.do("PUT", "/api/guardian/mode", operatorToken, `{"mode":"LOCKDOWN","why":"x","confirm_within":"0s"}`)
	require.NotContains(t, rec.Body.String(), "unconfirmed")
	for body, code := range map[string]int{
		``: 400, `{}`: 400, `{"mode":"ELEVATED"}`: 400, `{"mode":"ELEVATED","why":" "}`: 400, `{"mode":"PANIC","why":"x"}`: 400,
		`{"mode":"LOCKDOWN","why":"x","confirm_within":"-1s"}`: 400, `{"mode":"LOCKDOWN","why":"x","until":"y"}`: 400,
		`{"mode":"ELEVATED","why":"x","by":"ben"}`: 403,
	} {
		require.Equal(t, code, s.do("PUT", "/api/guardian/mode", operatorToken, body).Code, body)
	}
	require.Equal(t, 403, s.do("POST", "/api/guardian/mode/confirm?by=ben", operatorToken, "").Code)
}

func TestGuardianStatus(t *testing.T) {
	s := newStand(t)
	rec := s.do("GET", "/api/guardian/status", viewerToken, "")
	for _, list := range []string{"isolations", "logs", "enforcers"} {
		require.Contains(t, rec.Body.String(), `"`+list+`":[]`)
	}
	s.isolates("203.0.113.7", time.Hour)
	for range 12 {
		require.Equal(t, 204, s.do("POST", "/api/guardian/events", gateToken, `{"source":"203.0.113.8","kind":"failure","user":"root"}`).Code)
	}
	var got guardian.Status
	decodeAnswer(t, s.do("GET", "/api/guardian/status", viewerToken, ""), &got)
	require.Equal(t, 2, got.Isolated)
	require.Equal(t, uint64(1), got.Threats.ByType[shivx.ThreatBruteForceCritical])
	require.Equal(t, shivx.DefenseNormal, got.Mode)
}

// TestStatusOfAllParts: with logs, budgets, an enforcer and watched files the answer is as documented.
func TestStatusOfAllParts(t *testing.T) {
	s := newStand(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "auth.log"), nil, 0o600))
	rules := standRules(t)
	rules.Logs = []config.Log{{Name: "auth", File: filepath.Join(dir, "auth.log"), Format: "sshd", Mode: "normal"}}
	rules.Budgets = []config.Budget{{Name: "none", Process: "/nowhere/*", CPU: 100, For: time.Minute, Action: "alert"}}
	rules.Integrity.Paths = []string{dir}
	denied := enforce.NewDenyFile(config.DenyFile{Name: "denied", Path: filepath.Join(t.TempDir(), "denied.txt"), Format: "plain"}, nil)
	s.parts.Guardian = newGuardian(t, rules, s.guardNow, denied)
	var got guardian.Status
	require.Eventually(t, func() bool {
		got = guardian.Status{}
		decodeAnswer(t, s.do("GET", "/api/guardian/status", viewerToken, ""), &got)
		return got.Enforcers[0].OK && got.Integrity.Entries > 0 && !got.Budgets.Read.IsZero()
	}, 20*time.Second, 20*time.Millisecond)
	require.Equal(t, "auth", got.Logs[0].Name)
	require.Equal(t, "none", got.Budgets.Budgets[0].Name)
}

func TestWithoutAGuardian(t *testing.T) {
	s := newStand(t)
	s.parts.Guardian = nil
	for _, r := range s.routes() {
		if strings.HasPrefix(r.path, "/api/guardian/") || strings.HasPrefix(r.path, "/v1/") {
			rec := s.do(r.method, sample(r.path), s.admin, "{}")
			require.Equal(t, 503, rec.Code, "%s %s", r.method, r.path)
			require.Contains(t, rec.Body.String(), "the guardian is not available")
		}
	}
}

func TestReportedEventsIsolate(t *testing.T) {
	s := newStand(t)
	batch := "[" + strings.Repeat(`{"source":"203.0.113.7","kind":"failure","user":"anna"},`, 9) +
		`{"source":"203.0.113.7","kind":"failure"},{"source":"::ffff:203.0.113.8","kind":"request","path":"/","status":200,"at":"2027-01-15T08:00:00Z"}]`
	require.Equal(t, 204, s.do("POST", "/api/guardian/events", gateToken, batch).Code)
	require.True(t, s.guardian.Check(netip.MustParseAddr("203.0.113.7")).Refused)
	require.Equal(t, 204, s.do("POST", "/api/guardian/events", operatorToken, `{"source":"203.0.113.9","kind":"failure","count":1000}`).Code)
	require.True(t, s.guardian.Check(netip.MustParseAddr("203.0.113.9")).Refused)
	require.Equal(t, 204, s.do("POST", "/api/guardian/events", gateToken, `[]`).Code)
}

func TestEventsThatAreRefused(t *testing.T) {
	s := newStand(t)
	rec := s.do("POST", "/api/guardian/events", appToken, `{"source":"203.0.113.7","kind":"failure"}`)
	require.Equal(t, 403, rec.Code)
	require.Contains(t, rec.Body.String(), "api.tokens[].events")
	bad := `{"source":"203.0.113.7","kind":"failure","count":1000}`
	for body, why := range map[string]string{
		``: "read the body", `null`: "is no address", `[null]`: "event 1", `{}`: "is no address", `x`: "read the body", `[` + bad: "read the body",
		bad + bad: "more than one", `[` + bad + `]]`: "more than one",
		`{"source":"a.example.org","kind":"failure"}`:                                              "is no address",
		`{"source":"203.0.113.0/24","kind":"failure"}`:                                             "is no address",
		`[` + bad + `,{"source":"203.0.113.7","kind":"attack"}]`:                                   "event 2",
		`{"source":"203.0.113.7","kind":""}`:                                                       "is no kind",
		`{"source":"203.0.113.7","kind":"failure","count":-1}`:                                     "the count",
		`{"source":"203.0.113.7","kind":"failure","count":1001}`:                                   "the count",
		`{"source":"203.0.113.7","kind":"request","status":99}`:                                    "no status",
		`{"source":"203.0.113.7","kind":"request","status":-1}`:                                    "no status",
		`{"source":"203.0.113.7","kind":"failure","at":"1600-01-01T00:00:00Z"}`:                    "not of our age",
		`{"source":"203.0.113.7","kind":"failure","at":"9000-01-01T00:00:00Z"}`:                    "not of our age",
		`{"source":"203.0.113.7","kind":"failure","level":"high"}`:                                 "unknown field",
		`[` + strings.Repeat(bad+",", maxEvents) + bad + `]`:                                       "1001 events",
		`{"source":"203.0.113.7","kind":"failure","user":"` + strings.Repeat("x", maxBatch) + `"}`: "too large",
	} {
		rec := s.do("POST", "/api/guardian/events", gateToken, body)
		require.Equal(t, 400, rec.Code, "%.80s", body)
		require.Contains(t, rec.Body.String(), why, "%.80s", body)
	}
	require.Empty(t, s.guardian.Isolations(), "one that is wrong refuses all")
}

func TestBaseline(t *testing.T) {
	s := newStand(t)
	require.Equal(t, 404, s.do("GET", "/api/guardian/baseline", viewerToken, "").Code)
	file := s.watches()
	verify := func() (r integrity.Report) {
		rec := s.do("POST", "/api/guardian/baseline/verify", operatorToken, "")
		decodeAnswer(t, rec, &r)
		require.NotContains(t, rec.Body.String(), "null")
		return r
	}
	require.Empty(t, verify().Findings)
	require.NoError(t, os.WriteFile(file, []byte("what it is now\n"), 0o600))
	require.Len(t, verify().Findings, 1)
	var b integrity.Status
	rec := s.do("GET", "/api/guardian/baseline", viewerToken, "")
	decodeAnswer(t, rec, &b)
	require.NotContains(t, rec.Body.String(), "null")
	require.Equal(t, file, b.Open[0].Path)

	var sum integrity.Summary
	decodeAnswer(t, s.do("POST", "/api/guardian/baseline", operatorToken, `{"why":"it was me"}`), &sum)
	require.Equal(t, 1, sum.Changed)
	require.Equal(t, "anna", sum.By)
	require.Empty(t, verify().Findings)
}

func TestTickets(t *testing.T) {
	s := newStand(t)
	file := s.watches()
	const path = "/api/guardian/baseline/tickets"
	var ticket integrity.Ticket
	rec := s.do("POST", path, operatorToken, `{"paths":["`+file+`"],"for":"24h","why":"deploy"}`)
	require.Equal(t, 201, rec.Code, "as long as max_ticket says: %s", rec.Body)
	decodeAnswer(t, rec, &ticket)
	require.NoError(t, os.WriteFile(file, []byte("what it is now\n"), 0o600))
	var sum integrity.Summary
	decodeAnswer(t, s.do("DELETE", path+"/"+ticket.ID, operatorToken, ""), &sum)
	require.Equal(t, ticket.ID, sum.Ticket.ID)
	require.Equal(t, 404, s.do("DELETE", path+"/"+ticket.ID, operatorToken, "").Code, "once")
	for body, code := range map[string]int{
		`{}`: 400, `x`: 400, `{"paths":["` + file + `"],"for":"1h"}`: 400, `{"paths":["` + file + `"],"why":"x"}`: 400,
		`{"paths":["` + file + `"],"for":"25h","why":"x"}`: 400, `{"paths":["/nowhere"],"for":"1h","why":"x"}`: 400,
		`{"paths":[],"for":"1h","why":"x"}`: 400, `{"paths":["` + file + `"],"for":"-1h","why":"x"}`: 400,
		`{"paths":["` + file + `"],"for":"1h","why":"x","by":"ben"}`: 403,
	} {
		require.Equal(t, code, s.do("POST", path, operatorToken, body).Code, body)
	}
	for body, code := range map[string]int{`{}`: 400, `{"why":" "}`: 400, `{"why":"x","by":"ben"}`: 403, ``: 400} {
		require.Equal(t, code, s.do("POST", "/api/guardian/baseline", operatorToken, body).Code, body)
	}
}

// TestLongAnswersAreWaitedFor: the server's deadline would keep the answer back after many files were read.
func TestLongAnswersAreWaitedFor(t *testing.T) {
	for _, patient := range []bool{false, true} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if patient {
				patiently(w)
			}
			time.Sleep(150 * time.Millisecond) // beyond the deadline, which the kernel's clock counts
			_, _ = w.Write([]byte("{}"))
		}))
		srv.Config.WriteTimeout = 50 * time.Millisecond
		srv.Start()
		resp, err := http.Post(srv.URL, "application/json", nil)
		if err == nil {
			require.NoError(t, resp.Body.Close())
		}
		require.Equal(t, patient, err == nil, "%v", err)
		srv.Close()
	}
}

// holding is a guardian that has frozen something.
type holding struct {
	*guardian.Guardian
	err error
	let []string
}

func (g *holding) LetGo(_ context.Context, source, by, why string) error {
	g.let = append(g.let, source+" by "+by+": "+why)
	return g.err
}

func TestLettingGo(t *testing.T) {
	s := newStand(t)
	g := &holding{Guardian: s.guardian}
	s.parts.Guardian = g
	rec := s.do("DELETE", isolationsPath+"/cgroup:system.slice%2Fapp.service?by=ben&why=mine", s.admin, "")
	require.Equal(t, 204, rec.Code)
	require.Equal(t, []string{"cgroup:system.slice/app.service by ben: mine"}, g.let)
	require.Equal(t, 403, s.do("DELETE", isolationsPath+"/process:1?by=ben", operatorToken, "").Code)
	g.err = errors.New("the cgroup cannot be written")
	rec = s.do("DELETE", isolationsPath+"/process:1(%2Fusr%2Fbin%2Fx)", operatorToken, "")
	require.Equal(t, 503, rec.Code)
	require.Equal(t, "process:1(/usr/bin/x) by anna: ", g.let[1])
}
