package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// linkLife is how long a login link holds.
	linkLife = 10 * time.Minute
	// sessionLife is how long a browser stays logged in; a restart of the agent ends it, too.
	sessionLife = 12 * time.Hour
	// maxLinks and maxSessions are how many of them each token may have at a time.
	maxLinks    = 16
	maxSessions = 64
)

// logins are the login links that were not used yet, and the sessions that came of others.
type logins struct {
	// cookie is the name of the cookie that bears the secret of a session.
	cookie   string
	codes    *secrets
	sessions *secrets
	failures *failures
}

func newLogins(host string, now func() time.Time) *logins {
	return &logins{
		cookie: cookieOf(host), failures: newFailures(now),
		codes: newSecrets(linkLife, maxLinks, now), sessions: newSecrets(sessionLife, maxSessions, now),
	}
}

// cookieOf names the cookie after the host: browsers keep cookies by address, whatever the port,
// and the agents of several hosts may be reached on one address, each through its own port.
func cookieOf(host string) string {
	sum := sha256.Sum256([]byte(host))
	return "shivx_session_" + hex.EncodeToString(sum[:4])
}

func (l *logins) holderOf(r *http.Request) (holder, bool) {
	c, err := r.Cookie(l.cookie)
	if err != nil {
		return holder{}, false
	}
	return l.sessions.find(c.Value)
}

// LoginLink returns a link that logs one browser in as administrator, once and within 10 minutes;
// "" when the server does not listen, or not yet, and when there is no administrator's token.
func (s *Server) LoginLink() string {
	b := s.bound.Load()
	if b == nil {
		return ""
	}
	admin := s.access.tokens.Load().admin
	if admin.role == 0 {
		return ""
	}
	link, _ := s.loginLink(reachable(b.Addr().String()), admin)
	return link
}

// loginLink makes a link to the configured public address, else to host.
func (s *Server) loginLink(host string, h holder) (link string, until time.Time) {
	base := s.cfg.API.PublicURL
	if base == "" {
		base = (&url.URL{Scheme: "http", Host: host}).String()
	}
	code, until := s.logins.codes.issue(h)
	return base + "/login?" + url.Values{"code": {code}}.Encode(), until
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
// as their token holds. A session makes none: with them it would outlive its end and the logout.
func (s *Server) newLoginLink(w http.ResponseWriter, r *http.Request, h holder) {
	if h.session {
		problem(w, http.StatusForbidden, "a session makes no login links", "send a token, or make one on the host with: shivx login")
		return
	}
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
	h, ok := s.logins.codes.find(code)
	if !ok {
		s.refuse(w, r)
		return
	}
	s.loginPage(w, http.StatusOK, loginView{Title: "Log in to ShivX", Text: "on " + s.cfg.Host + ", as " + h.name + " (" + h.role.String() + ")", Code: code})
}

// login makes a session of a login link.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	if !s.sameOrigin(w, r) {
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
	http.SetCookie(w, s.cookie(r, secret, until))
	s.log.Info("a browser logged in", "as", h.name, "from", r.RemoteAddr)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// logout ends the session that asks for it.
func (s *Server) logout(w http.ResponseWriter, r *http.Request, _ holder) {
	if c, err := r.Cookie(s.logins.cookie); err == nil {
		s.logins.sessions.take(c.Value)
	}
	http.SetCookie(w, s.cookie(r, "", time.Unix(1, 0)))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// cookie is sent over TLS alone where browsers come by TLS: to the agent itself, or to the proxy
// of the public address.
func (s *Server) cookie(r *http.Request, value string, until time.Time) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure would keep it from being sent where there is no TLS
		Name: s.logins.cookie, Value: value, Path: "/", Expires: until, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || strings.HasPrefix(s.cfg.API.PublicURL, "https:"),
	}
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request) {
	if n := s.logins.failures.add(r.RemoteAddr); n <= maxFailures {
		s.log.Warn("a login was refused", "from", r.RemoteAddr, "within_a_minute", n, "last_one_logged", n == maxFailures)
	}
	s.loginPage(w, http.StatusForbidden, loginView{Title: "This link does not hold any more", Text: noLink})
}
