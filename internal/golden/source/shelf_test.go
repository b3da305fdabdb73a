package source

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
)

// other returns another user than the one of the test.
func other(t *testing.T) *account {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root, to become another user")
	}
	as, err := lookUp("nobody")
	require.NoError(t, err)
	return as
}

// Another user writes to the folder that is its own, although those above are closed to it.
func TestToolReachesItsFolder(t *testing.T) {
	as := other(t)
	dir := filepath.Join(t.TempDir(), "closed", "exports")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.Chown(dir, as.uid, as.gid))
	tl := tool{as: as, dir: dir}
	file := filepath.Join(dir, "file")
	tl.argv = []string{"sh", "-c", `id -un; echo here >"$1"; ls "$1"`, "sh", tl.reach(file)}
	out, err := tl.run(t.Context())
	require.NoError(t, err)
	require.Equal(t, "nobody\n"+file+"\n", out, "what it says names the folder as everybody knows it")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "here\n", string(text))
	require.Equal(t, "/elsewhere", tl.reach("/elsewhere"))
	require.Equal(t, file, tool{dir: dir}.reach(file), "who may pass needs no other name")
}

// Whoever has filled a folder may leave links in it; nothing outside is touched through them.
func TestShelfKeepsToItself(t *testing.T) {
	as := other(t)
	outside, dir := t.TempDir(), t.TempDir()
	victim := filepath.Join(outside, "16384")
	require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o600))
	live := filepath.Join(t.TempDir(), "live")
	require.NoError(t, os.Mkdir(live, 0o777))
	require.NoError(t, os.Chown(live, as.uid, as.gid))
	data := filepath.Join(dir, "data")
	require.NoError(t, os.Chown(dir, as.uid, as.gid))
	require.NoError(t, os.Mkdir(data, 0o700))
	require.NoError(t, os.Symlink(outside, filepath.Join(data, "pg_tblspc")))
	require.NoError(t, os.Symlink(victim, filepath.Join(data, "file")))

	s, err := takeOver(dir, as)
	require.NoError(t, err)
	defer func() { _ = s.Close() }()
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, owner{}, ownerOf(info), "the user is still let in")
	require.Error(t, s.link(data, map[string]string{"16384": "/space"}, func(l string) string { return l }))
	require.NoError(t, s.adopt(data, live))
	require.NoError(t, os.RemoveAll(data))
	require.NoError(t, os.Symlink(outside, data))
	require.Error(t, s.adopt(data, live))

	for _, path := range []string{outside, victim} {
		info, err := os.Lstat(path)
		require.NoError(t, err)
		require.Equal(t, owner{}, ownerOf(info), path)
	}
	text, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
}
