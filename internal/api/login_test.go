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
	require.Equal(t, cookieOf("h1"), c.Name)
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

// TestNobodyIsLockedOut: however often others fail from the same address, a good link logs in.
func TestNobodyIsLockedOut(t *testing.T) {
	s := newStand(t)
	link := s.LoginLink()
	for range 5 * maxFailures {
		require.Equal(t, http.StatusForbidden, s.form("/login", url.Values{"code": {"guess"}}, nil).Code)
		require.Equal(t, http.StatusForbidden, s.send("GET", "/login?code=guess", "", nil).Code)
	}
	require.Equal(t, maxFailures, strings.Count(s.log.String(), "a login was refused"), "the log is not flooded")
	s.logIn(link)
	s.send("GET", "/login?code=guess", "", func(r *http.Request) { r.RemoteAddr = "192.0.2.9:1" })
	require.Contains(t, s.log.String(), "192.0.2.9", "each source is counted for itself")
}

func TestFailuresAreCountedBySource(t *testing.T) {
	now := time.Unix(0, 0)
	f := newFailures(func() time.Time { return now })
	for n := range maxFailures {
		require.Equal(t, n+1, f.add("[2001:db8::1]:1"))
	}
	require.Equal(t, maxFailures+1, f.add("[2001:db8::2]:9"), "one network")
	require.Equal(t, 1, f.add("[2001:db8:0:1::1]:9"))
	now = now.Add(failureWindow)
	require.Equal(t, 1, f.add("[2001:db8::1]:1"))
	for range maxSources + 1 {
		f.add(newSecret())
	}
	require.LessOrEqual(t, len(f.from), maxSources)
}

func TestSecretsAreBoundedForEachToken(t *testing.T) {
	now := time.Unix(0, 0)
	s := newSecrets(time.Minute, 3, func() time.Time { return now })
	admins, _ := s.issue(holder{name: "admin", token: 1})
	var all []string
	for range 5 {
		now = now.Add(time.Second)
		secret, _ := s.issue(holder{name: "a", token: 2})
		all = append(all, secret)
	}
	require.Len(t, s.known, 4)
	_, ok := s.find(admins)
	require.True(t, ok, "others do not push it out")
	for i, secret := range all {
		_, ok := s.find(secret)
		require.Equal(t, i >= 2, ok, "the oldest made place")
	}
	_, ok = s.take(all[4])
	require.True(t, ok)
	_, ok = s.take(all[4])
	require.False(t, ok)
	now = now.Add(time.Hour)
	s.issue(holder{token: 3})
	require.Len(t, s.known, 1, "what has ended is forgotten")
}

func TestASessionMakesNoLinks(t *testing.T) {
	s := newStand(t)
	c := s.logIn(s.LoginLink())
	rec := s.send("POST", "/api/login-links", "", with(c))
	require.Equal(t, http.StatusForbidden, rec.Code)
	require.Contains(t, rec.Body.String(), "shivx login")
	require.Empty(t, s.logins.codes.known)
}

func TestEachHostHasItsOwnCookie(t *testing.T) {
	require.Equal(t, "shivx_session_33112ee1", cookieOf("h1"))
	require.NotEqual(t, cookieOf("h1"), cookieOf("h2"))
	s := newStand(t)
	c := s.logIn(s.LoginLink())
	c.Name = cookieOf("h2")
	require.Equal(t, 401, s.send("GET", "/", "", with(c)).Code)
}

// TestPublicAddress: behind a proxy with TLS links lead to the proxy, and cookies are Secure.
func TestPublicAddress(t *testing.T) {
	const public = "https://web-1.example.org"
	s := newStand(t)
	s.public = public
	s.serverAt(t, t.TempDir())
	require.True(t, strings.HasPrefix(s.LoginLink(), public+"/login?code="))
	rec := s.do("POST", "/api/login-links", operatorToken, "")
	var link loginLinkAnswer
	decodeAnswer(t, rec, &link)
	require.True(t, strings.HasPrefix(link.URL, public+"/login?code="), link.URL)

	// The proxy may keep the name or not; an old browser sends its origin alone.
	for _, host := range []string{"web-1.example.org", "localhost"} {
		done := s.send("POST", "/login", url.Values{"code": {codeOf(t, s.LoginLink())}}.Encode(), func(r *http.Request) {
			r.Host = host
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", public)
		})
		require.Equal(t, http.StatusSeeOther, done.Code, done.Body)
		require.True(t, done.Result().Cookies()[0].Secure)
	}
	require.Equal(t, http.StatusMisdirectedRequest, s.send("GET", "/login", "", func(r *http.Request) { r.Host = "web-2.example.org" }).Code)
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
