package source

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/resp"
	"github.com/shivx/shivx/internal/testenv"
)

// transfer moves money and logs it, at one instant.
const transfer = `redis.call('DECRBY', 'account:'..ARGV[2], ARGV[4]) redis.call('INCRBY', 'account:'..ARGV[3], ARGV[4])
return redis.call('RPUSH', 'log', ARGV[2]..' '..ARGV[3]..' '..ARGV[4])`

type redisBank struct {
	c     *resp.Conn
	acked atomic.Int64
}

func dialRedis(t *testing.T, addr string) *resp.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return resp.New(conn)
}

func newRedisBank(t *testing.T, addr string, fill int) *redisBank {
	b := &redisBank{c: dialRedis(t, addr)}
	for i := range accounts {
		_, err := b.c.Call("SET", fmt.Sprintf("account:%d", i), "100")
		require.NoError(t, err)
	}
	_, err := b.c.Call("EVAL", `for i = 1, ARGV[1] do redis.call('SET', 'fill:'..i, string.rep(tostring(i), 200)) end return 1`, "0", fmt.Sprint(fill))
	require.NoError(t, err)
	return b
}

func (b *redisBank) run(stop <-chan struct{}) {
	for i := int64(1); ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		if _, err := b.c.Call("EVAL", transfer, "0", fmt.Sprint(i), fmt.Sprint(i%accounts), fmt.Sprint((i*7+1)%accounts), fmt.Sprint(i%5)); err != nil {
			return
		}
		b.acked.Store(i)
	}
}

// requireRedis checks that every account is what the transfers in the log say.
func requireRedis(t *testing.T, addr string, acked int64) {
	t.Helper()
	c := dialRedis(t, addr)
	n, err := c.Call("LLEN", "log")
	require.NoError(t, err)
	var want [accounts]int
	for i := range want {
		want[i] = 100
	}
	list := strings.Split(strings.TrimSpace(cli(t, addr, "LRANGE", "log", "0", "-1")), "\n")
	require.Equal(t, n, fmt.Sprint(len(list)))
	require.GreaterOrEqual(t, int64(len(list)), acked)
	for _, line := range list {
		var a, b, money int
		_, err := fmt.Sscan(line, &a, &b, &money)
		require.NoError(t, err)
		want[a], want[b] = want[a]-money, want[b]+money
	}
	for i, money := range want {
		got, err := c.Call("GET", fmt.Sprintf("account:%d", i))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(money), got)
	}
}

func cli(t *testing.T, addr string, args ...string) string {
	t.Helper()
	path := testenv.Need(t, "redis-cli")[0]
	out, err := exec.Command(path, append([]string{"-p", testenv.Port(t, addr)}, args...)...).Output()
	require.NoError(t, err)
	return string(out)
}

// putBack does what a restore does with an export: all overlays into place, what is absent removed.
func putBack(t *testing.T, e *Export) {
	t.Helper()
	for path, from := range e.Overlays {
		require.NoError(t, os.RemoveAll(path))
		out, err := exec.Command("cp", "-a", from, path).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	for _, path := range e.Absent {
		require.NoError(t, os.RemoveAll(path))
	}
}

func TestRedisUnderWrites(t *testing.T) {
	for name, conf := range map[string][]string{
		"log":      {"appendfsync everysec"},
		"no log":   {"appendonly no"},
		"odd name": {`appendfilename "my log"`, `appenddirname "the logs"`, `dbfilename "a [b].rdb"`, "appendfsync everysec"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testenv.Redis(t, conf...)
			bank := newRedisBank(t, server.Addr, 50_000)
			dir := filepath.Join(t.TempDir(), "exports")
			s, err := NewRedis("cache", RedisOptions{Address: server.Addr})
			require.NoError(t, err)
			var e *Export
			var acked int64
			whileWriting(t, bank.run, &bank.acked, func() {
				acked = bank.acked.Load()
				began := time.Now()
				e, err = s.Prepare(t.Context(), dir)
				require.NoError(t, err)
				t.Logf("%d transfers during %s", bank.acked.Load()-acked, time.Since(began))
				require.Greater(t, bank.acked.Load(), acked)
			})
			require.NoError(t, s.Verify(t.Context(), e.Overlays[e.Sources[0].Path]))
			require.Equal(t, "OK\n", cli(t, server.Addr, "FLUSHALL"))
			server.Stop(t)
			putBack(t, e)
			server.Start(t)
			requireRedis(t, server.Addr, acked)
			require.Equal(t, "OK\n", cli(t, server.Addr, "SET", "new", "1"))
			server.Kill(t) // what is written after the restore survives, too
			server.Start(t)
			if conf[0] != "appendonly no" {
				require.Equal(t, "1\n", cli(t, server.Addr, "GET", "new"))
				requireRedis(t, server.Addr, acked)
			}
			require.NoError(t, e.Close(t.Context()))
			requireNothing(t, dir)
		})
	}
}

