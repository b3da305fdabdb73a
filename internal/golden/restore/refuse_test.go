package restore

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/testenv"
)

// refused has a restore staged that must fail, in both kinds, and looks that nothing was touched.
func refused(t *testing.T, g Golden, dir string, o Options, want string) error {
	t.Helper()
	var last error
	o.Journal = t.TempDir()
	for _, o.InPlace = range []bool{false, true} {
		before := picture(t, dir+"/tree")
		_, last = Stage(context.Background(), g, o)
		require.ErrorContains(t, last, want)
		same(t, before, picture(t, dir+"/tree"))
		leftovers(t, o.Journal, dir)
	}
	return last
}

func spoilt(t *testing.T) (*memory, string) {
	dir := t.TempDir()
	write(t, dir+"/tree/a/data", "good")
	write(t, dir+"/tree/b/data", "good too")
	g := take(t, dir+"/tree")
	write(t, dir+"/tree/a/data", "bad")
	write(t, dir+"/tree/b/data", "bad too")
	return g, dir
}

func TestADamagedStoreIsRefused(t *testing.T) {
	g, dir := spoilt(t)
	g.damaged = format.ErrDamaged
	err := refused(t, g, dir, Options{}, "damaged")
	require.ErrorIs(t, err, format.ErrDamaged)
	require.Contains(t, shivx.HintOf(err), "scrub")
	require.Len(t, g.checked, 2, "in place only what differs is needed")

	g.damaged = nil
	for h := range g.blocks {
		g.blocks[h] = append(g.blocks[h], "too long"...)
	}
	require.ErrorIs(t, refused(t, g, dir, Options{}, "has"), format.ErrDamaged)
	g.blocks = nil
	require.ErrorIs(t, refused(t, g, dir, Options{}, "block"), fs.ErrNotExist)
}

func TestEntriesThatLeadAstrayAreRefused(t *testing.T) {
	file := func(path string) format.Entry {
		return format.Entry{Path: path, Type: format.TypeFile, Mode: 0o644, Sum: format.Sum(nil)}
	}
	for name, spoil := range map[string]func(list []format.Entry, tree string) []format.Entry{
		"dots":    func(l []format.Entry, tree string) []format.Entry { return append(l, file(tree+"/../z")) },
		"outside": func(l []format.Entry, tree string) []format.Entry { return append(l, file("/zzz/passwd")) },
		"behind a link": func(l []format.Entry, tree string) []format.Entry {
			return append(l, format.Entry{Path: tree + "/l", Type: format.TypeSymlink, Link: "/etc"}, file(tree+"/l/passwd"))
		},
		"twice":  func(l []format.Entry, tree string) []format.Entry { return append(l, l[len(l)-1]) },
		"order":  func(l []format.Entry, tree string) []format.Entry { return append(l, file(tree+"/a/a")) },
		"no dir": func(l []format.Entry, tree string) []format.Entry { return append(l, file(tree+"/x/y")) },
		"NUL":    func(l []format.Entry, tree string) []format.Entry { return append(l, file(tree+"/x\x00y")) },
		"name": func(l []format.Entry, tree string) []format.Entry {
			return append(l, file(tree+"/"+strings.Repeat("x", 256)))
		},
		"type": func(l []format.Entry, tree string) []format.Entry {
			return append(l, format.Entry{Path: tree + "/x", Type: "device"})
		},
		"forward": func(l []format.Entry, tree string) []format.Entry {
			return append(l, format.Entry{Path: tree + "/x", Type: format.TypeHardlink, Link: tree + "/y"})
		},
		"link to folder": func(l []format.Entry, tree string) []format.Entry {
			return append(l, format.Entry{Path: tree + "/x", Type: format.TypeHardlink, Link: tree + "/a"})
		},
		"link out": func(l []format.Entry, tree string) []format.Entry {
			return append(l, format.Entry{Path: tree + "/x", Type: format.TypeHardlink, Link: "/etc/passwd"})
		},
		"owner": func(l []format.Entry, tree string) []format.Entry {
			e := file(tree + "/x")
			e.UID = ^uint32(0)
			return append(l, e)
		},
		"size": func(l []format.Entry, tree string) []format.Entry {
			e := file(tree + "/x")
			e.Size = 5 << 20
			return append(l, e)
		},
		"extents": func(l []format.Entry, tree string) []format.Entry {
			e := file(tree + "/x")
			e.Size, e.Data = 10, []format.Extent{{Offset: 5, Length: 1 << 62}}
			return append(l, e)
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, dir := spoilt(t)
			g.entries = spoil(g.entries, dir+"/tree")
			require.Error(t, refused(t, g, dir, Options{}, ""))
			_, err := Plan(context.Background(), g, Options{})
			if name != "link to folder" { // that is seen when it is made
				require.Error(t, err)
			}
		})
	}
}

func TestLinksAboveARoot(t *testing.T) {
	g, dir := spoilt(t)
	require.NoError(t, os.Rename(dir+"/tree", dir+"/elsewhere"))
	require.NoError(t, os.Mkdir(dir+"/place", 0o755))
	require.NoError(t, os.Symlink(dir+"/place", dir+"/above"))
	for i := range g.entries {
		g.entries[i].Path = strings.Replace(g.entries[i].Path, dir+"/tree", dir+"/above/tree", 1)
	}
	g.h.Roots = []string{dir + "/above/tree"}
	restoreAll(t, g, Options{Journal: t.TempDir()})
	require.Equal(t, "good", read(t, dir+"/place/tree/a/data"))
	restoreAll(t, g, Options{Journal: t.TempDir(), InPlace: true})

	require.NoError(t, os.Lchown(dir+"/above", 65534, 65534))
	err := refused(t, g, dir, Options{}, "is a link that user 65534 made")
	require.NotEmpty(t, shivx.HintOf(err))
}

