package api

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/shivx/shivx"
)

// listener is a listener with the names by which requests may call it; nil: any.
type listener struct {
	net.Listener
	hosts *hostCheck
}

// retryEvery is the time between two attempts to listen.
const retryEvery = 3 * time.Second

// Address returns where the server listens, "off" if it is not to, or "not listening" while it
// cannot.
func (s *Server) Address() string {
	if s.off() {
		return "off"
	}
	if b := s.bound.Load(); b != nil {
		return b.Addr().String()
	}
	return "not listening"
}

// listen takes the port.
func (s *Server) listen() error {
	l, err := net.Listen("tcp", s.cfg.API.Listen)
	if err != nil {
		return shivx.Hint(fmt.Errorf("listen on %s: %w", s.cfg.API.Listen, err),
			"see with ss -ltnp who has the port, or choose another one with api.listen; it is tried again by itself")
	}
	s.bound.Store(&listener{l, newHostCheck(l.Addr(), s.cfg.API.PublicURL)})
	return nil
}

func (s *Server) notListening(err error) {
	s.log.Error("there is no HTTP interface; the host is watched all the same", "error", err, "hint", shivx.HintOf(err))
}

// await listens as soon as it can, unless it does already; nil when ctx ends before.
func (s *Server) await(ctx context.Context) *listener {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for said := ""; ; {
		if b := s.bound.Load(); b != nil {
			return b
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.listen(); err == nil {
			s.log.Info("the HTTP interface listens now", "address", s.Address())
		} else if said != err.Error() {
			said = err.Error()
			s.log.Debug("the port cannot be had yet", "error", err)
		}
	}
}

// serve answers requests until ctx ends. A listener that breaks is replaced.
func (s *Server) serve(ctx context.Context) error {
	for {
		l := s.await(ctx)
		if l == nil {
			return nil
		}
		err := s.serveOn(ctx, l)
		if ctx.Err() != nil {
			return err
		}
		s.bound.Store(nil)
		s.notListening(err)
	}
}

// serveOn answers requests to a listener until ctx ends.
func (s *Server) serveOn(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		stopped <- srv.Shutdown(end)
	})
	err := srv.Serve(l)
	if stop() {
		return fmt.Errorf("serve the API: %w", err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("stop the API: %w", err)
	}
	return nil
}
