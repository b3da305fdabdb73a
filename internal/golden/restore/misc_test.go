package restore

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/testenv"
)

// Large files are shared out among the workers, in both directions.
func TestLargeFiles(t *testing.T) {
	dir := t.TempDir() + "/fs"
	testenv.Tmpfs(t, dir, "size=400m")
	data := make([]byte, 37<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	write(t, dir+"/tree/large", string(data))
	write(t, dir+"/tree/other", string(data[:30<<20]))
	f, err := os.Create(dir + "/tree/sparse")
	require.NoError(t, err)
	_, err = f.WriteAt(data[:25<<20], 3<<20+4096)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(64<<20))
	require.NoError(t, f.Close())
	g := take(t, dir+"/tree")
	want := picture(t, dir+"/tree")
	o := Options{Journal: dir + "/journal", InPlace: true}
	c, err := Plan(context.Background(), g, o)
	require.NoError(t, err)
	require.False(t, c.Any())
	for _, damage := range []struct {
		file string
		at   int64
	}{{"large", 37<<20 - 1}, {"large", 0}, {"sparse", 20 << 20}, {"sparse", 60 << 20}, {"other", 16 << 20}} {
		f, err := os.OpenFile(dir+"/tree/"+damage.file, os.O_RDWR, 0)
		require.NoError(t, err)
		var b [1]byte
		_, err = f.ReadAt(b[:], damage.at)
		require.NoError(t, err)
		b[0]++
		_, err = f.WriteAt(b[:], damage.at)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		c := restoreAll(t, g, o)
		require.Len(t, c.List, 1)
		require.Equal(t, Content, c.List[0].Kind)
		require.Equal(t, dir+"/tree/"+damage.file, c.List[0].Path)
		same(t, want, picture(t, dir+"/tree"))
	}
	require.NoError(t, os.WriteFile(dir+"/tree/large", data[:5], 0o644))
	restoreAll(t, g, o)
	o.InPlace = false
	restoreAll(t, g, o)
	same(t, want, picture(t, dir+"/tree"))
}

// When more differs than is kept in memory, the golden is read once more.
func TestMoreDiffersThanIsKept(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	dir := t.TempDir()
	grow(t, r, dir+"/tree", 3)
	g := take(t, dir+"/tree")
	want := picture(t, dir+"/tree")
	spoil(t, r, dir+"/tree")
	bad := picture(t, dir+"/tree")
	s, err := Stage(context.Background(), g, Options{Journal: t.TempDir(), InPlace: true, cloned: 2})
	require.NoError(t, err)
	require.True(t, g.all)
	_, err = s.Swap(context.Background())
	require.NoError(t, err)
	same(t, want, picture(t, dir+"/tree"))
	require.NoError(t, s.Undo(context.Background()))
	same(t, bad, picture(t, dir+"/tree"))
}

// What the folder above a root passes on to what is made in it must not reach what is restored.
func TestNothingIsInherited(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/live/tree/sub/data", "good")
	g := take(t, dir+"/live/tree")
	want := picture(t, dir+"/live/tree")
	require.NoError(t, os.Chown(dir+"/live", 0, 7))
	require.NoError(t, os.Chmod(dir+"/live", 0o755|os.ModeSetgid))
	require.NoError(t, unix.Setxattr(dir+"/live", "system.posix_acl_default", acl(7), 0))
	old := unix.Umask(0o77)
	defer unix.Umask(old)
	for _, inPlace := range []bool{false, true} {
		require.NoError(t, os.RemoveAll(dir+"/live/tree"))
		restoreAll(t, g, Options{Journal: t.TempDir(), InPlace: inPlace})
		same(t, want, picture(t, dir+"/live/tree"))
	}
}

