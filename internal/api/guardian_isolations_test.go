package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

const isolationsPath = "/api/guardian/isolations"

func TestIsolateExtendAndRestore(t *testing.T) {
	s := newStand(t)
	for _, path := range []string{"203.0.113.0/24", "203.0.113.0%2F24", "203.0.113.0%2f24", "203.0.113.9%2F24"} {
		var i shivx.Isolation
		decodeAnswer(t, s.do("POST", isolationsPath, operatorToken, `{"source":"203.0.113.0/24","for":"1h","why":"test"}`), &i)
		require.Equal(t, "203.0.113.0/24", i.Source)
		require.Equal(t, "anna", i.By)
		require.True(t, i.Until.Equal(s.clock.Add(time.Hour)))

		var held isolatedAnswer
		decodeAnswer(t, s.do("GET", isolationsPath+"/"+path, appToken, ""), &held)
		require.Equal(t, "203.0.113.0/24", held.Source)
		require.True(t, held.Refused && held.Isolated)

		var longer shivx.Isolation
		decodeAnswer(t, s.do("PUT", isolationsPath+"/"+path, operatorToken, `{"source":"192.0.2.9","indefinite":true}`), &longer)
		require.Equal(t, "203.0.113.0/24", longer.Source, "that of the path counts")
		require.True(t, longer.Until.IsZero())

		var lifted shivx.Isolation
		decodeAnswer(t, s.do("DELETE", isolationsPath+"/"+path+"?why=false+alarm", operatorToken, ""), &lifted)
		require.True(t, lifted.Lifted)
		require.Equal(t, "false alarm", lifted.Why)
		require.Equal(t, 404, s.do("DELETE", isolationsPath+"/"+path, operatorToken, "").Code, "once")
		require.Equal(t, 404, s.do("PUT", isolationsPath+"/"+path, operatorToken, `{"for":"1h"}`).Code)
	}
}

func TestSourcesOfIPv6(t *testing.T) {
	s := newStand(t)
	var i shivx.Isolation
	decodeAnswer(t, s.do("POST", isolationsPath, operatorToken, `{"source":"2001:db8:0:1::7"}`), &i)
	require.Equal(t, "2001:db8:0:1::/64", i.Source)
	for path, isolated := range map[string]bool{
		"2001:db8:0:1::7": true, "2001:db8:0:1::8": true, "2001:db8:0:1::/64": true, "2001:db8:0:1::%2F64": true,
		"2001:db8:0:1:8000::/65": true, "2001:db8:0:2::7": false, "2001:db8::/32": false, "::ffff:203.0.113.7": false,
	} {
		var a isolatedAnswer
		decodeAnswer(t, s.do("GET", isolationsPath+"/"+path, appToken, ""), &a)
		require.Equal(t, isolated, a.Isolated, path)
		require.Equal(t, isolated, a.Refused, path)
	}
	require.Equal(t, 200, s.do("DELETE", isolationsPath+"/2001:db8:0:1::99", operatorToken, "").Code)
}

// TestIsolatedTellsWhatHolds: the allow list, a lockdown, and networks around and within.
func TestIsolatedTellsWhatHolds(t *testing.T) {
	s := newStand(t)
	s.isolates("198.51.100.0/24", time.Hour)
	s.isolates("203.0.113.0", time.Hour)
	s.isolates("203.0.112.0/20", 0)
	ask := func(source string) (a isolatedAnswer) {
		decodeAnswer(t, s.do("GET", isolationsPath+"/"+source, appToken, ""), &a)
		return a
	}
	require.Equal(t, "203.0.113.0", ask("203.0.113.0").Isolation.Source)
	require.Equal(t, "203.0.112.0/20", ask("203.0.113.1").Isolation.Source)
	require.Equal(t, "203.0.112.0/20", ask("203.0.113.0/24").Isolation.Source, "that one of its addresses is isolated is something else")
	require.False(t, ask("203.0.0.0/16").Isolated)
	require.True(t, ask("198.51.100.0/24").Isolated)
	allowed := ask("198.51.100.3")
	require.True(t, allowed.Allowed)
	require.False(t, allowed.Isolated || allowed.Refused)
	require.Nil(t, allowed.Isolation)
	require.True(t, ask("198.51.100.0/29").Allowed)

	s.sets(shivx.DefenseLockdown)
	require.True(t, ask("203.0.113.1").Isolated, "also in a lockdown")
	free := ask("192.0.2.1")
	require.True(t, free.Lockdown && free.Refused)
	require.False(t, free.Isolated)
	require.True(t, ask("2001:db8::/32").Refused)
	require.False(t, ask("198.51.100.3").Refused)

	s.pass(time.Hour)
	require.Equal(t, "203.0.112.0/20", ask("203.0.113.0").Isolation.Source, "its own term is over")
}

