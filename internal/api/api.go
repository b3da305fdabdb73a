// Package api serves the agent's HTTP interface: alerts, heartbeats and overrides in; features,
// health, metrics and a status page out. docs/openapi.yaml describes it.
//
// Every route but liveness and the login asks for a token or a session, also on loopback: whoever
// can start a recovery acts as root (access.go). The answers about features are encoded once per
// snapshot of the features and then only copied (features.go): applications ask for them in their
// own hot paths.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/modules"
	"github.com/shivx/shivx/internal/resilience"
)

// Monitor tells how the components are.
type Monitor interface {
	Status() []health.ComponentStatus
}

// Resilience keeps the host's level and its features.
type Resilience interface {
	Status() resilience.Status
	// Features returns the features as they are now.
	Features() *resilience.Snapshot
	// Override records and applies an override; a key that was seen before is not applied again.
	Override(ctx context.Context, key string, r shivx.OverrideRequest) (shivx.LevelChange, error)
}

// Modules keeps the programs that register themselves.
type Modules interface {
	// Register adds or renews a program whose heartbeats hold for lease; 0 asks for the default.
	Register(ctx context.Context, name string, critical bool, lease time.Duration) error
	// Heartbeat says that a program runs; failing says why it does not do so well, "" that it does.
	Heartbeat(ctx context.Context, name, failing string) error
	Remove(ctx context.Context, name string) error
	List() []resilience.Module
}

var (
	_ Monitor    = (*health.Monitor)(nil)
	_ Resilience = (*resilience.Core)(nil)
	_ Modules    = (*modules.View)(nil)
)

// Check is one condition of readiness.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	// Informs is true for what is told but does not make the agent unready.
	Informs bool `json:"informs_only,omitempty"`
}

// Options are the parts that the routes serve. A route whose part is nil answers 503.
type Options struct {
	Monitor Monitor
	// Report records a finding; its error makes the sender try again.
	Report     func(context.Context, shivx.Finding) error
	Resilience Resilience
	Modules    Modules
	// Metrics serves /metrics; nil: Prometheus' default registry.
	Metrics http.Handler
	// History serves the metric history; its keys are the patterns of these routes.
	History map[string]http.Handler
	// Ready returns the conditions of readiness beside those that Resilience tells.
	Ready  func() []Check
	Logger *slog.Logger
}

// Server is the HTTP interface of one agent.
type Server struct {
	cfg     *config.Config
	parts   Options
	log     *slog.Logger
	access  *access
	logins  *logins
	origins http.CrossOriginProtection
	listen  net.Listener
	// hosts are the names by which requests may call the server; nil: any.
	hosts *hostCheck
	now   func() time.Time
}

// New reads or makes the tokens and takes the port, so that a port in use is an error at start.
func New(cfg *config.Config, o Options) (*Server, error) {
	s := &Server{cfg: cfg, parts: o, log: o.Logger, now: time.Now}
	if s.parts.Metrics == nil {
		s.parts.Metrics = promhttp.Handler()
	}
	if cfg.API.Listen == "off" {
		return s, nil
	}
	var err error
	if s.access, err = newAccess(cfg, s.log); err != nil {
		return nil, err
	}
	s.listen, err = net.Listen("tcp", cfg.API.Listen)
	if err != nil {
		return nil, shivx.Hint(fmt.Errorf("listen on %s: %w", cfg.API.Listen, err), "another agent may run; choose a port with api.listen")
	}
	s.hosts = newHostCheck(s.listen.Addr())
	s.logins = newLogins(func() time.Time { return s.now() })
	return s, nil
}

// Address returns where the server listens; "off" if it does not.
func (s *Server) Address() string {
	if s.listen == nil {
		return "off"
	}
	return s.listen.Addr().String()
}

// reloadEvery is the time after which a changed secret of a token holds, at the latest.
const reloadEvery = 10 * time.Second

// Run serves until ctx ends; requests under way may finish.
func (s *Server) Run(ctx context.Context) error {
	if s.listen == nil {
		return nil
	}
	srv := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	group, serving := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := srv.Serve(s.listen); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the API: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		s.reloadTokens(serving)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if err := srv.Shutdown(end); err != nil {
			return fmt.Errorf("stop the API: %w", err)
		}
		return nil
	})
	return group.Wait()
}

// reloadTokens reads the tokens anew from time to time until ctx ends.
func (s *Server) reloadTokens(ctx context.Context) {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.access.reload()
		}
	}
}
