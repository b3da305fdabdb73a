package source

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
)

type postgresBank struct {
	c     *pgx.Conn
	acked atomic.Int64
}

func newPostgresBank(t *testing.T, c *pgx.Conn, fill int) *postgresBank {
	sql(t, c, `CREATE TABLE account(id int PRIMARY KEY, money int);
CREATE TABLE log(i bigint PRIMARY KEY, a int, b int, money int);
INSERT INTO account SELECT i, 100 FROM generate_series(0, `+fmt.Sprint(accounts-1)+`) i;
CREATE TABLE fill AS SELECT i, repeat(md5(i::text), 30) x FROM generate_series(1, `+fmt.Sprint(fill)+`) i`)
	return &postgresBank{c: c}
}

func sql(t *testing.T, c *pgx.Conn, text string) {
	t.Helper()
	_, err := c.Exec(context.Background(), text)
	require.NoError(t, err)
}

func (b *postgresBank) run(stop <-chan struct{}) {
	for i := int64(1); ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		if _, err := b.c.Exec(context.Background(), fmt.Sprintf(`BEGIN; UPDATE account SET money = money - %[4]d WHERE id = %[2]d;
UPDATE account SET money = money + %[4]d WHERE id = %[3]d; INSERT INTO log VALUES(%[1]d, %[2]d, %[3]d, %[4]d); COMMIT`,
			i, i%accounts, (i*7+1)%accounts, i%5)); err != nil {
			return
		}
		b.acked.Store(i)
	}
}

// requirePostgres checks that every account is what the transfers say, and that the fill is whole.
func requirePostgres(t *testing.T, c *pgx.Conn, acked int64, fill int) {
	t.Helper()
	var sum, wrong, last, count, filled int64
	require.NoError(t, c.QueryRow(t.Context(), `SELECT (SELECT sum(money) FROM account),
 (SELECT count(*) FROM account WHERE money <> 100 + (SELECT coalesce(sum(money), 0) FROM log WHERE b = id)
   - (SELECT coalesce(sum(money), 0) FROM log WHERE a = id)),
 (SELECT max(i) FROM log), (SELECT count(*) FROM log), (SELECT count(*) FROM fill WHERE x = repeat(md5(i::text), 30))`).
		Scan(&sum, &wrong, &last, &count, &filled))
	require.EqualValues(t, accounts*100, sum)
	require.Zero(t, wrong)
	require.Equal(t, last, count)
	require.GreaterOrEqual(t, last, acked)
	require.EqualValues(t, fill, filled)
}

// reference writes a secret to a file and returns the reference to it.
func reference(t *testing.T, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(secret+"\n"), 0o600))
	return "file:" + path
}

func TestPostgresUnderWrites(t *testing.T) {
	testenv.Need(t, "pg_basebackup", "pg_verifybackup")
	server := testenv.Postgres(t)
	c := server.Connect(t)
	space := filepath.Join(server.Dir, "a = space")
	require.NoError(t, os.Mkdir(space, 0o700))
	info, err := os.Stat(server.Data)
	require.NoError(t, err)
	require.NoError(t, os.Chown(space, ownerOf(info).uid, ownerOf(info).gid))
	sql(t, c, "CREATE TABLESPACE side LOCATION '"+space+"'")
	bank := newPostgresBank(t, c, 5000)
	sql(t, c, "ALTER TABLE fill SET TABLESPACE side")
	dir := filepath.Join(t.TempDir(), "exports") // below a folder that the user cannot pass
	user := ""
	if os.Geteuid() == 0 {
		user = "postgres"
	}
	s, err := NewPostgres("shop", PostgresOptions{Data: server.Data, DSN: reference(t, server.DSN), User: user})
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
	require.Len(t, e.Overlays, 2)
	for live, export := range e.Overlays {
		same, err := os.Stat(live)
		require.NoError(t, err)
		info, err := os.Stat(export)
		require.NoError(t, err)
		require.Equal(t, ownerOf(same), ownerOf(info))
		require.Equal(t, same.Mode(), info.Mode())
	}
	links, err := filepath.Glob(filepath.Join(e.Overlays[server.Data], "pg_tblspc", "*"))
	require.NoError(t, err)
	require.Len(t, links, 1)
	target, err := os.Readlink(links[0])
	require.NoError(t, err)
	require.Equal(t, space, target)
	require.NoError(t, s.Verify(t.Context(), e.Overlays[server.Data]))
	sql(t, c, "UPDATE account SET money = 0; DROP TABLE fill")
	server.Kill(t)
	putBack(t, e)
	require.NoError(t, os.WriteFile(filepath.Join(space, "not-touched"), nil, 0o600))
	server.Start(t)
	requirePostgres(t, server.Connect(t), acked, 5000)
	require.NoError(t, e.Close(t.Context()))
	requireNothing(t, dir)
}

