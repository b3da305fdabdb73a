package checkpoint

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
)

func TestRestoreCarriesOverWhatIsExcluded(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	tree := dir + "/tree"
	write(t, tree+"/data", "good")
	write(t, tree+"/log/app.log", "1")
	write(t, tree+"/cache/deep/x", "cached")
	state := config.State{Paths: []string{tree}, Exclude: []string{"**/*.log", "cache"}}
	c := take(t, s, "k", state)

	write(t, tree+"/data", "bad")
	write(t, tree+"/log/app.log", "1 2")
	write(t, tree+"/new/other.log", "3")
	sock, err := net.Listen("unix", tree+"/sock")
	require.NoError(t, err)
	defer func() { _ = sock.Close() }()
	open, err := os.OpenFile(tree+"/log/app.log", os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer func() { _ = open.Close() }()
	_, err = s.Restore(context.Background(), c, nil)
	require.NoError(t, err)
	_, err = open.WriteString(" 3")
	require.NoError(t, err)

	for path, want := range map[string]string{"data": "good", "log/app.log": "1 2 3", "cache/deep/x": "cached", "new/other.log": "3"} {
		got, err := os.ReadFile(filepath.Join(tree, path))
		require.NoError(t, err)
		require.Equal(t, want, string(got), path)
	}
	_, err = net.Dial("unix", tree+"/sock")
	require.NoError(t, err, "the socket did not outlive the restore")
}

func TestRestoreKeepsTheOldState(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	write(t, dir+"/tree/data", "good")
	c := take(t, s, "k", config.State{Paths: []string{dir + "/tree"}})
	for _, bad := range []string{"bad", "worse"} {
		write(t, dir+"/tree/data", bad)
		changes, err := s.Restore(context.Background(), c, nil, KeepOld())
		require.NoError(t, err)
		require.Len(t, changes.Kept, 1)
		old, err := os.ReadFile(filepath.Join(changes.Kept[0], "tree", "data"))
		require.NoError(t, err)
		require.Equal(t, bad, string(old))
	}
}

func TestRestoreOnlySomePaths(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	for _, p := range []string{"/a/x", "/a/y", "/b"} {
		write(t, dir+p, "good")
	}
	require.NoError(t, os.Symlink("x", dir+"/a/link"))
	c := take(t, s, "k", config.State{Paths: []string{dir + "/a", dir + "/b"}})
	for _, p := range []string{"/a/x", "/a/y", "/b"} {
		write(t, dir+p, "bad")
	}
	require.NoError(t, os.Remove(dir+"/a/link"))
	require.NoError(t, os.Symlink("y", dir+"/a/link"))
	changes, err := s.Restore(context.Background(), c, nil, Only(dir+"/a/x", dir+"/a/link"))
	require.NoError(t, err)
	require.Equal(t, []string{dir + "/a/link", dir + "/a/x"}, changes.Restored)
	for p, want := range map[string]string{"/a/x": "good", "/a/y": "bad", "/b": "bad", "/a/link": "good"} {
		got, err := os.ReadFile(dir + p)
		require.NoError(t, err)
		require.Equal(t, want, string(got), p)
	}
	// What the checkpoint does not have is removed.
	write(t, dir+"/a/wal", "bad")
	changes, err = s.Restore(context.Background(), c, nil, Only(dir+"/a/wal", dir+"/b"))
	require.NoError(t, err)
	require.Equal(t, []string{dir + "/a/wal"}, changes.Removed)
	require.Equal(t, []string{dir + "/b"}, changes.Restored)
	require.NoFileExists(t, dir+"/a/wal")
	_, err = s.Restore(context.Background(), c, nil, Only("/etc"))
	require.ErrorContains(t, err, "not part of the checkpoint")
}

func TestRestoreThroughALinkedStatePath(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	write(t, dir+"/real/data", "good")
	require.NoError(t, os.Symlink(dir+"/real", dir+"/state"))
	c := take(t, s, "k", config.State{Paths: []string{dir + "/state"}})
	require.Equal(t, int64(2), c.Entries)
	write(t, dir+"/real/data", "bad")
	_, err := s.Restore(context.Background(), c, nil)
	require.NoError(t, err)
	link, err := os.Readlink(dir + "/state")
	require.NoError(t, err)
	require.Equal(t, dir+"/real", link)
	got, err := os.ReadFile(dir + "/real/data")
	require.NoError(t, err)
	require.Equal(t, "good", string(got))
}

func TestRestoreIntoAMountPoint(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	testenv.Tmpfs(t, dir+"/vol", "")
	write(t, dir+"/vol/data", "good")
	write(t, dir+"/vol/sub/x", "good")
	write(t, dir+"/vol/app.log", "1")
	c := take(t, s, "k", config.State{Paths: []string{dir + "/vol"}, Exclude: []string{"*.log"}})
	want := picture(t, dir+"/vol")
	write(t, dir+"/vol/data", "bad")
	write(t, dir+"/vol/added", "x")
	require.NoError(t, os.RemoveAll(dir+"/vol/sub"))
	changes, err := s.Restore(context.Background(), c, nil)
	require.NoError(t, err)
	require.Equal(t, []string{dir + "/vol"}, changes.Restored)
	require.Equal(t, want, picture(t, dir+"/vol"))

	write(t, dir+"/vol/data", "bad")
	outer := take(t, s, "k2", config.State{Paths: []string{dir}})
	write(t, dir+"/vol/data", "worse")
	_, err = s.Restore(context.Background(), outer, nil)
	require.ErrorContains(t, err, "another file system is mounted below it")
}

// TestWhatIsExcludedBelowALinkedPathStays: a part of it is restored, and the pattern is that of the whole.
func TestWhatIsExcludedBelowALinkedPathStays(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	write(t, dir+"/data/app/db/data", "good")
	write(t, dir+"/data/app/db/x.log", "1")
	require.NoError(t, os.Symlink(dir+"/data/app", dir+"/app"))
	c := take(t, s, "k", config.State{Paths: []string{dir + "/app"}, Exclude: []string{"**/*.log"}})
	write(t, dir+"/data/app/db/data", "bad")
	write(t, dir+"/data/app/db/x.log", "1 2")
	_, err := s.Restore(context.Background(), c, nil, Only(dir+"/app/db"))
	require.NoError(t, err)
	require.Equal(t, "good", read(t, dir+"/data/app/db/data"))
	require.Equal(t, "1 2", read(t, dir+"/data/app/db/x.log"))
}
