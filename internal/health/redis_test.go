package health

import (
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
)

func redisCheck(c config.RedisCheck) config.Check {
	return config.Check{Timeout: 2 * time.Second, Redis: &c}
}

func TestRedisCheckAndWritesOfARealServer(t *testing.T) {
	r := testenv.Redis(t)
	alive := redisCheck(config.RedisCheck{Address: r.Addr})
	writable := redisCheck(config.RedisCheck{Address: r.Addr, Writable: true})
	both := func(what, wantAlive, wantWritable string) {
		t.Helper()
		expect(t, what+", alive", check(t, alive), wantAlive)
		expect(t, what+", writable", check(t, writable), wantWritable)
	}
	both("healthy", "", "")
	if n := r.Do(t, "DBSIZE"); n != ":0" {
		t.Errorf("the check has left %s keys behind", n)
	}
	r.Do(t, "LPUSH", writeKey, "somebody's")
	both("a foreign key of the same name", "", "")
	if n := r.Do(t, "LLEN", writeKey); n != ":1" {
		t.Errorf("the check has changed a foreign key: length %s", n)
	}

	r.Do(t, "CONFIG", "SET", "maxmemory", "1")
	both("full memory", "", r.Addr+": refuses writes: OOM command not allowed*")
	r.Do(t, "CONFIG", "SET", "maxmemory", "0")

	r.Do(t, "CONFIG", "SET", "min-replicas-to-write", "1")
	both("too few replicas", "", r.Addr+": refuses writes: NOREPLICAS*")
	r.Do(t, "CONFIG", "SET", "min-replicas-to-write", "0")

	r.Do(t, "REPLICAOF", "127.0.0.1", testenv.Port(t, testenv.Addr(t)))
	both("read-only replica", "", r.Addr+": refuses writes: READONLY*")
	r.Do(t, "CONFIG", "SET", "replica-serve-stale-data", "no")
	both("replica without its master", "", r.Addr+": *MASTERDOWN*")
	r.Do(t, "REPLICAOF", "NO", "ONE")
	both("healthy again", "", "")

	if err := syscall.Kill(r.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	alive.Timeout, writable.Timeout = 50*time.Millisecond, 50*time.Millisecond
	both("stopped", r.Addr+": no answer within 50ms", r.Addr+": no answer within 50ms")
	r.Kill(t)
	both("killed", "connect to "+r.Addr+": connect: connection refused", "connect to "+r.Addr+": connect: connection refused")
}

func TestRedisCheckFindsFailedPersistence(t *testing.T) {
	dump := t.TempDir() + "/dump"
	if err := os.Mkdir(dump, 0o755); err != nil {
		t.Fatal(err)
	}
	r := testenv.Redis(t, "appendonly no", "save 3600 1", "dir "+dump)
	if err := os.Remove(dump); err != nil { // a disk that is gone
		t.Fatal(err)
	}
	r.Do(t, "SET", "k", "v")
	r.Do(t, "BGSAVE")
	await(t, "the failed save", func() bool {
		return strings.Contains(r.Do(t, "INFO", "persistence"), "rdb_last_bgsave_status:err")
	})
	expect(t, "alive", check(t, redisCheck(config.RedisCheck{Address: r.Addr})), "")
	expect(t, "writable", check(t, redisCheck(config.RedisCheck{Address: r.Addr, Writable: true})), r.Addr+": MISCONF*")
}

func TestRedisCheckLogsIn(t *testing.T) {
	t.Setenv("SHIVX_TEST_PASSWORD", "hunter2")
	file := t.TempDir() + "/password"
	testenv.WriteFile(t, file, "hunter3\n")
	r := testenv.Redis(t, "requirepass hunter2", "user watcher on >hunter3 +ping", "user writer on >hunter3 +ping +setrange ~"+writeKey)
	cases := []struct {
		name string
		c    config.RedisCheck
		want string
	}{
		{"password", config.RedisCheck{Password: "env:SHIVX_TEST_PASSWORD"}, ""},
		{"user", config.RedisCheck{Username: "watcher", Password: "file:" + file}, ""},
		{"user may not write", config.RedisCheck{Username: "watcher", Password: "file:" + file, Writable: true}, r.Addr + ": NOPERM*"},
		{"user may write", config.RedisCheck{Username: "writer", Password: "file:" + file, Writable: true}, ""},
		{"no password", config.RedisCheck{}, r.Addr + ": NOAUTH*"},
		{"wrong password", config.RedisCheck{Password: "hunter4"}, r.Addr + ": WRONGPASS*"},
		{"absent secret", config.RedisCheck{Password: "env:SHIVX_TEST_ABSENT"}, r.Addr + ": password: resolve env:SHIVX_TEST_ABSENT*"},
	}
	for _, c := range cases {
		c.c.Address = r.Addr
		got := check(t, redisCheck(c.c))
		expect(t, c.name, got, c.want)
		if strings.Contains(got, "hunter") {
			t.Errorf("%s: the reason tells a password: %s", c.name, got)
		}
	}
}

func TestRedisCheckSurvivesOtherServers(t *testing.T) {
	answer := func(s string) string {
		return listen(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1024))
			_, _ = io.WriteString(c, s)
		})
	}
	cases := []struct{ name, addr, want string }{
		{"loading", answer("-LOADING Redis is loading the dataset in memory\r\n"), ""},
		{"busy", answer("-BUSY Redis is busy running a script.\r\n"), "*: BUSY Redis is busy*"},
		{"http", answer("HTTP/1.1 400 Bad Request\r\n\r\n"), "*: this is not a Redis server: it answered \"HTTP/1.1*"},
		{"closes", answer(""), "*: the server closed the connection instead of answering PING"},
		{"huge bulk", answer("$999999999\r\n"), "*: a Redis answer of length \"999999999\""},
		{"cut bulk", answer("$10\r\nabc"), "*: the server closed the connection instead of answering PING"},
		{"bad bulk", answer("$4\r\nPONGxx"), "*: a Redis answer without its end"},
		{"other", answer("+HELLO\r\n"), "*: answered \"HELLO\" to PING"},
		{"flood", listen(t, flood), "*: this is not a Redis server: its answer has no end of line"},
		{"bulk pong", answer("$4\r\nPONG\r\n"), ""},
	}
	for _, c := range cases {
		expect(t, c.name, check(t, redisCheck(config.RedisCheck{Address: c.addr})), c.want)
	}
	loading := redisCheck(config.RedisCheck{Address: cases[0].addr, Writable: true})
	expect(t, "loading is not writable", check(t, loading), "*: LOADING Redis is loading*")
}
