package e2e_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/test/stand"
)

// wreck damages the state of all services while they run: files deleted, edited and added, modes
// changed, a folder replaced by a link, databases truncated.
func (s *shop) wreck(t *testing.T) {
	t.Helper()
	s.wreckWeb(t)
	s.wreckDatabase(t)

	log := filepath.Join(s.cache.Dir, "appendonlydir")
	files, err := filepath.Glob(filepath.Join(log, "*.aof"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		truncateToHalf(t, f)
	}
	require.NoError(t, os.Remove(filepath.Join(log, "appendonly.aof.manifest")))
	require.NoError(t, os.WriteFile(s.cache.Conf, []byte("port none\n"), 0o600))

	truncateToHalf(t, s.till.database())
	require.NoError(t, os.WriteFile(s.till.config(), []byte(`{"listen": `), 0o666))
	require.NoError(t, os.Chmod(s.till.data(), 0))
}

// wreckWeb leaves a link to somebody else's folder where nginx has its files.
func (s *shop) wreckWeb(t *testing.T) {
	t.Helper()
	static := filepath.Join(s.web.Root, "static")
	require.NoError(t, os.RemoveAll(filepath.Join(static, "0")))
	require.NoError(t, os.WriteFile(filepath.Join(static, "1", "file 1"), []byte("edited"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(static, "shell.php"), []byte("added"), 0o777))
	require.NoError(t, filepath.WalkDir(static, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		return os.Chmod(path, 0o777)
	}))
	elsewhere := s.elsewhere()
	require.NoError(t, os.RemoveAll(elsewhere))
	require.NoError(t, os.Rename(s.web.Root, elsewhere))
	require.NoError(t, os.Symlink(elsewhere, s.web.Root))
	require.NoError(t, os.WriteFile(s.web.Conf, []byte("worker_processes ]]]\x00"), 0o777))
	require.NoError(t, os.RemoveAll(s.sites()))
}

// elsewhere is where the link leads that wreckWeb makes; a restore leaves it alone.
func (s *shop) elsewhere() string { return filepath.Join(s.web.Dir, "elsewhere") }

func (s *shop) wreckDatabase(t *testing.T) {
	t.Helper()
	var file string
	require.NoError(t, s.database.Connect(t).QueryRow(t.Context(), "SELECT pg_relation_filepath('orders')").Scan(&file))
	truncateToHalf(t, filepath.Join(s.database.Data, file))
	for _, name := range []string{"global/pg_control", "pg_hba.conf"} {
		require.NoError(t, os.Remove(filepath.Join(s.database.Data, name)))
	}
	require.NoError(t, os.WriteFile(filepath.Join(s.database.Data, "postgresql.conf"), []byte("port = none\n"), 0o600))
	require.NoError(t, os.Chmod(s.database.Data, 0o777))
}

func truncateToHalf(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, info.Size()/2))
}

// raze kills all services and leaves little of their state.
func (s *shop) raze(t *testing.T) {
	t.Helper()
	for name, pid := range s.pids() {
		require.Positive(t, pid, name)
		group, err := syscall.Getpgid(pid)
		require.NoError(t, err, name)
		require.Equal(t, pid, group, "%s is not in a group of its own", name)
		require.NoError(t, syscall.Kill(-pid, syscall.SIGKILL), name)
		stand.Await(t, patience, name+" to be gone", func(context.Context) bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(stat), ") Z ")
		})
	}
	s.wreckWeb(t)
	require.NoError(t, os.RemoveAll(s.database.Data))
	require.NoError(t, os.RemoveAll(filepath.Join(s.cache.Dir, "appendonlydir")))
	require.NoError(t, os.Remove(s.cache.Conf))
	// The killed service has left its write-ahead log, which belongs to another state than the golden's.
	require.FileExists(t, s.till.database()+"-wal")
	truncateToHalf(t, s.till.database())
	require.NoError(t, os.Remove(s.till.config()))
}

// spoil changes a byte in the middle of each pack of the store, and returns how to undo that.
func (s *shop) spoil(t *testing.T) (mend func()) {
	t.Helper()
	flip := func() {
		packs, err := filepath.Glob(filepath.Join(s.Var, "golden", "packs", "*", "*.pack"))
		require.NoError(t, err)
		require.NotEmpty(t, packs)
		for _, p := range packs {
			f, err := os.OpenFile(p, os.O_RDWR, 0)
			require.NoError(t, err)
			info, err := f.Stat()
			require.NoError(t, err)
			one := make([]byte, 1)
			_, err = f.ReadAt(one, info.Size()/2)
			require.NoError(t, err)
			one[0] ^= 0x10
			_, err = f.WriteAt(one, info.Size()/2)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
	}
	flip()
	return flip
}