// As root without a user the export belongs to whoever the live folder belongs to.
func TestPostgresAsRoot(t *testing.T) {
	testenv.Need(t, "pg_basebackup", "pg_verifybackup")
	server := testenv.Postgres(t)
	bank := newPostgresBank(t, server.Connect(t), 10)
	sql(t, bank.c, "INSERT INTO log VALUES(1, 1, 2, 0)")
	s, err := NewPostgres("shop", PostgresOptions{Data: server.Data, DSN: server.DSN})
	require.NoError(t, err)
	e, err := s.Prepare(t.Context(), t.TempDir())
	require.NoError(t, err)
	server.Kill(t)
	putBack(t, e)
	server.Start(t)
	requirePostgres(t, server.Connect(t), 1, 10)
	path := e.Overlays[server.Data]
	require.NoError(t, s.Verify(t.Context(), path))
	damage(t, filepath.Join(path, "global", "1262"))
	require.ErrorContains(t, s.Verify(t.Context(), path), "checksum mismatch")
	require.NoError(t, e.Close(t.Context()))
}

// damage changes a byte in the middle of a file.
func damage(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

func TestPostgresRefuses(t *testing.T) {
	testenv.Need(t, "pg_basebackup", "pg_verifybackup")
	server, other := testenv.Postgres(t, "max_wal_senders = 1"), testenv.Postgres(t, "log_connections = on")
	dir := t.TempDir()
	sql(t, other.Connect(t), "CREATE ROLE weak LOGIN PASSWORD 'hush-hush'")
	at := func(s *testenv.PostgresServer, user, password string) PostgresOptions {
		return PostgresOptions{Data: s.Data, DSN: "host=127.0.0.1 port=" + testenv.Port(t, s.Addr) + " user=" + user + " password='" + password + "'"}
	}
	elsewhere := at(other, "postgres", other.Password)
	elsewhere.Data = server.Data
	cases := map[string]PostgresOptions{
		"password authentication failed": at(other, "postgres", "hush-hush-false"),
		"replication role":               at(other, "weak", "hush-hush"),
		"max_wal_senders":                at(server, "postgres", server.Password),
		"Connection refused":             {Data: server.Data, DSN: "host=127.0.0.1 user=postgres port=" + testenv.Port(t, testenv.Addr(t))},
		"not the one in":                 elsewhere,
		"no data folder":                 {Data: dir},
		"no connection string":           {Data: server.Data, DSN: "hush-hush"},
		"no such file":                   {Data: server.Data, Bin: "/nonexistent"},
		"unknown user":                   {Data: server.Data, User: "no-such-user"},
	}
	for want, o := range cases {
		s, err := NewPostgres("shop", o)
		require.NoError(t, err)
		_, err = s.Prepare(t.Context(), dir)
		require.ErrorContains(t, err, want)
		require.NotEmpty(t, shivx.HintOf(err), err)
		require.NotContains(t, err.Error(), "hush-hush")
		requireNothing(t, dir)
	}
}

func TestPostgresKilledCancelledFull(t *testing.T) {
	testenv.Need(t, "pg_basebackup", "pg_verifybackup")
	server := testenv.Postgres(t)
	c := server.Connect(t)
	newPostgresBank(t, c, 20_000)
	dir := t.TempDir()
	s, err := NewPostgres("shop", PostgresOptions{Data: server.Data, DSN: server.DSN})
	require.NoError(t, err)
	clean := func() {
		t.Helper()
		requireNothing(t, dir)
		require.Eventually(t, func() bool {
			var left string
			require.NoError(t, c.QueryRow(t.Context(), `SELECT coalesce(string_agg(a::text, chr(10)), '') FROM pg_stat_activity a WHERE backend_type='walsender'`).Scan(&left))
			return left == ""
		}, 20*time.Second, 10*time.Millisecond, "something is left in the server")
	}
	killed := 0
	for range 8 {
		ended := make(chan error, 1)
		go func() {
			e, err := s.Prepare(t.Context(), dir)
			if err == nil {
				err = e.Close(t.Context())
			}
			ended <- err
		}()
		delay := time.NewTimer(time.Duration(rand.IntN(250)) * time.Millisecond)
		<-delay.C
		for _, pid := range processes(dir) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err := <-ended; err != nil {
			killed++
			require.Contains(t, shivx.HintOf(err), "killed", "%v", err)
		}
		clean()
	}
	require.Positive(t, killed)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = s.Prepare(ctx, dir)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	clean()

	dir = filepath.Join(t.TempDir(), "small")
	testenv.Tmpfs(t, dir, "size=8m")
	_, err = s.Prepare(t.Context(), dir)
	require.ErrorContains(t, err, "MB are missing")
	clean()
	err = s.baseBackup(t.Context(), dir, nil, map[string]string{server.Data: filepath.Join(dir, "data")})
	require.ErrorContains(t, err, "No space left")
	require.Contains(t, shivx.HintOf(err), "free some space")
}

// processes are those whose command line names dir.
func processes(dir string) []int {
	var list []int
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		line, _ := os.ReadFile(path)
		if pid, err := strconv.Atoi(strings.Split(path, "/")[2]); err == nil && bytes.Contains(line, []byte("="+dir)) {
			list = append(list, pid)
		}
	}
	return list
}
