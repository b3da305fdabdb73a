package checkpoint

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

// TestHardLinksOfPathsThatAreTurned: where the state really lies, the link comes before the file.
func TestHardLinksOfPathsThatAreTurned(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	write(t, dir+"/z/a/x", "good")
	require.NoError(t, os.MkdirAll(dir+"/b", 0o755))
	require.NoError(t, os.MkdirAll(dir+"/c", 0o755))
	require.NoError(t, os.Symlink(dir+"/z/a", dir+"/a"))
	for _, name := range []string{"/b/y", "/c/w", "/z/a/v"} {
		require.NoError(t, os.Link(dir+"/z/a/x", dir+name))
	}
	state := config.State{Paths: []string{dir + "/a", dir + "/b", dir + "/c"}}
	c := take(t, s, "k", state)
	names := []string{"/z/a/x", "/b/y", "/c/w", "/z/a/v"}
	for _, name := range names {
		require.NoError(t, os.Remove(dir+name))
	}
	_, err := s.Restore(ctx, c, nil)
	require.NoError(t, err)
	for _, name := range names {
		require.Equal(t, "good", read(t, dir+name))
		require.True(t, sameFile(t, dir+names[0], dir+name), name)
	}
	// The file itself is no part of it, and the first of its links in the golden is not the first on the disk.
	write(t, dir+"/z/a/other", "1")
	require.NoError(t, os.Remove(dir+"/b/y"))
	require.NoError(t, os.Remove(dir+"/z/a/x"))
	_, err = s.Restore(ctx, c, nil, Only(dir+"/a/x", dir+"/b"))
	require.NoError(t, err)
	require.Equal(t, "good", read(t, dir+"/b/y"))
	require.True(t, sameFile(t, dir+"/b/y", dir+"/z/a/x"))
}
