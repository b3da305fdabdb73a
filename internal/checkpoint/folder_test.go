package checkpoint

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

func TestAFolderHoldsTheFilesAsOnTheHost(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	grow(t, r, dir+"/tree", 2)
	write(t, dir+"/single", "one file")
	c := take(t, s, "k", config.State{Paths: []string{dir + "/tree", dir + "/single", dir + "/absent"}})
	want := picture(t, dir)
	write(t, dir+"/single", "another")
	folder, err := s.Folder(ctx, c.ID)
	require.NoError(t, err)
	require.Equal(t, want, picture(t, folder+"/files"+dir))
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, left, 1)
	info, err := os.Stat(filepath.Join(s.home, viewDir))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), "others could run what is set-uid in it")

	again, err := s.Folder(ctx, c.ID)
	require.NoError(t, err)
	require.Equal(t, folder, again)
	_, err = s.Folder(ctx, "redis.fault/20260101-000000-012345")
	require.ErrorContains(t, err, "there is no checkpoint")
}

func TestKillWhileAFolderIsMade(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	s, dir := newStore(t), t.TempDir()
	grow(t, r, dir+"/tree", 3)
	c := take(t, s, "k", config.State{Paths: []string{dir + "/tree"}})
	want := picture(t, dir)
	j := job{Var: filepath.Dir(s.home), Do: "folder", ID: c.ID}
	whole := span(t, j)
	path := filepath.Join(s.home, viewDir, c.ID)
	cuts := 0
	for range 10 {
		require.NoError(t, os.RemoveAll(path))
		if killAfter(t, j, time.Duration(r.Int64N(int64(whole)))) {
			cuts++
		}
		if _, err := os.Stat(path); err == nil {
			require.Equal(t, want, picture(t, path+"/files"+dir), "a folder that is not whole has its name")
		}
		folder, err := s.Folder(context.Background(), c.ID)
		require.NoError(t, err)
		require.Equal(t, want, picture(t, folder+"/files"+dir))
		all, err := os.ReadDir(filepath.Dir(folder))
		require.NoError(t, err)
		require.Len(t, all, 1, "something is left")
	}
	require.Positive(t, cuts, "no child was killed in time")
}

func TestSettleEndsWhatWasKilled(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	paths := []string{dir + "/a", dir + "/b", dir + "/c"}
	for _, p := range paths {
		grow(t, r, p, 1)
	}
	good := pictures(t, paths)
	c := take(t, s, "k", config.State{Paths: paths})
	spoil := func() map[string]map[string]string {
		for _, p := range paths {
			write(t, p+"/spoilt", fmt.Sprint(r.Uint64()))
		}
		return pictures(t, paths)
	}
	spoil()
	j := job{Var: filepath.Dir(s.home), Do: "restore", ID: c.ID}
	whole := span(t, j)
	cuts := 0
	for range 12 {
		bad := spoil()
		if !killAfter(t, j, whole/3+time.Duration(r.Int64N(int64(whole*2/3)))) {
			continue
		}
		cuts++
		require.NoError(t, s.Settle(ctx))
		if now := pictures(t, paths); now[paths[0]]["spoilt"] != "" {
			require.Equal(t, bad, now, "the old state is mixed with the new one")
		} else {
			require.Equal(t, good, now, "the new state is mixed with the old one")
		}
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, left, len(paths), "staging folders are left: %v", left)
	}
	require.Positive(t, cuts, "no child was killed in time")
}

