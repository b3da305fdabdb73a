package checkpoint

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
)

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

func TestAStatePathIsNeverTheStoreItself(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	write(t, dir+"/app/data", "1")
	require.NoError(t, os.Symlink(dir+"/app", dir+"/link"))
	require.NoError(t, os.Symlink(dir, dir+"/up"))
	s, err := Open(Options{Var: dir + "/app/var"})
	require.NoError(t, err)
	for name, path := range map[string]string{
		"above": dir + "/app", "var": dir + "/app/var", "a link to above": dir + "/link", "through a link": dir + "/up/app",
		"var through a link": dir + "/link/var", "the store": s.home, "in the store": s.home + "/store/none/yet",
		"in the store through a link": dir + "/link/var/checkpoints/store",
	} {
		_, err := s.Take(ctx, Order{Key: "k", Component: "redis", Kind: KindHealthy, State: config.State{Paths: []string{path}, Exclude: []string{"var"}}})
		require.ErrorContains(t, err, "where ShivX keeps its checkpoints", name)
		require.Contains(t, shivx.HintOf(err), "paths.var", name)
	}
	write(t, dir+"/app/var/work/dump/file", "1")
	take(t, s, "k", config.State{Paths: []string{dir + "/app/data", dir + "/app/var/work/dump"}})
}

func TestACheckpointThatHoldsTheStoreIsNotRestored(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	write(t, dir+"/app/data", "good")
	other := newStore(t)
	c := take(t, other, "k", config.State{Paths: []string{dir + "/app"}})
	// The same store, once it lies where it should not.
	require.NoError(t, os.Rename(filepath.Dir(other.home), dir+"/app/var"))
	s, err := Open(Options{Var: dir + "/app/var"})
	require.NoError(t, err)
	write(t, dir+"/app/data", "bad")
	_, err = s.Restore(ctx, c, nil)
	require.ErrorContains(t, err, "where ShivX keeps its checkpoints")
	require.FileExists(t, filepath.Join(s.home, storeDir, "goldens", c.ID+".golden"))
	_, err = s.Compare(ctx, c, config.State{Paths: c.Paths})
	require.Error(t, err)
}

// TestPathsThatLinksMakeOne: what two paths lead to is kept once, and can be put back.
func TestPathsThatLinksMakeOne(t *testing.T) {
	for name, link := range map[string]struct{ target, exclude, data string }{
		"below another": {"releases/42", "*.log", "data"}, "another": {"releases", "42/*.log", "42/data"},
		"above another": {".", "42/*.log", "releases/42/data"},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir, ctx := newStore(t), t.TempDir(), context.Background()
			write(t, dir+"/app/releases/42/data", "good")
			write(t, dir+"/app/releases/42/app.log", "1")
			write(t, dir+"/app/releases/41/data", "good")
			require.NoError(t, os.Symlink(link.target, dir+"/app/current"))
			state := config.State{Paths: []string{dir + "/app/current", dir + "/app/releases"}, Exclude: []string{link.exclude}}
			c := take(t, s, "k", state)
			require.Len(t, c.Paths, 1)
			write(t, dir+"/app/releases/42/data", "bad")
			write(t, dir+"/app/releases/42/app.log", "1 2")
			write(t, dir+"/app/releases/41/data", "bad")
			changes, err := s.Restore(ctx, c, nil)
			require.NoError(t, err)
			require.Equal(t, c.Paths, changes.Restored)
			require.Equal(t, "good", read(t, dir+"/app/releases/42/data"))
			require.Equal(t, "good", read(t, dir+"/app/releases/41/data"))
			require.Equal(t, "1 2", read(t, dir+"/app/releases/42/app.log"))
			d, err := s.Compare(ctx, c, state)
			require.NoError(t, err)
			require.Empty(t, d.Changes)
			for _, asked := range []string{dir + "/app/current/" + link.data, dir + "/app/releases/42/data", dir + "/app/current"} {
				askedFor(t, s, c, asked, dir+"/app/releases/42/data")
			}
		})
	}
}