func TestPathsThatVanished(t *testing.T) {
	g, dir := spoilt(t)
	for i := range g.entries {
		g.entries[i].Path = strings.Replace(g.entries[i].Path, dir+"/tree", dir+"/x/y/tree", 1)
	}
	g.h.Roots = []string{dir + "/x/y/tree"}
	for _, inPlace := range []bool{false, true} {
		o := Options{Journal: t.TempDir(), InPlace: inPlace}
		c, err := Plan(context.Background(), g, o)
		require.NoError(t, err)
		require.Equal(t, Count{Entries: 5, Bytes: 12}, c.Added)
		require.Len(t, c.List, 1)
		s, err := Stage(context.Background(), g, o)
		require.NoError(t, err)
		_, err = s.Swap(context.Background())
		require.NoError(t, err)
		require.Equal(t, "good", read(t, dir+"/x/y/tree/a/data"))
		require.NoError(t, s.Undo(context.Background()))
		require.NoDirExists(t, dir+"/x")
	}
}

// TestARootThatAppearedInAFolderOfItsOwn: nothing else happens in the folder that it is removed from.
func TestARootThatAppearedInAFolderOfItsOwn(t *testing.T) {
	for _, inPlace := range []bool{false, true} {
		dir := t.TempDir()
		write(t, dir+"/a/file", "good")
		require.NoError(t, os.Mkdir(dir+"/b", 0o755))
		roots := []string{dir + "/a", dir + "/b/absent", dir + "/c/absent"}
		g := take(t, roots...)
		good := picture(t, roots...)
		write(t, dir+"/a/file", "bad")
		write(t, dir+"/b/absent/x", "bad")
		bad := picture(t, roots...)
		s, err := Stage(context.Background(), g, Options{Journal: dir + "/journal", InPlace: inPlace})
		require.NoError(t, err)
		_, err = s.Swap(context.Background())
		require.NoError(t, err)
		same(t, good, picture(t, roots...))
		require.NoError(t, s.Undo(context.Background()))
		same(t, bad, picture(t, roots...))
		restoreAll(t, g, Options{Journal: dir + "/journal", InPlace: inPlace})
		same(t, good, picture(t, roots...))
		leftovers(t, dir+"/journal", dir)
	}
}

func TestLongNamesAndPaths(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(dir+"/tree", 0o755))
	at := dir + "/tree"
	long := strings.Repeat("n", 255)
	g := take(t, at)
	for range 18 { // longer than one path may be
		at += "/" + long
		g.entries = append(g.entries, format.Entry{Path: at, Type: format.TypeDir, Mode: 0o755, ModTime: time.Unix(5, 6)})
	}
	g.entries = append(g.entries, format.Entry{Path: at + "/" + long, Type: format.TypeFile, Mode: 0o644, Sum: format.Sum(nil), ModTime: time.Unix(5, 6)})
	o := Options{Journal: t.TempDir(), InPlace: true}
	restoreAll(t, g, o)
	c, err := Plan(context.Background(), g, o)
	require.NoError(t, err)
	require.False(t, c.Any(), "%v", c.List)

	s, err := Stage(context.Background(), g, Options{Journal: o.Journal, Only: []string{at + "/" + long}})
	require.NoError(t, err)
	require.NoError(t, s.Discard(context.Background()))
	g.entries[len(g.entries)-1].Mode = 0o600
	restoreAll(t, g, o) // the deepest of all is touched by itself
	c, err = Plan(context.Background(), g, o)
	require.NoError(t, err)
	require.False(t, c.Any(), "%v", c.List)
	o.InPlace = false
	restoreAll(t, g, o)
	leftovers(t, o.Journal)
	command(t, "rm", "-rf", dir+"/tree")
}