// Without the folder of the log, a server that is to keep one starts empty, whatever has been saved.
func TestRedisIgnoresTheSavedFileWithALog(t *testing.T) {
	server := testenv.Redis(t)
	cli(t, server.Addr, "SET", "a", "1")
	s, err := NewRedis("cache", RedisOptions{Address: server.Addr})
	require.NoError(t, err)
	e, err := s.Prepare(t.Context(), t.TempDir())
	require.NoError(t, err)
	server.Stop(t)
	log := filepath.Join(server.Dir, "appendonlydir")
	saved := e.Overlays[log]
	require.NotEmpty(t, saved)
	delete(e.Overlays, log)
	require.NoError(t, os.RemoveAll(log))
	putBack(t, e)
	server.Start(t)
	require.Equal(t, "0\n", cli(t, server.Addr, "DBSIZE"))
	server.Stop(t)
	e.Overlays[log] = saved
	putBack(t, e)
	server.Start(t)
	require.Equal(t, "1\n", cli(t, server.Addr, "GET", "a"))
	require.NoError(t, e.Close(t.Context()))
}

// A server before version 7 keeps its log in one file, which may begin with saved data. Later ones take that over.
func TestRedisLogOfOneFile(t *testing.T) {
	server := testenv.Redis(t, "appendonly no")
	cli(t, server.Addr, "SET", "a", "1")
	cli(t, server.Addr, "SAVE")
	server.Stop(t)
	rdb, err := os.Open(filepath.Join(server.Dir, "dump.rdb"))
	require.NoError(t, err)
	defer rdb.Close()
	dir := t.TempDir()
	l := redisLayout{rdb: rdb.Name(), log: filepath.Join(server.Dir, "appendonly.aof")}
	e, err := l.export(t.Context(), "cache", dir, rdb)
	require.NoError(t, err)
	putBack(t, e)
	text, err := os.ReadFile(server.Conf)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(server.Conf, append(text, "appendonly yes\n"...), 0o600))
	server.Start(t)
	require.Equal(t, "1\n", cli(t, server.Addr, "GET", "a"))
}

func TestRedisAwaitsASaveThatRuns(t *testing.T) {
	server := testenv.Redis(t, "rdb-key-save-delay 1000", "appendonly no")
	newRedisBank(t, server.Addr, 300)
	cli(t, server.Addr, "BGSAVE")
	cli(t, server.Addr, "SET", "late", "1") // not in the save that runs
	s, err := NewRedis("cache", RedisOptions{Address: server.Addr})
	require.NoError(t, err)
	e, err := s.Prepare(t.Context(), t.TempDir())
	require.NoError(t, err)
	server.Kill(t)
	putBack(t, e)
	server.Start(t)
	require.Equal(t, "1\n", cli(t, server.Addr, "GET", "late"))
	require.NoError(t, e.Close(t.Context()))
}