// askedFor restores a path, whatever name of it is the checkpoint's, and the file that it is or holds.
func askedFor(t *testing.T, s *Store, c Checkpoint, asked, file string) {
	t.Helper()
	ctx := context.Background()
	write(t, file, "bad")
	names, err := c.Held([]string{asked})
	require.NoError(t, err)
	d, err := s.Compare(ctx, c, stateOf(c))
	require.NoError(t, err)
	require.Len(t, d.Within(names).Changes, 1)
	require.NoError(t, s.Check(ctx, c, Only(asked)))
	changes, err := s.Restore(ctx, c, nil, Only(asked))
	require.NoError(t, err)
	require.Equal(t, names, changes.Restored)
	require.Equal(t, "good", read(t, file))
	if filepath.Base(asked) == "data" {
		text, _, err := s.ReadFile(ctx, c, asked)
		require.NoError(t, err)
		require.Equal(t, "good", string(text))
	}
}

// TestALinkThatLeadsToWhatTheCheckpointLacks: putting that back would be removing what the service runs from.
func TestALinkThatLeadsToWhatTheCheckpointLacks(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	write(t, dir+"/releases/42/data", "good")
	require.NoError(t, os.Symlink("releases/42", dir+"/current"))
	c := take(t, s, "k", config.State{Paths: []string{dir + "/current", dir + "/releases"}})
	write(t, dir+"/releases/43/data", "new")
	require.NoError(t, os.Remove(dir+"/current"))
	require.NoError(t, os.Symlink("releases/43", dir+"/current"))
	require.ErrorContains(t, s.Check(ctx, c, Only(dir+"/current")), "which the checkpoint does not have")
	_, err := s.Restore(ctx, c, nil, Only(dir+"/current"))
	require.ErrorContains(t, err, "which the checkpoint does not have")
	require.NotEmpty(t, shivx.HintOf(err))
	require.ErrorContains(t, s.Check(ctx, c, Only(dir+"/current/data")), "which the checkpoint does not have")
	require.Equal(t, "new", read(t, dir+"/releases/43/data"))

	// Of what it has it knows that there was no such file.
	require.NoError(t, os.Remove(dir+"/current"))
	require.NoError(t, os.Symlink("releases/42", dir+"/current"))
	write(t, dir+"/releases/42/wal", "bad")
	changes, err := s.Restore(ctx, c, nil, Only(dir+"/current/wal"))
	require.NoError(t, err)
	require.Equal(t, []string{dir + "/releases/42/wal"}, changes.Removed)
}

// TestALinkToWhatAnotherPathExcludes: no checkpoint would have it, and nobody would know.
func TestALinkToWhatAnotherPathExcludes(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	write(t, dir+"/app/releases/42/data", "good")
	write(t, dir+"/app/conf", "good")
	require.NoError(t, os.Symlink(dir+"/app/releases/42", dir+"/current"))
	o := Order{Key: "k", Component: "redis", Kind: KindHealthy, State: config.State{
		Paths: []string{dir + "/app", dir + "/current"}, Exclude: []string{"releases"},
	}}
	_, err := s.Take(context.Background(), o)
	require.ErrorContains(t, err, "which state.exclude leaves out of the state path "+dir+"/app")
	require.Contains(t, shivx.HintOf(err), "narrower")
	o.State.Exclude = []string{"releases/41"}
	c, err := s.Take(context.Background(), o)
	require.NoError(t, err)
	require.Equal(t, []string{dir + "/app"}, c.Paths)
}

func TestALinkThatLeadsIntoAnotherPathByNow(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	write(t, dir+"/old/data", "old")
	write(t, dir+"/releases/42/data", "good")
	require.NoError(t, os.Symlink("old", dir+"/current"))
	c := take(t, s, "k", config.State{Paths: []string{dir + "/current", dir + "/releases"}})
	require.NoError(t, os.Remove(dir+"/current"))
	require.NoError(t, os.Symlink("releases/42", dir+"/current"))
	write(t, dir+"/releases/42/data", "bad")
	require.ErrorContains(t, s.Check(ctx, c), "belongs to another path of the state")
	_, err := s.Restore(ctx, c, nil)
	require.ErrorContains(t, err, "belongs to another path of the state")
	require.NotEmpty(t, shivx.HintOf(err))
	require.Equal(t, "bad", read(t, dir+"/releases/42/data"))
	_, err = s.Restore(ctx, c, nil, Only(dir+"/releases"))
	require.NoError(t, err)
	require.Equal(t, "good", read(t, dir+"/releases/42/data"))
}

