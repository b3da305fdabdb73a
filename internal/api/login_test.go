package api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// codeOf returns the secret of a login link.
func codeOf(t *testing.T, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	require.NoError(t, err)
	require.Equal(t, "/login", u.Path)
	return u.Query().Get("code")
}

// logIn opens a link and presses its button.
func (s *stand) logIn(link string) *http.Cookie {
	s.t.Helper()
	page := s.send("GET", strings.TrimPrefix(link, "http://"+s.Address()), "", nil)
	require.Equal(s.t, http.StatusOK, page.Code)
	require.Contains(s.t, page.Body.String(), "<button>Log in</button>")
	rec := s.form("/login", url.Values{"code": {codeOf(s.t, link)}}, nil)
	require.Equal(s.t, http.StatusSeeOther, rec.Code, rec.Body)
	require.Equal(s.t, "/", rec.Header().Get("Location"))
	cookies := rec.Result().Cookies()
	require.Len(s.t, cookies, 1)
	return cookies[0]
}

func TestLoginLinkHoldsOnce(t *testing.T) {
	s := newStand(t)
	link := s.LoginLink()
	require.True(t, strings.HasPrefix(link, "http://"+s.Address()+"/login?code="), link)
	require.Len(t, codeOf(t, link), 64)
	s.send("GET", strings.TrimPrefix(link, "http://"+s.Address()), "", nil) // a preview does not use it up
	c := s.logIn(link)
	require.Equal(t, sessionCookie, c.Name)
	require.True(t, c.HttpOnly)
	require.False(t, c.Secure, "the listener has no TLS")
	require.Equal(t, http.SameSiteStrictMode, c.SameSite)
	require.Equal(t, "/", c.Path)
	require.WithinDuration(t, s.clock.Add(12*time.Hour), c.Expires, time.Second)

	require.Equal(t, 200, s.send("GET", "/", "", with(c)).Code)
	require.Equal(t, 200, s.send("GET", "/api/components", "", with(c)).Code)
	again := s.form("/login", url.Values{"code": {codeOf(t, link)}}, nil)
	require.Equal(t, http.StatusForbidden, again.Code)
	require.Contains(t, again.Body.String(), "shivx login")
	require.Equal(t, http.StatusForbidden, s.send("GET", "/login?code="+codeOf(t, link), "", nil).Code)
}

func TestOldLinksAndSessionsEnd(t *testing.T) {
	s := newStand(t)
	link := s.LoginLink()
	s.clock = s.clock.Add(linkLife)
	require.Equal(t, http.StatusForbidden, s.form("/login", url.Values{"code": {codeOf(t, link)}}, nil).Code)

	c := s.logIn(s.LoginLink())
	s.clock = s.clock.Add(sessionLife - time.Second)
	require.Equal(t, 200, s.send("GET", "/", "", with(c)).Code)
	s.clock = s.clock.Add(time.Second)
	require.Equal(t, 401, s.send("GET", "/", "", with(c)).Code)
}

func TestSessionsAreNotUsableFromOtherOrigins(t *testing.T) {
	s := newStand(t)
	c := s.logIn(s.LoginLink())
	body := `{"level":"LEVEL_2","for":"30m","why":"test"}`
	for site, code := range map[string]int{"same-origin": 200, "none": 200, "cross-site": 403, "same-site": 403} {
		rec := s.send("POST", "/api/resilience/override", body, func(r *http.Request) {
			r.AddCookie(c)
			r.Header.Set("Sec-Fetch-Site", site)
		})
		require.Equal(t, code, rec.Code, site)
	}
	rec := s.send("POST", "/api/resilience/override", body, func(r *http.Request) {
		r.AddCookie(c)
		r.Header.Set("Origin", "http://127.0.0.1:1")
	})
	require.Equal(t, 403, rec.Code, "another port is another origin")
	rec = s.send("POST", "/api/resilience/override", body, func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+operatorToken)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	})
	require.Equal(t, 200, rec.Code, "no page knows a token")
	rec = s.send("GET", "/", "", func(r *http.Request) {
		r.AddCookie(c)
		r.Header.Set("Authorization", "Bearer wrong")
	})
	require.Equal(t, 401, rec.Code, "a wrong token is not made good by a cookie")
	foreign := s.send("POST", "/login", "code="+codeOf(t, s.LoginLink()), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	})
	require.Equal(t, 403, foreign.Code, "nobody is logged in from outside")
}