func TestIsolationsThatAreRefused(t *testing.T) {
	s := newStand(t)
	for body, code := range map[string]int{
		``: 400, `null`: 400, `[]`: 400, `{}`: 400, `{"source":""}`: 400, `{"source":"example.org"}`: 400,
		`{"source":"203.0.113.7/33"}`: 400, `{"source":"203.0.113.7","for":"-1h"}`: 400,
		`{"source":"203.0.113.7","for":60}`:                                      400,
		`{"source":"203.0.113.7","for":"8761h"}`:                                 400,
		`{"source":"203.0.113.7","for":"1h","indefinite":true}`:                  400,
		`{"source":"203.0.113.7","host":"h2"}`:                                   400,
		`{"source":"203.0.113.7"}{}`:                                             400,
		`{"source":"203.0.113.7","why":"` + strings.Repeat("x", maxWhy+1) + `"}`: 400,
		`{"source":"203.0.113.7","why":"` + strings.Repeat("x", maxBody) + `"}`:  400,
		`{"source":"203.0.113.7","by":"ben"}`:                                    403,
		`{"source":"198.51.100.3"}`:                                              409,
		`{"source":"127.0.0.1"}`:                                                 409,
		`{"source":"192.0.2.1"}`:                                                 409,
		`{"source":"192.0.2.0/24"}`:                                              409,
		`{"source":"0.0.0.0/0"}`:                                                 409,
	} {
		rec := s.do("POST", isolationsPath, operatorToken, body)
		require.Equal(t, code, rec.Code, "%.80s: %s", body, rec.Body)
	}
	require.Empty(t, s.guardian.Isolations())
	require.Contains(t, s.do("POST", isolationsPath, operatorToken, `{"source":"192.0.2.0/24"}`).Body.String(), "you ask from 192.0.2.1")
	for _, path := range []string{"", "/x", "/203.0.113.7/x", "/203.0.113.7%00"} {
		require.Equal(t, 400, s.do("GET", isolationsPath+"/"+strings.TrimPrefix(path, "/"), appToken, "").Code, path)
		require.Equal(t, 400, s.do("DELETE", isolationsPath+"/"+strings.TrimPrefix(path, "/"), operatorToken, "").Code, path)
	}
	s.isolates("203.0.113.7", time.Hour)
	for body, code := range map[string]int{`{}`: 400, `{"for":"1h","by":"ben"}`: 403, `x`: 400} {
		require.Equal(t, code, s.do("PUT", isolationsPath+"/203.0.113.7", operatorToken, body).Code, body)
	}
	require.Equal(t, 403, s.do("DELETE", isolationsPath+"/203.0.113.7?by=ben", operatorToken, "").Code)
	require.Equal(t, 200, s.do("DELETE", isolationsPath+"/203.0.113.7?by=ben", s.admin, "").Code)
}

