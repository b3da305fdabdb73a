package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/shivx/shivx/internal/health"
)

// Supervisor is the service manager that started the agent, reached by the protocol of
// sd_notify(3). Where there is none, all of its methods do nothing.
type Supervisor struct {
	// socket is the address of the manager; "" without one.
	socket string
	// patience is how long the manager waits between two signs of life; 0: for ever.
	patience time.Duration
	log      *slog.Logger
	// line is the last status line for people.
	line atomic.Pointer[string]
}

// NewSupervisor takes what the manager has left for the agent out of the environment: a service
// that the agent starts would else speak to the manager in its name.
func NewSupervisor(log *slog.Logger) *Supervisor {
	patience, err := daemon.SdWatchdogEnabled(true)
	if err != nil {
		log.Warn("the watchdog of the service manager is not used", "error", err)
	}
	s := &Supervisor{socket: os.Getenv("NOTIFY_SOCKET"), patience: patience, log: log}
	if err := os.Unsetenv("NOTIFY_SOCKET"); err != nil {
		log.Warn("services that the agent starts may speak to the service manager in its name", "error", err)
	}
	return s
}

// Ready says that the agent works: its parts are open and the host was measured once. status is
// one line for people, shown by systemctl status.
func (s *Supervisor) Ready(status string) {
	s.line.Store(&status)
	s.send(daemon.SdNotifyReady + "\n" + statusLine(status))
}

// Status replaces the line for people.
func (s *Supervisor) Status(status string) {
	s.line.Store(&status)
	s.send(statusLine(status))
}

// Stopping says that the agent was told to stop and does so.
func (s *Supervisor) Stopping() {
	s.send(daemon.SdNotifyStopping + "\n" + statusLine("stopping; steps under way may end"))
}

func statusLine(s string) string { return "STATUS=" + strings.Join(strings.Fields(s), " ") }

// Loop is one of the loops without which the agent does nothing of use.
type Loop struct {
	// Name for people.
	Name string
	// Alive is when the loop last made progress. One that does not return counts as none.
	Alive func() time.Time
	// Limit is the age of the last progress from which on the loop hangs.
	Limit time.Duration
}

// Watch tells the manager that the agent lives, twice in each of its waiting times, for as long
// as every loop makes progress, until ctx ends. When one hangs it says so and keeps silent, so
// that the manager kills the agent and starts it anew. A hang that ends before that is forgotten.
func (s *Supervisor) Watch(ctx context.Context, loops ...Loop) {
	if s.socket == "" || s.patience <= 0 {
		return
	}
	t := time.NewTicker(s.patience / 2)
	defer t.Stop()
	for hung := ""; ; {
		now := hanging(loops)
		switch {
		case now == "" && hung != "":
			s.log.Info("the agent makes progress again")
			s.send(daemon.SdNotifyWatchdog + "\n" + statusLine(s.lastLine()))
		case now == "":
			s.send(daemon.SdNotifyWatchdog)
		case now != hung:
			s.log.Error("the agent hangs and is to be restarted by the service manager", "hangs", now)
			s.send(statusLine("hangs: " + now))
		}
		hung = now
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// lastLine returns what people were told last, hangs apart.
func (s *Supervisor) lastLine() string {
	if line := s.line.Load(); line != nil {
		return *line
	}
	return "starting"
}

// hanging names the loops that make no progress; "" when all do.
func hanging(loops []Loop) string {
	var out []string
	for _, l := range loops {
		if time.Since(l.Alive()) > l.Limit {
			out = append(out, l.Name)
		}
	}
	return strings.Join(out, ", ")
}

// send tells the manager; that it does not hear is no reason to stop.
func (s *Supervisor) send(message string) {
	if s.socket == "" {
		return
	}
	if err := s.write(message); err != nil {
		s.log.Warn("the service manager was not told", "message", message, "error", err)
	}
}

// write sends one datagram. It connects each time: the manager may have been restarted.
func (s *Supervisor) write(message string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }()
	// A manager that does not read must not hold up the agent.
	if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("bound the time to send: %w", err)
	}
	if _, err := conn.Write([]byte(message)); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// How long the agent's own loops may take. A disk that hangs is none of them: a restart would not
// help it, and would cost the features that are answered from memory.
const (
	coreLimit    = 30 * time.Second
	monitorLimit = 30 * time.Second
)

// MonitorLoop is the loop of the health checks.
func MonitorLoop(m *health.Monitor) Loop {
	return Loop{Name: "the health monitor", Alive: m.Pulse, Limit: monitorLimit}
}
