package capture

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// Folders of restores are no state, wherever they lie. What only has such a name is.
func TestFoldersOfRestoresAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	staged, kept := format.StagePrefix+"20261123-135531-7f3a9c", format.KeptPrefix+"gone"
	write(t, dir+"/data", "state")
	for _, own := range []string{"/" + staged, "/sub/" + kept} {
		write(t, dir+own+"/old/secret", "not the state")
		require.NoError(t, os.Chmod(dir+own, 0o700))
	}
	write(t, dir+"/"+format.KeptPrefix+"file", "a file")
	write(t, dir+"/"+format.KeptPrefix+"open/file", "anybody's")
	require.NoError(t, os.Chmod(dir+"/"+format.KeptPrefix+"open", 0o755))
	require.NoError(t, os.Symlink("data", dir+"/"+format.StagePrefix+"link"))
	want := []string{dir, dir + "/" + format.KeptPrefix + "file", dir + "/" + format.KeptPrefix + "open",
		dir + "/" + format.KeptPrefix + "open/file", dir + "/" + format.StagePrefix + "link", dir + "/data", dir + "/sub"}
	if os.Geteuid() == 0 {
		write(t, dir+"/"+format.KeptPrefix+"foreign/file", "another user's")
		require.NoError(t, os.Chmod(dir+"/"+format.KeptPrefix+"foreign", 0o700))
		require.NoError(t, os.Chown(dir+"/"+format.KeptPrefix+"foreign", 1, 1))
		want = append(want, dir+"/"+format.KeptPrefix+"foreign", dir+"/"+format.KeptPrefix+"foreign/file")
	}
	m := newMemory()
	r := capture(t, m, Options{Roots: []string{dir}})
	require.ElementsMatch(t, want, m.paths())
	require.Empty(t, r.Skipped, "what a golden's header calls skipped a restore treats as the set's")

	// One that is asked for by itself is captured.
	own := dir + "/sub/" + kept
	m = newMemory()
	capture(t, m, Options{Roots: []string{own}})
	require.Equal(t, []string{own, own + "/old", own + "/old/secret"}, m.paths())
	_, err := Run(t.Context(), newMemory(), Options{Roots: []string{dir, own + "/old"}})
	require.ErrorContains(t, err, "a restore has made")
	require.NotEmpty(t, shivx.HintOf(err))
}
