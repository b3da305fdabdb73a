package checkpoint

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/capture"
	"github.com/shivx/shivx/internal/golden/format"
)

// nobody returns a store and a folder of a user for whom a file of mode 0 is like one on a bad sector: it is seen,
// can be renamed and removed, and cannot be read. The test goes on as that user.
func nobody(t *testing.T) (*Store, string) {
	t.Helper()
	if os.Geteuid() == 0 {
		require.NoError(t, syscall.Setresuid(-1, 65534, -1))
		t.Cleanup(func() { require.NoError(t, syscall.Setresuid(-1, 0, -1)) })
	}
	home, err := os.MkdirTemp("", "shivx-checkpoint-") //nolint:usetesting // root's folders are closed to others
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(home)) })
	s, err := Open(Options{Var: home + "/var"})
	require.NoError(t, err)
	return s, home + "/state"
}

func fault(t *testing.T, s *Store, key string, state config.State) Checkpoint {
	t.Helper()
	c, err := s.Take(context.Background(), Order{Key: key, Component: "redis", Kind: KindFault, State: state})
	require.NoError(t, err)
	return c
}

// TestAnUnreadableFileIsRestored: it is what the restore is for. What is left of it is kept, and undoing the
// restore does not remove what came in its place.
func TestAnUnreadableFileIsRestored(t *testing.T) {
	s, dir := nobody(t)
	ctx := context.Background()
	write(t, dir+"/tree/sub/db", "good")
	write(t, dir+"/tree/x", "good")
	write(t, dir+"/single", "good")
	state := config.State{Paths: []string{dir + "/tree", dir + "/single"}}
	healthy := take(t, s, "h", state)
	write(t, dir+"/tree/x", "bad")
	write(t, dir+"/tree/sub/new", "1")
	for _, name := range []string{"/tree/sub/db", "/tree/sub/new", "/single"} {
		require.NoError(t, os.Chmod(dir+name, 0))
	}
	_, err := s.Take(ctx, Order{Key: "h2", Component: "redis", Kind: KindHealthy, State: state})
	require.ErrorContains(t, err, "3 files could not be read")
	broken := fault(t, s, "f", state)
	require.Equal(t, []string{dir + "/single", dir + "/tree/sub/db", dir + "/tree/sub/new"}, broken.Skipped)
	require.Equal(t, broken.Skipped, broken.Lacking)

	d, err := s.Compare(ctx, healthy, state)
	require.NoError(t, err)
	require.Equal(t, []Change{
		{Path: dir + "/single", Kind: Removed, Detail: "it cannot be read: permission denied"},
		{Path: dir + "/tree/sub/db", Kind: Removed, Detail: "it cannot be read: permission denied"},
		{Path: dir + "/tree/sub/new", Kind: Changed, Detail: "it cannot be read: permission denied"},
		{Path: dir + "/tree/x", Kind: Shrunk, Detail: "4 bytes became 3"},
	}, d.Changes)
	require.False(t, d.Judge(nil).Acceptable, "what cannot be read is taken for sound")

	restoreAndUndo(t, s, dir, healthy, broken)
	d, err = s.Compare(ctx, broken, state)
	require.NoError(t, err)
	require.Empty(t, d.Changes, "the restore would never be done")
	_, err = s.Restore(ctx, broken, nil, Only(dir+"/single", dir+"/tree/sub/db"))
	require.NoError(t, err)
	require.Equal(t, "good", read(t, dir+"/single"))
	require.Equal(t, "good", read(t, dir+"/tree/sub/db"))
}