// TestOnlyOperatorsAct: viewers and apps do not, and a page of another origin does not with an operator's session.
func TestOnlyOperatorsAct(t *testing.T) {
	s := newStand(t)
	s.isolates("203.0.113.7", time.Hour)
	requests := [][3]string{
		{"POST", isolationsPath, `{"source":"203.0.113.8"}`}, {"PUT", isolationsPath + "/203.0.113.7", `{"indefinite":true}`},
		{"DELETE", isolationsPath + "/203.0.113.7", ""}, {"PUT", "/api/guardian/mode", `{"mode":"LOCKDOWN","why":"x"}`},
		{"POST", "/api/guardian/mode/confirm", ""},
	}
	for _, r := range requests {
		for _, token := range []string{appToken, viewerToken, gateToken} {
			require.Equal(t, 403, s.do(r[0], r[1], token, r[2]).Code, "%v with %s", r, token)
		}
	}
	cookie := s.session(t)
	for _, r := range requests {
		rec := s.send(r[0], r[1], r[2], func(req *http.Request) {
			req.AddCookie(cookie)
			req.Header.Set("Sec-Fetch-Site", "cross-site")
		})
		require.Equal(t, 403, rec.Code, "%v", r)
		require.Contains(t, rec.Body.String(), "another origin")
	}
	require.Len(t, s.guardian.Isolations(), 1)
	require.Equal(t, shivx.DefenseNormal, s.guardian.Mode().To)
}

// session logs an operator's browser in.
func (s *stand) session(t *testing.T) *http.Cookie {
	t.Helper()
	var link struct {
		URL string `json:"url"`
	}
	decodeAnswer(t, s.do("POST", "/api/login-links", operatorToken, ""), &link)
	u, err := url.Parse(link.URL)
	require.NoError(t, err)
	rec := s.form("/login", url.Values{"code": {u.Query().Get("code")}}, nil)
	require.Equal(t, 303, rec.Code)
	return rec.Result().Cookies()[0]
}

// TestPagesOfIsolations: every one is on one page, also when the one at the end of a page is let go.
func TestPagesOfIsolations(t *testing.T) {
	s := newStand(t)
	for i := range 25 {
		sources := make([]string, 100)
		for k := range sources {
			sources[k] = fmt.Sprintf("203.%d.%d.7", i, k)
		}
		s.pass(time.Second)
		s.isolatesMany(sources...)
	}
	seen, next, pages := map[string]int{}, "", 0
	for pages = 1; ; pages++ {
		var page isolationsAnswer
		decodeAnswer(t, s.do("GET", isolationsPath+"?after="+url.QueryEscape(next), viewerToken, ""), &page)
		require.Equal(t, 2500-(pages-1), page.Total)
		for _, i := range page.Isolations {
			seen[i.Source]++
		}
		if next = page.Next; next == "" {
			break
		}
		_, last, _ := strings.Cut(next, ",")
		require.Equal(t, 200, s.do("DELETE", isolationsPath+"/"+last, operatorToken, "").Code)
	}
	require.Equal(t, 3, pages)
	require.Len(t, seen, 2500)
	for source, n := range seen {
		require.Equal(t, 1, n, source)
	}
	for _, bad := range []string{"203.0.113.7", "x,203.0.113.7", ","} {
		require.Equal(t, 400, s.do("GET", isolationsPath+"?after="+bad, viewerToken, "").Code, bad)
	}
}

func TestIsolationsHaveATag(t *testing.T) {
	s := newStand(t)
	rec := s.do("GET", isolationsPath, viewerToken, "")
	require.JSONEq(t, `{"total":0,"isolations":[]}`, rec.Body.String())
	again := func() int {
		return s.send("GET", isolationsPath, "", func(r *http.Request) {
			r.Header.Set("X-Api-Key", viewerToken)
			r.Header.Set("If-None-Match", rec.Header().Get("Etag"))
		}).Code
	}
	require.Equal(t, 304, again())
	s.isolates("203.0.113.7", time.Hour)
	require.Equal(t, 200, again())
}

func TestLettingGoWhatIsNotContained(t *testing.T) {
	s := newStand(t)
	for _, source := range []string{"process:123", "process:123(%2Fusr%2Fbin%2Fpython3)", "cgroup:system.slice/app.service", "user:build"} {
		rec := s.do("DELETE", isolationsPath+"/"+source, operatorToken, "")
		require.Equal(t, 404, rec.Code, "%s: %s", source, rec.Body)
		require.Contains(t, rec.Body.String(), "neither frozen nor limited")
	}
}
