// Package api serves the agent's HTTP interface: alerts in, health and metrics out.
//
// Every route but liveness asks for the agent's token, also on loopback: whoever can start a
// recovery acts as root.
package api

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/health"
)

// TokenFile is the path of the token below the configured var folder.
const TokenFile = "api.token"

// Monitor tells how the components are.
type Monitor interface {
	Status() []health.ComponentStatus
}

// Server is the HTTP interface of one agent.
type Server struct {
	cfg     *config.Config
	monitor Monitor
	report  func(context.Context, shivx.Finding) error
	log     *slog.Logger
	token   string
	listen  net.Listener
	now     func() time.Time
}

// New reads or makes the token and takes the port, so that a port in use is an error at start.
func New(cfg *config.Config, m Monitor, report func(context.Context, shivx.Finding) error, log *slog.Logger) (*Server, error) {
	s := &Server{cfg: cfg, monitor: m, report: report, log: log, now: time.Now}
	if cfg.API.Listen == "off" {
		return s, nil
	}
	var err error
	if s.token, err = Token(cfg.Paths.Var); err != nil {
		return nil, err
	}
	s.listen, err = net.Listen("tcp", cfg.API.Listen)
	if err != nil {
		return nil, shivx.Hint(fmt.Errorf("listen on %s: %w", cfg.API.Listen, err), "another agent may run; choose a port with api.listen")
	}
	return s, nil
}

// Token returns the token in the var folder, making one when there is none.
func Token(dir string) (string, error) {
	path := filepath.Join(dir, TokenFile)
	b, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(b))) >= 32 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the API token: %w", err)
	}
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("make an API token: %w", err)
	}
	token := hex.EncodeToString(raw)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("make the API token's folder: %w", err)
	}
	if err := renameio.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the API token: %w", err)
	}
	return token, nil
}

// Address returns where the server listens; "off" if it does not.
func (s *Server) Address() string {
	if s.listen == nil {
		return "off"
	}
	return s.listen.Addr().String()
}

// Handler returns all routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/health/live", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "alive", "host": s.cfg.Host})
	})
	mux.Handle("GET /api/components", s.guarded(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, s.monitor.Status())
	}))
	mux.Handle("POST /api/alerts", s.guarded(s.alerts))
	mux.Handle("GET /metrics", s.guarded(promhttp.Handler().ServeHTTP))
	return mux
}

// Run serves until ctx ends; requests under way may finish.
func (s *Server) Run(ctx context.Context) error {
	if s.listen == nil {
		return nil
	}
	srv := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(s.listen) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve the API: %w", err)
	case <-ctx.Done():
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if err := srv.Shutdown(end); err != nil {
			return fmt.Errorf("stop the API: %w", err)
		}
		return nil
	}
}

// guarded lets only requests with the token through.
func (s *Server) guarded(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || subtle.ConstantTimeCompare([]byte(got), []byte(s.token)) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="shivx"`)
			problem(w, http.StatusUnauthorized, "a token is needed", "send Authorization: Bearer with the content of "+TokenFile+" in the var folder")
			return
		}
		next(w, r)
	})
}

// problem answers with an RFC 9457 document.
func problem(w http.ResponseWriter, status int, title, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	write(w, status, map[string]any{"type": "about:blank", "title": title, "status": status, "detail": detail})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	write(w, status, v)
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// The client is gone when this fails; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(v)
}
