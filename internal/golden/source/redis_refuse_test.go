package source

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
)

func TestRedisSaveFails(t *testing.T) {
	server := testenv.Redis(t, "rdb-key-save-delay 100000", "appendonly no")
	newRedisBank(t, server.Addr, 1000)
	dir := t.TempDir()
	s, err := NewRedis("cache", RedisOptions{Address: server.Addr})
	require.NoError(t, err)
	failed := make(chan error)
	prepare := func(ctx context.Context) { _, err := s.Prepare(ctx, dir); failed <- err }
	go prepare(t.Context())
	child := 0
	require.Eventually(t, func() bool { child = childOf(server.PID()); return child > 0 }, 10*time.Second, time.Millisecond)
	require.NoError(t, syscall.Kill(child, syscall.SIGKILL))
	err = <-failed
	require.ErrorContains(t, err, "could not save")
	require.Contains(t, shivx.HintOf(err), "see the log of Redis")
	requireNothing(t, dir)

	ctx, cancel := context.WithCancel(t.Context())
	go prepare(ctx)
	require.Eventually(t, func() bool { return childOf(server.PID()) > 0 }, 10*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)

	s.o.Limit = 200 * time.Millisecond
	go prepare(t.Context())
	err = <-failed
	require.ErrorIs(t, err, errLimit)
	require.NotEmpty(t, shivx.HintOf(err))
	requireNothing(t, dir)
}

// childOf is a child of process pid, or 0.
func childOf(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", pid))
	child := 0
	_, _ = fmt.Sscan(string(text), &child)
	return child
}

func TestRedisRefuses(t *testing.T) {
	server := testenv.Redis(t, "requirepass open-sesame", "user weak on >weak +info ~*")
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte("open-sesame\n"), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() { // a stranger
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(conn).ReadString('\n')
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = conn.Close()
		}
	}()
	dir := t.TempDir()
	for want, o := range map[string]RedisOptions{
		"NOAUTH":             {Address: server.Addr},
		"WRONGPASS":          {Address: server.Addr, Password: "false"},
		"NOPERM":             {Address: server.Addr, Username: "weak", Password: "weak"},
		"not set":            {Address: server.Addr, Password: "env:SHIVX_TEST_NO_SUCH_VARIABLE"},
		"connection refused": {Address: testenv.Addr(t)},
		"no such file":       {Address: "unix:" + filepath.Join(dir, "none.sock")},
		"not a Redis server": {Address: l.Addr().String()},
	} {
		s, err := NewRedis("cache", o)
		require.NoError(t, err)
		_, err = s.Prepare(t.Context(), dir)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "open-sesame")
		if want != "not a Redis server" {
			require.NotEmpty(t, shivx.HintOf(err), err)
		}
		requireNothing(t, dir)
	}
	s, err := NewRedis("cache", RedisOptions{Address: server.Addr, Password: "file:" + password})
	require.NoError(t, err)
	e, err := s.Prepare(t.Context(), dir)
	require.NoError(t, err)
	require.NoError(t, e.Close(t.Context()))
}

// The server's folder is elsewhere on this host, or another one is named.
func TestRedisInAContainer(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	server := testenv.Redis(t, "unixsocket "+socket)
	other, dir := filepath.Join(t.TempDir(), "seen"), t.TempDir()
	require.NoError(t, os.Symlink(server.Dir, other))
	s, err := NewRedis("cache", RedisOptions{Address: "unix:" + socket, Dir: other})
	require.NoError(t, err)
	e, err := s.Prepare(t.Context(), dir)
	require.NoError(t, err)
	require.Contains(t, e.Overlays, filepath.Join(other, "appendonlydir"))
	require.NoError(t, e.Close(t.Context()))
	for _, stale := range []bool{false, true} {
		s.o.Dir = t.TempDir()
		if stale {
			copyFile(t, filepath.Join(server.Dir, "dump.rdb"), filepath.Join(s.o.Dir, "dump.rdb"))
		}
		_, err = s.Prepare(t.Context(), dir)
		require.ErrorContains(t, err, "Redis has saved its data")
		require.Contains(t, shivx.HintOf(err), "container")
		requireNothing(t, dir)
	}
}

func TestRedisVerifyFindsDamage(t *testing.T) {
	server := testenv.Redis(t)
	newRedisBank(t, server.Addr, 100)
	s, err := NewRedis("cache", RedisOptions{Address: server.Addr})
	require.NoError(t, err)
	e, err := s.Prepare(t.Context(), t.TempDir())
	require.NoError(t, err)
	path := e.Overlays[e.Sources[0].Path]
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, damaged := range [][]byte{data[:len(data)/2], {}, append(append([]byte(nil), data[:len(data)/2]...), make([]byte, len(data)/2)...)} {
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		require.Error(t, s.Verify(t.Context(), path))
	}
	require.NoError(t, e.Close(t.Context()))
}

func TestRedisFullDisk(t *testing.T) {
	server := testenv.Redis(t)
	newRedisBank(t, server.Addr, 20_000)
	dir := filepath.Join(t.TempDir(), "small")
	testenv.Tmpfs(t, dir, "size=1m")
	s, err := NewRedis("cache", RedisOptions{Address: server.Addr})
	require.NoError(t, err)
	_, err = s.Prepare(t.Context(), dir)
	require.ErrorContains(t, err, "MB are missing")
	requireNothing(t, dir)
}
