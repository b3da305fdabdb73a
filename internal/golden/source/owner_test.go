package source

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Whoever owns the folder of a database could have a link in it lead to a program of root's: the export would get
// its owner and its mode, and a restore would make a program of root's with content that is not.
func TestExportsAreLikeNothingBehindALink(t *testing.T) {
	dir, target := t.TempDir(), filepath.Join(t.TempDir(), "program")
	require.NoError(t, os.WriteFile(target, nil, 0o600))
	require.NoError(t, os.Chmod(target, 0o755|os.ModeSetuid))
	require.NoError(t, os.Symlink(target, filepath.Join(dir, "app.db")))
	require.NoError(t, os.Symlink(filepath.Dir(target), filepath.Join(dir, "log")))
	for _, rel := range []string{"app.db", "log", "log/program"} {
		_, err := openLive(dir, rel)
		require.Error(t, err, rel)
	}

	copied := filepath.Join(t.TempDir(), "copy")
	rdb := filepath.Join(dir, "dump.rdb")
	require.NoError(t, os.WriteFile(rdb, nil, 0o640))
	require.NoError(t, os.WriteFile(copied, nil, 0o600))
	saved, err := openLive(dir, "dump.rdb")
	require.NoError(t, err)
	defer saved.Close()
	found, err := redisLayout{rdb: rdb}.adopt(copied, filepath.Join(dir, "log", "program"), saved)
	require.NoError(t, err)
	require.False(t, found)
	info, err := os.Stat(copied)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode())

	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	pipe, err := openLive(dir, "pipe")
	require.NoError(t, err, "it must not wait for somebody who writes")
	require.NoError(t, pipe.Close())
}

// What a database has written says which program is run, and it must be one of PostgreSQL's.
func TestPostgresVersionLeadsNowhereElse(t *testing.T) {
	data, bin := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(bin, "bin"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(bin, "bin", "program"), []byte("#!/bin/sh\n"), 0o755))
	for _, version := range []string{"../../.." + bin, "17/../../../.." + bin, "17\n18", ".", "17.", ""} {
		require.NoError(t, os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte(version+"\n"), 0o600))
		require.Equal(t, "program", program("", data, "program"), version)
	}
	for _, version := range []string{"17", "9.6"} {
		require.True(t, pgVersion.MatchString(version), version)
	}
}

// A copy is checked with the rights of whoever it belongs to.
func TestPostgresIsVerifiedWithoutRights(t *testing.T) {
	as := other(t)
	bin, err := os.MkdirTemp("", "shivx-test-") //nolint:usetesting // t.TempDir is closed to other users
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(bin) })
	require.NoError(t, os.Chmod(bin, 0o755))
	script := "#!/bin/sh\nid -u >&2; [ $(id -u) != 0 ] && cat \"$2/PG_VERSION\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "pg_verifybackup"), []byte(script), 0o755))
	data := filepath.Join(t.TempDir(), "closed", "data")
	require.NoError(t, os.MkdirAll(filepath.Join(data, "pg_tblspc"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("17\n"), 0o600))
	require.NoError(t, os.Chown(data, as.uid, as.gid))
	require.NoError(t, os.Chown(filepath.Join(data, "PG_VERSION"), as.uid, as.gid))
	s, err := NewPostgres("db", PostgresOptions{Data: "/live", Bin: bin})
	require.NoError(t, err)
	require.NoError(t, s.Verify(t.Context(), data))
}