func TestLogout(t *testing.T) {
	s := newStand(t)
	c := s.logIn(s.LoginLink())
	rec := s.form("/logout", nil, c)
	require.Equal(t, http.StatusSeeOther, rec.Code)
	require.Equal(t, "/login", rec.Header().Get("Location"))
	require.True(t, rec.Result().Cookies()[0].Expires.Before(s.clock))
	require.Equal(t, 401, s.send("GET", "/", "", with(c)).Code)
	require.Equal(t, 200, s.send("GET", "/login", "", nil).Code)
}

func TestLinksForOthersGiveNoMoreThanTheirToken(t *testing.T) {
	s := newStand(t)
	rec := s.do("POST", "/api/login-links", operatorToken, "")
	require.Equal(t, http.StatusCreated, rec.Code)
	var link loginLinkAnswer
	decodeAnswer(t, rec, &link)
	require.Equal(t, s.clock.Add(linkLife), link.Expires)
	c := s.logIn(link.URL)
	h, ok := s.logins.holderOf(requestWith(c))
	require.True(t, ok)
	require.Equal(t, "anna", h.name)
	require.Equal(t, roleOperator, h.role)
	require.True(t, h.session)
	require.NotContains(t, s.log.String(), codeOf(t, link.URL))
	require.NotContains(t, s.log.String(), c.Value)

	s.cfg.API.Tokens[2].Token = "another-token-of-anna"
	s.access.reload()
	require.Equal(t, 401, s.send("GET", "/", "", with(c)).Code, "a session ends with the token it came from")
}

func requestWith(c *http.Cookie) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(c)
	return r
}

func TestTooManyFailedLogins(t *testing.T) {
	s := newStand(t)
	link := s.LoginLink()
	for range maxFailures {
		require.Equal(t, http.StatusForbidden, s.form("/login", url.Values{"code": {"guess"}}, nil).Code)
	}
	rec := s.form("/login", url.Values{"code": {codeOf(t, link)}}, nil)
	require.Equal(t, http.StatusTooManyRequests, rec.Code)
	require.Equal(t, "60", rec.Header().Get("Retry-After"))
	require.Equal(t, http.StatusTooManyRequests, s.send("GET", "/login?code=guess", "", nil).Code)
	elsewhere := s.send("GET", "/login?code=guess", "", func(r *http.Request) { r.RemoteAddr = "192.0.2.9:1" })
	require.Equal(t, http.StatusForbidden, elsewhere.Code, "others may try")
	s.clock = s.clock.Add(failureWindow)
	s.logIn(link)
}

func TestFailuresAreCountedBySource(t *testing.T) {
	now := time.Unix(0, 0)
	f := newFailures(func() time.Time { return now })
	for range maxFailures {
		f.add("[2001:db8::1]:1")
	}
	require.NotZero(t, f.wait("[2001:db8::2]:9"), "one network")
	require.Zero(t, f.wait("[2001:db8:0:1::1]:9"))
	for range maxSources + 1 {
		f.add(newSecret())
	}
	require.LessOrEqual(t, len(f.from), maxSources)
}

func TestSecretsAreBounded(t *testing.T) {
	now := time.Unix(0, 0)
	s := newSecrets(time.Minute, 3, func() time.Time { return now })
	var all []string
	for range 5 {
		now = now.Add(time.Second)
		secret, _ := s.issue(holder{name: "a"})
		all = append(all, secret)
	}
	require.Len(t, s.known, 3)
	for i, secret := range all {
		_, ok := s.find(secret)
		require.Equal(t, i >= 2, ok, "the oldest made place")
	}
	_, ok := s.take(all[4])
	require.True(t, ok)
	_, ok = s.take(all[4])
	require.False(t, ok)
}

func TestReachableAddress(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:1": "127.0.0.1:1", "[::1]:1": "[::1]:1", "0.0.0.0:1": "localhost:1", "[::]:1": "localhost:1", "192.0.2.1:1": "192.0.2.1:1",
	} {
		require.Equal(t, want, reachable(listen))
	}
}

func TestBrowsersAreAskedToLogIn(t *testing.T) {
	s := newStand(t)
	for _, path := range []string{"/", "/no/such/page"} {
		rec := s.send("GET", path, "", func(r *http.Request) { r.Header.Set("Accept", "text/html,*/*") })
		require.Equal(t, http.StatusUnauthorized, rec.Code)
		require.Contains(t, rec.Body.String(), "shivx login")
	}
}
