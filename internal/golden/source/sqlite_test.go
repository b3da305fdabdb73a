package source

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
)

// accounts is how many accounts every bank has; together they always hold accounts*100.
const accounts = 20

// sqliteBank moves money in a database without pause, as a program of its own.
type sqliteBank struct {
	path  string
	in    io.WriteCloser
	out   *bufio.Scanner
	acked atomic.Int64
}

func newSQLiteBank(t *testing.T, path, mode string, fill int) *sqliteBank {
	testenv.Need(t, "sqlite3")
	b := &sqliteBank{path: path}
	cmd := exec.Command("sqlite3", "-batch", path)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	b.in, b.out = in, bufio.NewScanner(out)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	b.do(fmt.Sprintf(`.timeout 60000
PRAGMA journal_mode=%s; PRAGMA synchronous=OFF;
CREATE TABLE account(id INTEGER PRIMARY KEY, money INTEGER);
CREATE TABLE log(i INTEGER PRIMARY KEY, a INTEGER, b INTEGER, money INTEGER);
CREATE TABLE fill(x BLOB);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i < %d) INSERT INTO account SELECT i, 100 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d) INSERT INTO fill SELECT randomblob(4000) FROM n;
`, mode, accounts-1, fill))
	return b
}

// do runs statements and returns when they are acknowledged.
func (b *sqliteBank) do(sql string) bool {
	if _, err := io.WriteString(b.in, sql+"\nSELECT 'done';\n"); err != nil {
		return false
	}
	for b.out.Scan() {
		if b.out.Text() == "done" {
			return true
		}
	}
	return false
}

// run moves money until stop is closed.
func (b *sqliteBank) run(stop <-chan struct{}) {
	for i := int64(1); ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		if !b.do(fmt.Sprintf(`BEGIN IMMEDIATE; UPDATE account SET money = money - %[4]d WHERE id = %[2]d;
UPDATE account SET money = money + %[4]d WHERE id = %[3]d; INSERT INTO log VALUES(%[1]d, %[2]d, %[3]d, %[4]d); COMMIT;`,
			i, i%accounts, (i*7+1)%accounts, i%5)) {
			return
		}
		b.acked.Store(i)
	}
}

// whileWriting runs f under constant writes, once some are acknowledged.
func whileWriting(t *testing.T, run func(stop <-chan struct{}), acked *atomic.Int64, f func()) {
	t.Helper()
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); run(stop) }()
	defer func() { close(stop); <-ended }()
	require.Eventually(t, func() bool { return acked.Load() > 50 }, 20*time.Second, time.Millisecond)
	f()
}

func query(t *testing.T, path, sql string) string {
	t.Helper()
	out, err := exec.Command("sqlite3", "-batch", path, sql).CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.TrimSpace(string(out))
}

// requireSQLite checks that every account of the database is what the transfers in it say, and that
// it has all the transfers up to acked.
func requireSQLite(t *testing.T, path string, acked int64) {
	t.Helper()
	require.Equal(t, fmt.Sprint(accounts*100), query(t, path, "SELECT sum(money) FROM account"))
	require.Equal(t, "0", query(t, path, `SELECT count(*) FROM account WHERE money <> 100
 + (SELECT coalesce(sum(money), 0) FROM log WHERE b = id) - (SELECT coalesce(sum(money), 0) FROM log WHERE a = id)`))
	require.Equal(t, "0", query(t, path, "SELECT max(i) - count(*) FROM log"))
	require.Equal(t, "1", query(t, path, fmt.Sprintf("SELECT max(i) >= %d FROM log", acked)))
	require.Equal(t, "ok", query(t, path, "PRAGMA integrity_check"))
}

// requireNothing checks that no export is left.
func requireNothing(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	require.Empty(t, list)
}

func TestSQLiteUnderWrites(t *testing.T) {
	// Without the pinned snapshot a copy of this size is begun anew for half a minute.
	for mode, limit := range map[string]time.Duration{"wal": 6 * time.Second, "delete": 20 * time.Second} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			live, dir := filepath.Join(t.TempDir(), `a 'b"?#%.db`), filepath.Join(t.TempDir(), "exports")
			bank := newSQLiteBank(t, live, mode, 8000)
			require.NoError(t, os.Chmod(live, 0o640))
			require.NoError(t, os.Chown(live, 1, 2))
			s, err := NewSQLite("shop", SQLiteOptions{Path: live, Limit: limit})
			require.NoError(t, err)
			whileWriting(t, bank.run, &bank.acked, func() {
				acked := bank.acked.Load()
				began := time.Now()
				e, err := s.Prepare(t.Context(), dir)
				require.NoError(t, err)
				t.Logf("%d transfers during %s", bank.acked.Load()-acked, time.Since(began))
				require.Greater(t, bank.acked.Load(), acked, "nobody wrote during the export")
				require.NoError(t, s.Verify(t.Context(), e.Overlays[live]))
				restored := filepath.Join(t.TempDir(), "restored.db")
				copyFile(t, e.Overlays[live], restored)
				requireSQLite(t, restored, acked)
				require.Equal(t, mode, query(t, restored, "PRAGMA journal_mode"))
				info, err := os.Stat(e.Overlays[live])
				require.NoError(t, err)
				require.Equal(t, os.FileMode(0o640), info.Mode())
				require.Equal(t, owner{1, 2}, ownerOf(info))
				folder, err := os.Stat(filepath.Dir(e.Overlays[live]))
				require.NoError(t, err)
				require.Equal(t, os.FileMode(0o700), folder.Mode().Perm())
				require.NoError(t, e.Close(t.Context()))
				require.NoError(t, e.Close(t.Context()))
			})
			requireNothing(t, dir)
			requireSQLite(t, live, bank.acked.Load())
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, data, 0o600))
}

