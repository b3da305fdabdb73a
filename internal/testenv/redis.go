package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// RedisServer is a real Redis.
type RedisServer struct {
	*Server
	// Conf is its configuration file.
	Conf string
}

// Redis starts a Redis with an append-only file (fsync always); further lines of configuration may be added.
func Redis(t testing.TB, conf ...string) *RedisServer {
	t.Helper()
	program := Need(t, "redis-server")[0]
	dir, addr := t.TempDir(), Addr(t)
	r := &RedisServer{
		Conf: filepath.Join(dir, "redis.conf"),
		Server: &Server{
			Dir: dir, Addr: addr, PIDFile: filepath.Join(dir, "redis.pid"), quit: syscall.SIGTERM,
			Argv: []string{program, filepath.Join(dir, "redis.conf")},
		},
	}
	r.ready = r.ping
	lines := append([]string{
		"bind 127.0.0.1", "port " + Port(t, addr), "dir " + dir, "pidfile " + r.PIDFile,
		"appendonly yes", "appendfsync always", `save ""`,
	}, conf...)
	WriteFile(t, r.Conf, strings.Join(lines, "\n")+"\n")
	t.Cleanup(func() { r.close(t) })
	r.Start(t)
	return r
}

// ping fails while the server loads its data.
func (r *RedisServer) ping(context.Context) error {
	answer, err := r.do([]string{"PING"})
	if err == nil && (strings.HasPrefix(answer, "-LOADING") || answer == "") {
		err = errors.New(answer)
	}
	return err
}

// Do sends one command and returns the first line of the answer; a bulk string's content
// follows its length and is returned instead.
func (r *RedisServer) Do(t testing.TB, args ...string) string {
	t.Helper()
	answer, err := r.do(args)
	if err != nil {
		t.Fatalf("redis %s: %v", args[0], err)
	}
	return answer
}

func (r *RedisServer) do(args []string) (string, error) {
	conn, err := net.DialTimeout("tcp", r.Addr, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(a), a)
	}
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	var n int
	if _, err := fmt.Sscanf(line, "$%d", &n); err != nil || n < 0 {
		return line, nil
	}
	bulk := make([]byte, n)
	if _, err := io.ReadFull(in, bulk); err != nil {
		return "", err
	}
	return string(bulk), nil
}