func TestATreeThatChangesAfterStagingIsNotSwapped(t *testing.T) {
	g, dir := spoilt(t)
	s, err := Stage(context.Background(), g, Options{Journal: t.TempDir(), InPlace: true})
	require.NoError(t, err)
	require.NoError(t, os.Rename(dir+"/tree/a", dir+"/tree/moved"))
	require.NoError(t, os.Symlink("/etc", dir+"/tree/a"))
	before := picture(t, dir+"/tree")
	_, err = s.Swap(context.Background())
	require.ErrorIs(t, err, errChanged)
	require.Equal(t, StateStaged, s.State())
	require.NoError(t, s.Discard(context.Background()))
	same(t, before, picture(t, dir+"/tree"))
}

func TestNamesThatDifferInCaseOnly(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/tree/Data", "good")
	write(t, dir+"/tree/data", "good")
	g := take(t, dir+"/tree")
	require.NoError(t, os.Remove(dir+"/tree/data"))
	require.NoError(t, os.Remove(dir+"/tree/Data"))
	o := Options{Journal: t.TempDir(), InPlace: true, ID: "fold"}
	// To a file system that folds case the staging folder exists under this name as well.
	require.NoError(t, os.Mkdir(dir+"/"+strings.ToUpper(StagePrefix+o.ID), 0o755))
	_, err := Stage(context.Background(), g, o)
	require.ErrorIs(t, err, fs.ErrExist)
	require.Contains(t, shivx.HintOf(err), "differ in case")
	leftovers(t, o.Journal, dir)
	require.NoError(t, os.Remove(dir+"/"+strings.ToUpper(StagePrefix+o.ID)))
	restoreAll(t, g, o)
	require.Equal(t, "good", read(t, dir+"/tree/Data"))

	require.NoError(t, os.RemoveAll(dir+"/tree"))
	for i := range g.entries { // as if the file system took both names for one
		g.entries[i].Path = strings.Replace(g.entries[i].Path, "/Data", "/data", 1)
	}
	r := &run{o: Options{}, places: &places{roots: []root{{Path: name(dir + "/tree"), Real: name(dir + "/tree")}}}}
	err = r.newBuilder(context.Background(), func(string) {}).failure(&g.entries[1], unix.EEXIST)
	require.ErrorIs(t, err, fs.ErrExist)
	require.Contains(t, shivx.HintOf(err), "differ in case")
}

// Somebody who owns a folder of the tree swaps it for a link all the time.
func TestASwappedParentLeadsNowhere(t *testing.T) {
	dir := t.TempDir() + "/fs"
	testenv.Tmpfs(t, dir, "size=64m")
	victim := dir + "/victim"
	write(t, victim+"/data", "precious")
	for _, n := range []string{"a", "b", "c"} {
		write(t, dir+"/tree/sub/"+n+"/data", "good")
	}
	g := take(t, dir+"/tree")
	before := picture(t, victim)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Rename(dir+"/tree/sub/a", dir+"/tree/hidden")
			_ = os.Symlink(victim, dir+"/tree/sub/a")
			_ = os.Remove(dir + "/tree/sub/a")
			_ = os.Rename(dir+"/tree/hidden", dir+"/tree/sub/a")
		}
	}()
	r := rand.New(rand.NewPCG(1, 1))
	results := map[bool]int{}
	for start := time.Now(); time.Since(start) < time.Second; {
		_ = os.WriteFile(dir+"/tree/sub/b/data", []byte{byte(r.Uint32())}, 0o600)
		s, err := Stage(context.Background(), g, Options{Journal: dir + "/journal", InPlace: r.IntN(3) > 0})
		if err == nil {
			if _, err = s.Swap(context.Background()); err == nil {
				err = s.Finish(context.Background(), false)
			} else {
				require.NoError(t, s.Undo(context.Background()))
			}
		}
		results[err == nil]++
	}
	close(stop)
	<-done
	t.Logf("restored: %d, refused: %d", results[true], results[false])
	same(t, before, picture(t, victim))
}

func TestFilesAndFoldersAreClosedAgain(t *testing.T) {
	g, dir := spoilt(t)
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(list)
	}
	restoreAll(t, g, Options{Journal: t.TempDir()}) // opens what stays open
	write(t, dir+"/tree/a/data", "bad")
	before := count()
	for range 3 {
		g.damaged = errors.New("damaged")
		require.Error(t, refused(t, g, dir, Options{}, "damaged"))
		g.damaged = nil
		blocks := g.blocks
		g.blocks = nil
		require.Error(t, refused(t, g, dir, Options{}, "block"))
		g.blocks = blocks
		restoreAll(t, g, Options{Journal: t.TempDir()})
		write(t, dir+"/tree/a/data", "bad")
		write(t, dir+"/tree/b/data", "bad")
		restoreAll(t, g, Options{Journal: t.TempDir(), InPlace: true})
		write(t, filepath.Join(dir, "tree/a/data"), "bad")
		write(t, dir+"/tree/b/data", "bad too")
	}
	require.Equal(t, before, count())
}

// Restores whose journals lie in different folders meet in the paths that they restore.