// A database that nobody has open gets no files beside it, and one that was left with a log is exported with it.
func TestSQLiteAtRest(t *testing.T) {
	testenv.Need(t, "sqlite3")
	folder, dir := t.TempDir(), t.TempDir()
	live := filepath.Join(folder, "app.db")
	query(t, live, "PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES(1)")
	s, err := NewSQLite("app", SQLiteOptions{Path: live})
	require.NoError(t, err)
	e, err := s.Prepare(t.Context(), dir)
	require.NoError(t, err)
	list, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "1", query(t, e.Overlays[live], "SELECT x FROM t"))
	require.NoError(t, e.Close(t.Context()))
}

// Why the logs are absent from a golden: left beside an older state, they change it.
func TestSQLiteLogOfAnotherStateDestroys(t *testing.T) {
	folder, dir := t.TempDir(), t.TempDir()
	live := filepath.Join(folder, "app.db")
	bank := newSQLiteBank(t, live, "wal", 10)
	s, err := NewSQLite("app", SQLiteOptions{Path: live})
	require.NoError(t, err)
	e, err := s.Prepare(t.Context(), dir)
	require.NoError(t, err)
	require.True(t, bank.do("INSERT INTO log VALUES(1, 0, 1, 5);")) // in the log only
	later := t.TempDir()
	copyFile(t, e.Overlays[live], filepath.Join(later, "app.db"))
	copyFile(t, live+"-wal", filepath.Join(later, "app.db-wal"))
	require.Equal(t, "1", query(t, filepath.Join(later, "app.db"), "SELECT count(*) FROM log"))
	require.Contains(t, e.Absent, live+"-wal")
	require.NoError(t, e.Close(t.Context()))
}

func TestSQLiteRefuses(t *testing.T) {
	testenv.Need(t, "sqlite3")
	folder, dir := t.TempDir(), filepath.Join(t.TempDir(), "exports")
	at := func(name string) string { return filepath.Join(folder, name) }
	query(t, at("good.db"), "CREATE TABLE t(x); CREATE INDEX i ON t(x); INSERT INTO t VALUES(1),(2),(3)")
	data, err := os.ReadFile(at("good.db"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(at("cut.db"), data[:len(data)-4096], 0o600))
	broken := append([]byte(nil), data...)
	clear(broken[len(broken)-30:]) // the index no longer has the rows of the table
	require.NoError(t, os.WriteFile(at("index.db"), broken, 0o600))
	require.NoError(t, os.WriteFile(at("noise.db"), []byte(strings.Repeat("no database ", 1000)), 0o600))
	require.NoError(t, os.Symlink(at("good.db"), at("link.db")))
	for name, want := range map[string]string{
		"cut.db": "malformed", "index.db": "integrity_check", "noise.db": "not a database", "link.db": "not a file", "none.db": "no such file",
	} {
		s, err := NewSQLite("x", SQLiteOptions{Path: at(name)})
		require.NoError(t, err)
		_, err = s.Prepare(t.Context(), dir)
		require.ErrorContains(t, err, want, name)
		require.NotEmpty(t, shivx.HintOf(err), "%s: %v", name, err)
		requireNothing(t, dir)
	}
	require.NoFileExists(t, at("none.db"))
	require.Error(t, (&SQLite{}).Verify(t.Context(), at("index.db")))
	require.Error(t, (&SQLite{}).Verify(t.Context(), at("cut.db")))
	require.NoError(t, (&SQLite{}).Verify(t.Context(), at("good.db")))
}

func TestSQLiteFullDisk(t *testing.T) {
	live, dir := filepath.Join(t.TempDir(), "app.db"), filepath.Join(t.TempDir(), "small")
	newSQLiteBank(t, live, "wal", 1000)
	testenv.Tmpfs(t, dir, "size=2m")
	s, err := NewSQLite("app", SQLiteOptions{Path: live})
	require.NoError(t, err)
	_, err = s.Prepare(t.Context(), dir)
	require.ErrorContains(t, err, "MB are missing")
	require.NotEmpty(t, shivx.HintOf(err))
	requireNothing(t, dir)
	// There is room, but none for another file.
	testenv.Tmpfs(t, dir, "size=200m,nr_inodes=8")
	_, err = s.Prepare(t.Context(), dir)
	require.ErrorIs(t, err, unix.ENOSPC)
	require.Contains(t, shivx.HintOf(err), "remove some files")
	requireNothing(t, dir)
	require.NoError(t, unix.Unmount(dir, 0))
	// It fills up between the look and the copy.
	err = s.export(t.Context(), dir, -reserve)
	require.ErrorContains(t, err, "full")
	require.Contains(t, shivx.HintOf(err), "free some space")
}

func TestSQLiteCancelAndLimit(t *testing.T) {
	live, dir := filepath.Join(t.TempDir(), "app.db"), t.TempDir()
	bank := newSQLiteBank(t, live, "delete", 10)
	require.True(t, bank.do("BEGIN EXCLUSIVE;")) // no reader gets in
	s, err := NewSQLite("app", SQLiteOptions{Path: live, Limit: 300 * time.Millisecond})
	require.NoError(t, err)
	_, err = s.Prepare(t.Context(), dir)
	require.ErrorIs(t, err, errLimit)
	require.NotEmpty(t, shivx.HintOf(err))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	s.o.Limit = time.Minute
	_, err = s.Prepare(ctx, dir)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	requireNothing(t, dir)
}
