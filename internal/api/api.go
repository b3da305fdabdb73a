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
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
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

// Ask answers a request: with what is to be sent as JSON, or with an error and the status that
// fits it.
type Ask = func(*http.Request) (answer any, status int, err error)

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
	// Guardian keeps attackers out.
	Guardian Guardian
	// Faults tells which failures are foreseen.
	Faults Faults
	// Metrics serves /metrics; nil: Prometheus' default registry.
	Metrics http.Handler
	// History answers for the metric history; its keys are the patterns of these routes.
	History map[string]Ask
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
	origins *http.CrossOriginProtection
	// trusted are the proxies whose word about their clients is taken.
	trusted []netip.Prefix
	// allow lists who is never kept out.
	allow    []netip.Prefix
	bouncers bouncers
	// misledAt is when it was said last that a proxy is set up wrong, in nanoseconds since 1970.
	misledAt atomic.Int64
	// bound is nil while the server does not listen.
	bound atomic.Pointer[listener]
	now   func() time.Time
}

// New reads or makes the tokens and takes the port. Neither a token that cannot be had nor a port
// that is taken is an error: it is logged, and Run tries again, for the host must be watched all
// the same.
func New(cfg *config.Config, o Options) (*Server, error) {
	s := &Server{cfg: cfg, parts: o, log: o.Logger, now: time.Now, origins: http.NewCrossOriginProtection(),
		trusted: withLoopback(cfg.Guardian.TrustedProxies), allow: withLoopback(cfg.Guardian.Allow)}
	if s.parts.Metrics == nil {
		s.parts.Metrics = promhttp.Handler()
	}
	if s.off() {
		return s, nil
	}
	if public := cfg.API.PublicURL; public != "" {
		if err := s.origins.AddTrustedOrigin(public); err != nil {
			return nil, fmt.Errorf("trust api.public_url: %w", err)
		}
	}
	s.access = newAccess(cfg, s.log)
	s.logins = newLogins(cfg.Host, func() time.Time { return s.now() })
	if err := s.listen(); err != nil {
		s.notListening(err)
	}
	return s, nil
}

func (s *Server) off() bool { return s.cfg.API.Listen == "off" }

// reloadEvery is the time after which a changed secret of a token holds, at the latest.
const reloadEvery = 10 * time.Second

// Run serves until ctx ends; requests under way may finish. While the port cannot be had it tries
// again.
func (s *Server) Run(ctx context.Context) error {
	if s.off() {
		return nil
	}
	group, serving := errgroup.WithContext(ctx)
	group.Go(func() error { s.reloadTokens(serving); return nil })
	group.Go(func() error { return s.serve(serving) })
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