// TestALinkToWhatIsNotMounted: a restore builds nothing in its place, and takes nothing away once it is mounted.
func TestALinkToWhatIsNotMounted(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	write(t, dir+"/mnt/db/data", "good")
	write(t, dir+"/conf", "good")
	require.NoError(t, os.Symlink(dir+"/mnt/db", dir+"/db"))
	state := config.State{Paths: []string{dir + "/conf", dir + "/db"}}
	healthy := take(t, s, "k", state)
	require.NoError(t, os.Rename(dir+"/mnt", dir+"/away"))
	write(t, dir+"/conf", "bad")
	fault, err := s.Take(ctx, Order{Key: "f", Component: "redis", Kind: KindFault, State: state})
	require.NoError(t, err)
	require.Equal(t, []string{dir + "/db"}, fault.Missing)
	for _, only := range [][]string{nil, {dir + "/db"}, {dir + "/db/data"}} {
		require.ErrorContains(t, s.Check(ctx, healthy, Only(only...)), "which is not there")
		_, err = s.Restore(ctx, healthy, nil, Only(only...))
		require.ErrorContains(t, err, "which is not there")
		require.Contains(t, shivx.HintOf(err), "mount")
	}
	require.Equal(t, "bad", read(t, dir+"/conf"), "the restore was half done")
	link, err := os.Readlink(dir + "/db")
	require.NoError(t, err)
	require.Equal(t, dir+"/mnt/db", link)
	require.NoError(t, s.Check(ctx, healthy, Only(dir+"/conf")))
	_, err = s.Restore(ctx, healthy, nil, Only(dir+"/conf"))
	require.NoError(t, err)

	require.NoError(t, os.Rename(dir+"/away", dir+"/mnt"))
	_, err = s.Restore(ctx, fault, nil)
	require.NoError(t, err)
	require.Equal(t, "bad", read(t, dir+"/conf"))
	require.Equal(t, "good", read(t, dir+"/mnt/db/data"))
}

// tick lets a tick of the file system's clock pass: what was written within it has no device in a checkpoint.
func tick() { time.Sleep(50 * time.Millisecond) }

// TestALinkToWhatWasRemoved: its folder is still there, on the same file system, so nothing waits to be mounted.
func TestALinkToWhatWasRemoved(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	write(t, dir+"/data/db/file", "good")
	require.NoError(t, os.Symlink("via", dir+"/db"))
	require.NoError(t, os.Symlink("data/../data/db", dir+"/via"))
	tick()
	c := take(t, s, "k", config.State{Paths: []string{dir + "/db"}})
	require.NoError(t, os.RemoveAll(dir+"/data/db"))
	require.ErrorContains(t, s.Check(ctx, c, Only(dir+"/db/file")), dir+"/db is not a folder")
	require.NoError(t, s.Check(ctx, c))
	require.NoDirExists(t, dir+"/data/db")
	changes, err := s.Restore(ctx, c, nil)
	require.NoError(t, err)
	require.Equal(t, []string{dir + "/db"}, changes.Restored)
	require.Equal(t, "good", read(t, dir+"/data/db/file"))
	link, err := os.Readlink(dir + "/db")
	require.NoError(t, err)
	require.Equal(t, "via", link)
	changes, err = s.Restore(ctx, c, nil)
	require.NoError(t, err)
	require.Equal(t, []string{dir + "/db"}, changes.Unchanged)
}

// TestALinkBelowAMountPoint: the empty mount point is there, and is not where the state lay.
func TestALinkBelowAMountPoint(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	testenv.Tmpfs(t, dir+"/mnt", "")
	write(t, dir+"/mnt/db/file", "good")
	require.NoError(t, os.Symlink(dir+"/mnt/db", dir+"/db"))
	tick()
	c := take(t, s, "k", config.State{Paths: []string{dir + "/db"}})
	require.NoError(t, unix.Unmount(dir+"/mnt", 0))
	require.ErrorContains(t, s.Check(ctx, c), "which is not there")
	_, err := s.Restore(ctx, c, nil)
	require.ErrorContains(t, err, "which is not there")
	require.NoDirExists(t, dir+"/mnt/db")
}

// TestNothingIsBuiltInAnotherPath: both would hold it from then on.
func TestNothingIsBuiltInAnotherPath(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	write(t, dir+"/old/data", "good")
	write(t, dir+"/releases/42/data", "good")
	require.NoError(t, os.Symlink("old", dir+"/current"))
	tick()
	c := take(t, s, "k", config.State{Paths: []string{dir + "/current", dir + "/releases"}})
	require.NoError(t, os.Remove(dir+"/current"))
	require.NoError(t, os.Symlink("releases/43", dir+"/current"))
	require.ErrorContains(t, s.Check(ctx, c), "which is not there")
	require.NoError(t, s.Check(ctx, c, Only(dir+"/releases")))
}
