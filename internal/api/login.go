package api

import (
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

const (
	// linkLife is how long a login link holds.
	linkLife = 10 * time.Minute
	// sessionLife is how long a browser stays logged in; a restart of the agent ends it, too.
	sessionLife = 12 * time.Hour
	// sessionCookie bears the secret of a session.
	sessionCookie = "shivx_session"
)

// logins are the login links that were not used yet, and the sessions that came of others.
type logins struct {
	codes    *secrets
	sessions *secrets
	failures *failures
}

func newLogins(now func() time.Time) *logins {
	return &logins{codes: newSecrets(linkLife, 16, now), sessions: newSecrets(sessionLife, 64, now), failures: newFailures(now)}
}

func (l *logins) holderOf(r *http.Request) (holder, bool) {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return holder{}, false
	}
	return l.sessions.find(c.Value)
}

// LoginLink returns a link that logs one browser in as administrator, once and within 10 minutes;
// "" when the server does not listen.
func (s *Server) LoginLink() string {
	if s.listen == nil {
		return ""
	}
	link, _ := s.loginLink(reachable(s.Address()), s.access.tokens.Load().admin)
	return link
}

func (s *Server) loginLink(host string, h holder) (link string, until time.Time) {
	code, until := s.logins.codes.issue(h)
	return (&url.URL{Scheme: "http", Host: host, Path: "/login", RawQuery: url.Values{"code": {code}}.Encode()}).String(), until
}

// reachable turns an address to listen on into one to call.
func reachable(address string) string {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !a.Addr().IsUnspecified() {
		return address
	}
	return net.JoinHostPort("localhost", strconv.Itoa(int(a.Port())))
}

// loginLinkAnswer is what POST /api/login-links answers.
type loginLinkAnswer struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires_at"`
}

// newLoginLink makes a link for the one who asks: its session may do what they may, and as long
// as their token holds.
func (s *Server) newLoginLink(w http.ResponseWriter, r *http.Request, h holder) {
	link, until := s.loginLink(r.Host, h)
	s.log.Info("a login link was made", "for", h.name)
	s.answer(w, http.StatusCreated, loginLinkAnswer{link, until.UTC()})
}

const noLink = "A login link works once and for ten minutes. Get a new one on the host with: shivx login"

// askLogin shows a button. Opening the link does not use it up: mail scanners and the previews of
// chats open links, too.
func (s *Server) askLogin(w http.ResponseWriter, r *http.Request) {
	code := r.URL.Query().Get("code")
	if code == "" {
		s.loginPage(w, http.StatusOK, loginView{Title: "ShivX", Text: noLink})
		return
	}
	if !s.mayTry(w, r) {
		return
	}
	h, ok := s.logins.codes.find(code)
	if !ok {
		s.refuse(w, r)
		return
	}
	s.loginPage(w, http.StatusOK, loginView{Title: "Log in to ShivX", Text: "on " + s.cfg.Host + ", as " + h.name + " (" + h.role.String() + ")", Code: code})
}

// login makes a session of a login link.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	if !s.sameOrigin(w, r) || !s.mayTry(w, r) {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	h, ok := s.logins.codes.take(r.PostFormValue("code"))
	if !ok {
		s.refuse(w, r)
		return
	}
	h.session = true
	secret, until := s.logins.sessions.issue(h)
	http.SetCookie(w, cookie(r, secret, until))
	s.log.Info("a browser logged in", "as", h.name, "from", r.RemoteAddr)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// logout ends the session that asks for it.
func (s *Server) logout(w http.ResponseWriter, r *http.Request, _ holder) {
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.logins.sessions.take(c.Value)
	}
	http.SetCookie(w, cookie(r, "", time.Unix(1, 0)))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func cookie(r *http.Request, value string, until time.Time) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure would keep it from being sent where there is no TLS
		Name: sessionCookie, Value: value, Path: "/", Expires: until,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	}
}

// mayTry refuses a source that has failed too often.
func (s *Server) mayTry(w http.ResponseWriter, r *http.Request) bool {
	wait := s.logins.failures.wait(r.RemoteAddr)
	if wait == 0 {
		return true
	}
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	s.loginPage(w, http.StatusTooManyRequests, loginView{Title: "Too many attempts", Text: "Wait a minute, then open the link again."})
	return false
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request) {
	s.logins.failures.add(r.RemoteAddr)
	s.log.Warn("a login was refused", "from", r.RemoteAddr)
	s.loginPage(w, http.StatusForbidden, loginView{Title: "This link does not hold any more", Text: noLink})
}
