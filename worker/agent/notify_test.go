package agent

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// manager is the service manager's end of the protocol: a datagram socket.
type manager struct {
	*net.UnixConn
	t *testing.T
}

func newManager(t *testing.T, patience time.Duration) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(patience.Microseconds(), 10))
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	return &manager{conn, t}
}

// next returns the next message; false when none came within d.
func (m *manager) next(d time.Duration) (string, bool) {
	m.t.Helper()
	require.NoError(m.t, m.SetReadDeadline(time.Now().Add(d)))
	buf := make([]byte, 4096)
	n, _, err := m.ReadFromUnix(buf)
	if err != nil {
		require.ErrorIs(m.t, err, os.ErrDeadlineExceeded)
		return "", false
	}
	return string(buf[:n]), true
}

func (m *manager) expect(want string) {
	m.t.Helper()
	got, ok := m.next(10 * time.Second)
	require.True(m.t, ok, "the manager was told nothing, not %q", want)
	require.Equal(m.t, want, got)
}

func TestSupervisorIsToldWhatTheAgentDoes(t *testing.T) {
	m := newManager(t, 0)
	s := NewSupervisor(slog.New(slog.DiscardHandler))
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		require.NotContains(t, os.Environ(), name+"=", "services that the agent starts must not see it")
		_, there := os.LookupEnv(name)
		require.False(t, there, name)
	}
	s.Ready("NORMAL,\nscore 97")
	m.expect("READY=1\nSTATUS=NORMAL, score 97")
	s.Status("LEVEL_1")
	m.expect("STATUS=LEVEL_1")
	s.Stopping()
	m.expect("STOPPING=1\nSTATUS=stopping; steps under way may end")
}

func TestWatchdogHearsOnlyOfAnAgentThatMakesProgress(t *testing.T) {
	const patience = 40 * time.Millisecond
	m := newManager(t, patience)
	s := NewSupervisor(slog.New(slog.DiscardHandler))
	require.Equal(t, patience, s.patience)
	var alive atomic.Pointer[time.Time]
	var hangs atomic.Bool
	progress := func() { now := time.Now(); alive.Store(&now) }
	progress()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { // the loop
		for ctx.Err() == nil {
			if !hangs.Load() {
				progress()
			}
			pause(ctx, time.Millisecond)
		}
	}()
	always := Loop{Name: "another", Alive: time.Now, Limit: time.Second}
	watched := make(chan struct{})
	go func() {
		s.Watch(ctx, Loop{Name: "the core", Alive: func() time.Time { return *alive.Load() }, Limit: 200 * time.Millisecond}, always)
		close(watched)
	}()
	s.line.Store(new("LEVEL_1"))
	began := time.Now()
	const signs = 10
	for range signs {
		m.expect("WATCHDOG=1")
	}
	require.Less(t, time.Since(began)/signs, patience, "a sign of life comes before the manager loses its patience")

	hangs.Store(true)
	for got := "WATCHDOG=1"; got == "WATCHDOG=1"; {
		var ok bool
		got, ok = m.next(10 * time.Second)
		require.True(t, ok)
		if got != "WATCHDOG=1" {
			require.Equal(t, "STATUS=hangs: the core", got)
		}
	}
	got, ok := m.next(10 * patience)
	require.False(t, ok, "the agent hangs and said %q", got)

	hangs.Store(false) // it was no hang after all, and the manager had more patience
	m.expect("WATCHDOG=1\nSTATUS=LEVEL_1")
	m.expect("WATCHDOG=1")
	stop()
	select {
	case <-watched:
	case <-time.After(10 * time.Second):
		t.Fatal("the watch goes on")
	}
}

func TestWithoutAServiceManagerNothingIsSaid(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "1000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()+1)) // another's
	s := NewSupervisor(slog.New(slog.DiscardHandler))
	s.Ready("fine")
	s.Watch(t.Context(), Loop{Alive: func() time.Time { panic("nobody asks") }})
}

// TestSupervisorThatIsGone: a manager that cannot be reached does not hold up the agent.
func TestSupervisorThatIsGone(t *testing.T) {
	m := newManager(t, time.Hour)
	s := NewSupervisor(slog.New(slog.DiscardHandler))
	require.NoError(t, m.Close())
	s.Ready("fine")
	require.Error(t, s.write("READY=1"))
}