// A service that was started on the new state may have replaced its file before all is undone.
func TestUndoAfterTheServiceHasWritten(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/conf", "good")
	write(t, dir+"/tree/data", "good")
	g := take(t, dir+"/conf", dir+"/tree")
	write(t, dir+"/conf", "bad")
	write(t, dir+"/tree/data", "bad")
	bad := picture(t, dir+"/conf", dir+"/tree")
	for _, o := range []Options{{}, {InPlace: true}} {
		o.Journal = t.TempDir()
		s, err := Stage(context.Background(), g, o)
		require.NoError(t, err)
		_, err = s.Swap(context.Background())
		require.NoError(t, err)
		for _, p := range []string{"/conf", "/tree/data"} {
			write(t, dir+"/fresh", "written by the service")
			require.NoError(t, os.Rename(dir+"/fresh", dir+p))
		}
		require.NoError(t, s.Close()) // as if the process had been restarted
		list, err := Pending(o.Journal)
		require.NoError(t, err)
		s, err = Resume(context.Background(), list[0])
		require.NoError(t, err)
		require.Equal(t, StateSwapped, s.State())
		require.NoError(t, s.Undo(context.Background()))
		same(t, bad, picture(t, dir+"/conf", dir+"/tree"))
		require.Error(t, s.Undo(context.Background()))
		require.Error(t, s.Finish(context.Background(), false))
		_, err = s.Swap(context.Background())
		require.Error(t, err)
		leftovers(t, o.Journal, dir)
	}
}

func TestPathsOfAWholeRestore(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/app.json", "good")
	write(t, dir+"/tree/data", "good")
	g := take(t, dir+"/app.json", dir+"/tree")
	write(t, dir+"/app.json", "bad")
	s, err := Stage(context.Background(), g, Options{Journal: t.TempDir()})
	require.NoError(t, err)
	require.Equal(t, ".json", filepath.Ext(s.Path(dir+"/app.json")))
	require.Equal(t, "good", read(t, s.Path(dir+"/app.json")))
	require.Equal(t, "good", read(t, s.Path(dir+"/tree/data")))
	_, err = s.Swap(context.Background())
	require.NoError(t, err)
	require.Equal(t, dir+"/app.json", s.Path(dir+"/app.json"))
	require.Equal(t, Count{Entries: 2, Bytes: 8}, s.Changes().Written)
	require.NoError(t, s.Finish(context.Background(), false))
	require.NoError(t, s.Close())
}

func TestProgress(t *testing.T) {
	g, _ := spoilt(t)
	last := map[string]Progress{}
	o := Options{Journal: t.TempDir(), InPlace: true, Progress: func(p Progress) { last[p.Phase] = p }}
	restoreAll(t, g, o)
	require.Equal(t, Progress{Phase: "compare", Files: 2, Bytes: 12, TotalBytes: 12}, last["compare"])
	require.Equal(t, Progress{Phase: "write", Files: 2, Bytes: 12, TotalBytes: 12}, last["write"])
	require.Contains(t, last, "verify")
}

func TestNamesInJournals(t *testing.T) {
	for _, n := range []name{"", "plain", "ü\n\x01", "\xff\xfe", "base64:x", `"<>&`} {
		data, err := json.Marshal(map[string]name{"n": n})
		require.NoError(t, err)
		var back map[string]name
		require.NoError(t, json.Unmarshal(data, &back))
		require.Equal(t, n, back["n"])
	}
	var n name
	require.Error(t, json.Unmarshal([]byte(`"base64:!"`), &n))
	for _, u := range []unit{{Target: "../x"}, {Target: "x", Staged: "/etc"}, {Target: "x", Carry: []name{"a/../../b"}}, {Target: "x", Touch: []touched{{Path: ".."}}}} {
		require.False(t, u.safe())
	}
}

func TestAContextThatEnds(t *testing.T) {
	g, dir := spoilt(t)
	before := picture(t, dir+"/tree")
	ctx, cancel := context.WithCancel(context.Background())
	s, err := Stage(ctx, g, Options{Journal: t.TempDir()})
	require.NoError(t, err)
	cancel()
	_, err = s.Swap(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, s.Discard(ctx))
	for _, inPlace := range []bool{false, true} {
		_, err = Stage(ctx, g, Options{Journal: t.TempDir(), InPlace: inPlace})
		require.ErrorIs(t, err, context.Canceled)
	}
	same(t, before, picture(t, dir+"/tree"))
}