func restoreAndUndo(t *testing.T, s *Store, dir string, healthy, broken Checkpoint) {
	t.Helper()
	ctx := context.Background()
	changes, err := s.Restore(ctx, healthy, nil)
	require.NoError(t, err)
	require.Len(t, changes.Kept, 1, "what was left of the file is gone")
	require.FileExists(t, changes.Kept[0]+"/tree/sub/db")
	require.Equal(t, []string{changes.Kept[0] + "/tree/sub/db"}, Kept(dir+"/tree/sub/db"))
	for _, name := range []string{"/tree/sub/db", "/tree/x", "/single"} {
		require.Equal(t, "good", read(t, dir+name))
	}
	require.NoFileExists(t, dir+"/tree/sub/new")

	changes, err = s.Restore(ctx, broken, nil)
	require.NoError(t, err)
	require.Equal(t, []string{dir + "/tree"}, changes.Restored)
	require.Equal(t, []string{dir + "/single"}, changes.Unknown)
	require.Empty(t, changes.Unchanged)
	require.Empty(t, changes.Kept)
	require.Equal(t, "bad", read(t, dir+"/tree/x"))
	require.Equal(t, "good", read(t, dir+"/tree/sub/db"), "what the checkpoint lacks was removed")
	require.Equal(t, "good", read(t, dir+"/single"), "what the checkpoint lacks was removed")
}

// TestAFaultOfAllThatThereIs: a state of one file still has the checkpoint that a restore needs first.
func TestAFaultOfAllThatThereIs(t *testing.T) {
	s, dir := nobody(t)
	ctx := context.Background()
	write(t, dir+"/db", "good")
	state := config.State{Paths: []string{dir + "/db"}}
	healthy := take(t, s, "h", state)
	require.NoError(t, os.Chmod(dir+"/db", 0))
	broken := fault(t, s, "f", state)
	require.NoError(t, s.Verify(ctx, broken))
	_, err := s.Restore(ctx, healthy, nil)
	require.NoError(t, err)
	_, err = s.Restore(ctx, broken, nil)
	require.NoError(t, err)
	require.Equal(t, "good", read(t, dir+"/db"))
}

func TestAFaultCheckpointNamesAllThatItLacks(t *testing.T) {
	r := capture.Result{Entries: 1, Unreadable: 1, Faults: []format.Note{{Path: "/x"}}, Skipped: []format.Note{{Path: "/x"}}, SkippedCount: 1}
	require.NoError(t, complete(KindFault, r))
	require.Error(t, complete(KindHealthy, r))
	r.SkippedCount++ // one that is on no list would be removed by a restore
	require.Error(t, complete(KindFault, r))
}

func TestHardLinksToWhatCannotBeRead(t *testing.T) {
	s, dir := nobody(t)
	ctx := context.Background()
	write(t, dir+"/tree/a", "good")
	require.NoError(t, os.Link(dir+"/tree/a", dir+"/tree/b"))
	state := config.State{Paths: []string{dir + "/tree"}}
	healthy := take(t, s, "h", state)
	require.NoError(t, os.Chmod(dir+"/tree/a", 0))
	d, err := s.Compare(ctx, healthy, state)
	require.NoError(t, err)
	require.Equal(t, 2, d.Removed)
	_, err = s.Restore(ctx, healthy, nil)
	require.NoError(t, err)
	require.Equal(t, "good", read(t, dir+"/tree/b"))
	require.True(t, sameFile(t, dir+"/tree/a", dir+"/tree/b"))
}

// TestWhatTheCheckpointHasIsCompared: of a folder whose attributes could not be read it has all that is in it, and
// the state of now may be a part of that.
func TestWhatTheCheckpointHasIsCompared(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	write(t, dir+"/tree/sub/x", "good")
	c := take(t, s, "k", config.State{Paths: []string{dir + "/tree"}})
	g, _, release, err := s.use(ctx, c.ID)
	require.NoError(t, err)
	defer release()
	seen, err := s.see(config.State{Paths: []string{dir + "/tree/sub"}})
	require.NoError(t, err)
	j := &join{unknown: map[string]bool{dir + "/tree": true, dir + "/tree/none": true}}
	for _, err := range seen.want(j.strike(g.Entries(ctx))) {
		require.NoError(t, err)
	}
	require.Equal(t, map[string]bool{dir + "/tree/none": true}, j.unknown)
}