// TestALinkThatLeadsElsewhereInTheOrder: where the state really lies, its paths follow in another order.
func TestALinkThatLeadsElsewhereInTheOrder(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	write(t, dir+"/z/real/x", "good")
	write(t, dir+"/z/real/cache/x", "cached")
	write(t, dir+"/b/x", "good")
	write(t, dir+"/0file", "good")
	require.NoError(t, os.Symlink(dir+"/z/real", dir+"/a"))
	require.NoError(t, os.Symlink(dir+"/0file", dir+"/y"))
	require.NoError(t, os.Symlink("/nowhere/at/all", dir+"/dangling"))
	state := config.State{Paths: []string{dir + "/a", dir + "/b", dir + "/y", dir + "/dangling"}, Exclude: []string{"cache"}}
	c := take(t, s, "k", state)
	require.Equal(t, []string{dir + "/dangling"}, c.Missing)
	for _, p := range []string{"/a/x", "/a/cache/x", "/b/x", "/y"} {
		write(t, dir+p, "bad")
	}
	write(t, dir+"/a/new", "bad")
	d, err := s.Compare(ctx, c, state)
	require.NoError(t, err)
	require.Equal(t, "1 added, 0 removed, 0 changed, 3 shrunk, 2 unchanged", d.String())
	require.Equal(t, dir+"/a/new", d.Changes[0].Path)

	changes, err := s.Restore(ctx, c, nil)
	require.NoError(t, err)
	require.Equal(t, []string{dir + "/a", dir + "/b", dir + "/y"}, changes.Restored)
	require.Equal(t, []string{dir + "/dangling"}, changes.Unknown)
	for p, want := range map[string]string{"/z/real/x": "good", "/z/real/cache/x": "bad", "/b/x": "good", "/0file": "good"} {
		got, err := os.ReadFile(dir + p)
		require.NoError(t, err)
		require.Equal(t, want, string(got), p)
	}
	require.NoFileExists(t, dir+"/z/real/new")
	for _, link := range []string{"/a", "/y"} {
		info, err := os.Lstat(dir + link)
		require.NoError(t, err)
		require.Equal(t, os.ModeSymlink, info.Mode().Type(), "the link of the state path was replaced")
	}
}

func TestHardLinksThatLeadOutOfWhatIsRestored(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	write(t, dir+"/a/file", "good")
	write(t, dir+"/b/other", "good")
	for _, name := range []string{"/b/link", "/b/again"} {
		require.NoError(t, os.Link(dir+"/a/file", dir+name))
	}
	state := config.State{Paths: []string{dir + "/a", dir + "/b"}}
	c := take(t, s, "k", state)
	write(t, dir+"/b/other", "worse")
	changes, err := s.Restore(ctx, c, nil)
	require.NoError(t, err)
	require.Equal(t, []string{dir + "/b"}, changes.Restored)
	require.Equal(t, []string{dir + "/a"}, changes.Unchanged)
	require.True(t, sameFile(t, dir+"/b/link", dir+"/b/again"))
	d, err := s.Compare(ctx, c, state)
	require.NoError(t, err)
	require.Empty(t, d.Changes, "a name that stands for a file of its own is no change")

	require.NoError(t, os.WriteFile(dir+"/b/link", []byte("bad"), 0o600))
	d, err = s.Compare(ctx, c, state)
	require.NoError(t, err)
	require.Equal(t, 2, d.Shrunk, "%v", d.Changes)
	data, f, err := s.ReadFile(ctx, c, dir+"/b/link")
	require.NoError(t, err)
	require.Equal(t, "good", string(data))
	require.Equal(t, uint32(0o644), f.Mode)
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y syscall.Stat_t
	require.NoError(t, syscall.Stat(a, &x))
	require.NoError(t, syscall.Stat(b, &y))
	return x.Ino == y.Ino
}

func TestHolesAreNoContent(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	sparse(t, dir+"/big", 8<<20)
	state := config.State{Paths: []string{dir}}
	c := take(t, s, "k", state)
	data, err := os.ReadFile(dir + "/big")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/big", data, 0o644))
	d, err := s.Compare(ctx, c, state)
	require.NoError(t, err)
	require.Empty(t, d.Changes)
	stored, _, err := s.ReadFile(ctx, c, dir+"/big")
	require.NoError(t, err)
	require.Equal(t, data, stored)

	data[5<<20] = 1
	require.NoError(t, os.WriteFile(dir+"/big", data, 0o644))
	d, err = s.Compare(ctx, c, state)
	require.NoError(t, err)
	require.Equal(t, 1, d.Changed)
	require.NoError(t, os.Chmod(dir+"/big", 0o600))
	d, err = s.Compare(ctx, c, state)
	require.NoError(t, err)
	require.Contains(t, d.Changes[0].Detail, "mode 0644 became 0600")
}
