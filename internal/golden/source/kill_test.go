package source

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
)

// job is what a child process of a test prepares until it is killed.
type job struct {
	Dir      string
	SQLite   *SQLiteOptions
	Postgres *PostgresOptions
	Redis    *RedisOptions
	Command  *CommandOptions
}

func TestMain(m *testing.M) {
	if text := os.Getenv("SOURCE_TEST_JOB"); text != "" {
		var j job
		if err := json.Unmarshal([]byte(text), &j); err != nil {
			panic(err)
		}
		j.run()
	}
	os.Exit(m.Run())
}

func (j job) sources() (list []Source) {
	if j.Command != nil {
		list = append(list, &Command{"hook", *j.Command})
	}
	if j.SQLite != nil {
		list = append(list, &SQLite{"sqlite", *j.SQLite})
	}
	if j.Postgres != nil {
		list = append(list, &Postgres{"postgres", *j.Postgres})
	}
	if j.Redis != nil {
		list = append(list, &Redis{"redis", *j.Redis})
	}
	return list
}

// run prepares and waits for its end.
func (j job) run() {
	if _, err := PrepareAll(context.Background(), j.Dir, j.sources()...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("prepared")
	select {}
}

// start runs the job in a process of its own.
func (j job) start(t *testing.T) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(j)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SOURCE_TEST_JOB="+string(text))
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	return cmd
}

// A process that is killed at any moment leaves folders, and the next export removes them. The
// programs that it ran end with it, and with them what they hold in the servers.
func TestKilledProcessLeavesNothingForLong(t *testing.T) {
	testenv.Need(t, "pg_basebackup", "pg_verifybackup", "sqlite3")
	postgres, redis := testenv.Postgres(t), testenv.Redis(t, "rdb-key-save-delay 300")
	c := postgres.Connect(t)
	newPostgresBank(t, c, 10_000)
	newRedisBank(t, redis.Addr, 300)
	live := filepath.Join(t.TempDir(), "app.db")
	newSQLiteBank(t, live, "wal", 1000)
	j := job{
		Dir: filepath.Join(t.TempDir(), "exports"), SQLite: &SQLiteOptions{Path: live},
		Redis: &RedisOptions{Address: redis.Addr}, Postgres: &PostgresOptions{Data: postgres.Data, DSN: postgres.DSN},
	}
	for range 8 {
		cmd := j.start(t)
		delay := time.NewTimer(time.Duration(rand.IntN(700)) * time.Millisecond)
		<-delay.C
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		require.Eventually(t, func() bool {
			var left int
			require.NoError(t, c.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_replication_slots)
 + (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender')`).Scan(&left))
			return left == 0 && len(processes(j.Dir)) == 0
		}, 20*time.Second, 10*time.Millisecond)
	}
	e, err := PrepareAll(t.Context(), j.Dir, j.sources()...)
	require.NoError(t, err)
	list, err := os.ReadDir(j.Dir)
	require.NoError(t, err)
	require.Len(t, list, 3, "leftovers were not removed, or an export in use was")
	require.NoError(t, e.Close(t.Context()))
	requireNothing(t, j.Dir)
}

// The program that writes the export is killed, and not its child.
func TestPostgresChildEndsWithItsParent(t *testing.T) {
	testenv.Need(t, "pg_basebackup", "pg_verifybackup")
	server := testenv.Postgres(t)
	c := server.Connect(t)
	newPostgresBank(t, c, 20_000)
	dir := t.TempDir()
	s := &Postgres{"shop", PostgresOptions{Data: server.Data, DSN: server.DSN}}
	ended := make(chan error, 1)
	go func() { _, err := s.Prepare(t.Context(), dir); ended <- err }()
	require.Eventually(t, func() bool { return len(processes(dir)) == 2 }, 10*time.Second, 200*time.Microsecond)
	parent := processes(dir)[0]
	if other := processes(dir); len(other) == 2 && childOf(other[1]) == other[0] {
		parent = other[1]
	}
	require.NoError(t, syscall.Kill(parent, syscall.SIGKILL))
	require.ErrorContains(t, <-ended, "killed")
	require.Eventually(t, func() bool {
		var left int
		require.NoError(t, c.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'").Scan(&left))
		return left == 0 && len(processes(dir)) == 0
	}, 20*time.Second, 10*time.Millisecond)
	requireNothing(t, dir)
}
