package checkpoint

import (
	"context"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/config"
)

func TestAHardLinkThatBecameSomethingElse(t *testing.T) {
	for name, become := range map[string]func(t *testing.T, path string) Change{
		"symlink": func(t *testing.T, path string) Change {
			require.NoError(t, os.Symlink("a", path))
			return Change{Path: path, Kind: Changed, Detail: "a file became a symlink"}
		},
		"pipe": func(t *testing.T, path string) Change {
			require.NoError(t, unix.Mkfifo(path, 0o600))
			return Change{Path: path, Kind: Changed, Detail: "a file became a fifo"}
		},
		"socket": func(t *testing.T, path string) Change {
			l, err := net.Listen("unix", path)
			require.NoError(t, err)
			t.Cleanup(func() { _ = l.Close() })
			return Change{Path: path, Kind: Removed}
		},
		"folder": func(t *testing.T, path string) Change {
			require.NoError(t, os.MkdirAll(path+"/x/y", 0o755))
			return Change{Path: path, Kind: Changed, Detail: "a file became a dir"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir, ctx := newStore(t), t.TempDir(), context.Background()
			write(t, dir+"/t/a", "good")
			require.NoError(t, os.Link(dir+"/t/a", dir+"/t/b"))
			state := config.State{Paths: []string{dir + "/t"}}
			c := take(t, s, "k", state)
			require.NoError(t, os.Remove(dir+"/t/b"))
			want := become(t, dir+"/t/b")
			d, err := s.Compare(ctx, c, state)
			require.NoError(t, err)
			require.Contains(t, d.Changes, want)
			_, err = s.Restore(ctx, c, nil)
			require.NoError(t, err)
			require.True(t, sameFile(t, dir+"/t/a", dir+"/t/b"))
		})
	}
}

// TestNamesOfALinkAndOfAPipe: what has several names now need be no file.
func TestNamesOfALinkAndOfAPipe(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	for _, name := range []string{"/t/a", "/t/b", "/t/c", "/t/d"} {
		write(t, dir+name, "good")
	}
	state := config.State{Paths: []string{dir + "/t"}}
	c := take(t, s, "k", state)
	for _, name := range []string{"/t/a", "/t/b", "/t/c", "/t/d"} {
		require.NoError(t, os.Remove(dir+name))
	}
	require.NoError(t, os.Symlink("x", dir+"/t/a"))
	require.NoError(t, os.Link(dir+"/t/a", dir+"/t/b"))
	require.NoError(t, unix.Mkfifo(dir+"/t/c", 0o600))
	require.NoError(t, os.Link(dir+"/t/c", dir+"/t/d"))
	d, err := s.Compare(ctx, c, state)
	require.NoError(t, err)
	require.Equal(t, "0 added, 0 removed, 4 changed, 0 shrunk, 1 unchanged", d.String())
	_, err = s.Restore(ctx, c, nil)
	require.NoError(t, err)
	require.Equal(t, "good", read(t, dir+"/t/d"))
}

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
