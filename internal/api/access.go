package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// role says what the holder of a token may do; a greater one may do all that a smaller one may.
type role int

const (
	// roleApp asks for features, readiness and who is kept out, keeps the modules it is granted, and reports
	// events when it is granted that.
	roleApp role = iota + 1
	// roleViewer reads everything.
	roleViewer
	// roleOperator acts: alerts, overrides, isolations, the defense mode, removal of modules, login links.
	roleOperator
	// roleAdmin may act in the name of others, too.
	roleAdmin
)

var roleNames = map[role]string{roleApp: "app", roleViewer: "viewer", roleOperator: "operator", roleAdmin: "admin"}

func (r role) String() string { return roleNames[r] }

// holder is who makes a request.
type holder struct {
	name string
	role role
	// modules are patterns of the modules it may keep; operators may keep all.
	modules []string
	// events is true when it may report events to the guardian.
	events bool
	// token is the beginning of its token's hash, also for a session.
	token uint64
	// session is true when a cookie said so, and not a token.
	session bool
}

// keeps says whether the holder may register, renew and remove a module. Whoever writes the
// configuration has agreed to that, and to all that follows when the module fails.
func (h holder) keeps(module string) bool {
	return h.role >= roleOperator || slices.ContainsFunc(h.modules, func(pattern string) bool { return config.MatchName(pattern, module) })
}

// administrator holds the token in TokenFile.
const administrator = "admin"

// access knows the tokens. Only their hashes are compared: neither the time of a lookup nor that
// of a comparison tells anything about a token.
type access struct {
	cfg    *config.Config
	log    *slog.Logger
	tokens atomic.Pointer[tokens]
	// wrong is what was wrong with the tokens the last time, so that it is logged once.
	wrong map[string]string
}

// tokens are the tokens in force.
type tokens struct {
	// admin has no role while there is no administrator.
	admin holder
	// known has the beginning of a token's hash as its key.
	known map[uint64]entry
}

// entry is a token's hash with its holder.
type entry struct {
	hash [sha256.Size]byte
	holder
}

// newAccess never fails: a token that cannot be had is logged and does not let anybody in, for the
// host must be watched all the same.
func newAccess(cfg *config.Config, log *slog.Logger) *access {
	a := &access{cfg: cfg, log: log, wrong: map[string]string{}}
	a.load(Token)
	return a
}

// reload resolves all tokens anew; it makes none.
func (a *access) reload() { a.load(readToken) }

// load resolves all tokens, the administrator's with read. When that fails the one in force stays.
func (a *access) load(read func(dir string) (string, error)) {
	all := &tokens{known: map[uint64]entry{}}
	admin, err := read(a.cfg.Paths.Var)
	if err == nil {
		delete(a.wrong, administrator)
		all.admin, _ = all.add(admin, holder{name: administrator, role: roleAdmin})
	} else {
		a.complain(administrator, err)
		all.keepAdmin(a.tokens.Load())
	}
	for _, t := range a.cfg.API.Tokens {
		if err := all.take(t); err != nil {
			a.complain(t.Name, err)
			continue
		}
		delete(a.wrong, t.Name)
	}
	a.tokens.Store(all)
}

// keepAdmin takes over the administrator from the tokens in force before, if there was one.
func (all *tokens) keepAdmin(before *tokens) {
	if before == nil || before.admin.role == 0 {
		return
	}
	e := before.known[before.admin.token]
	all.admin, all.known[e.token] = e.holder, e
}

// take adds a token of the configuration.
func (all *tokens) take(t config.Token) error {
	secret, err := config.Resolve(t.Token)
	if err != nil {
		return err
	}
	r, ok := roleOf(t.Role)
	if !ok {
		return fmt.Errorf("there is no role %q", t.Role)
	}
	if err := longEnough(secret); err != nil {
		return err
	}
	if _, ok := all.add(secret, holder{name: t.Name, role: r, modules: t.Modules, events: t.Events}); !ok {
		return shivx.Hint(fmt.Errorf("another one has the same secret"), "give each its own")
	}
	return nil
}

// complain logs what is wrong with a token, once.
func (a *access) complain(name string, err error) {
	if a.wrong[name] != err.Error() {
		a.log.Error("an API token cannot be used", "token", name, "error", err, "hint", shivx.HintOf(err))
		a.wrong[name] = err.Error()
	}
}

func roleOf(name string) (role, bool) {
	for _, r := range slices.Sorted(maps.Keys(roleNames)) {
		if r.String() == name {
			return r, true
		}
	}
	return 0, false
}

func (all *tokens) add(token string, h holder) (holder, bool) {
	hash := sha256.Sum256([]byte(token))
	h.token = binary.BigEndian.Uint64(hash[:])
	if _, taken := all.known[h.token]; taken {
		return holder{}, false
	}
	all.known[h.token] = entry{hash, h}
	return h, true
}

// holderOf returns who holds a token.
func (a *access) holderOf(token string) (holder, bool) {
	hash := sha256.Sum256([]byte(token))
	e, ok := a.tokens.Load().known[binary.BigEndian.Uint64(hash[:])]
	if !ok || subtle.ConstantTimeCompare(e.hash[:], hash[:]) != 1 {
		return holder{}, false
	}
	return e.holder, true
}

// tokenOf returns the token a request bears; ok is false when it bears none.
func tokenOf(r *http.Request) (token string, ok bool) {
	if v := r.Header["Authorization"]; len(v) > 0 {
		scheme, token, _ := strings.Cut(v[0], " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", true
		}
		return token, true
	}
	if v := r.Header["X-Api-Key"]; len(v) > 0 {
		return v[0], true
	}
	return "", false
}

// knows says whether the token of a holder is still in force.
func (a *access) knows(h holder) bool {
	e, ok := a.tokens.Load().known[h.token]
	return ok && e.name == h.name
}

// who says who makes the request. A token that is borne counts alone: a wrong one is not made
// good by a cookie.
func (s *Server) who(r *http.Request) (holder, bool) {
	if token, ok := tokenOf(r); ok {
		return s.access.holderOf(token)
	}
	h, ok := s.logins.holderOf(r)
	return h, ok && s.access.knows(h)
}

// handler is a route that knows who asks.
type handler func(http.ResponseWriter, *http.Request, holder)

// guarded lets only requests through whose holder has the role. Whoever has no token learns
// nothing from the answer: routes that do not exist are guarded, too.
func (s *Server) guarded(needed role, next handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.called(w, r) {
			return
		}
		h, ok := s.who(r)
		if !ok {
			s.unauthorized(w, r)
			return
		}
		if h.session && !s.sameOrigin(w, r) {
			return
		}
		if h.role < needed {
			problem(w, http.StatusForbidden, "the role "+needed.String()+" is needed",
				fmt.Sprintf("%s has the role %s", h.name, h.role))
			return
		}
		next(w, r, h)
	}
}

// unauthorized asks for a token, browsers in a page of their own.
func (s *Server) unauthorized(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="shivx"`)
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.loginPage(w, http.StatusUnauthorized, loginView{Title: "Please log in", Text: noLink})
		return
	}
	problem(w, http.StatusUnauthorized, "a token is needed",
		"send Authorization: Bearer with a token of the configuration or the content of "+TokenFile+" in the var folder")
}
