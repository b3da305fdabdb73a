package integrity

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func TestRebaseAcceptsWhatIsThere(t *testing.T) {
	r := newRig(t)
	r.write("a", "1")
	r.open()
	require.Empty(t, r.verify())
	first := r.anchor
	r.write("a", "2")
	r.write("b", "2")
	require.Len(t, r.verify(), 2)
	_, err := r.Rebase(t.Context(), " ", "")
	require.NotEmpty(t, shivx.HintOf(err))
	sum, err := r.Rebase(t.Context(), "ops", "released")
	require.NoError(t, err)
	require.Equal(t, first, sum.Before)
	require.Equal(t, r.anchor, sum.Root)
	require.Equal(t, []string{filepath.Join(r.tree, "a"), filepath.Join(r.tree, "b")}, sum.Differ)
	require.Zero(t, r.Status().Findings)
	require.Equal(t, "ops", r.Status().By)
	require.Empty(t, r.open().verify())
	r.write("a", "1")
	require.Equal(t, []string{"content a"}, r.verify())
}

func TestWithoutARecordTheOldBaselineHolds(t *testing.T) {
	r := newRig(t)
	r.write("a", "1")
	r.open()
	require.Empty(t, r.verify())
	r.write("a", "2")
	inner := r.Record
	r.Record = func(context.Context, string, any) error { return errors.New("the disk is full") }
	_, err := r.Rebase(t.Context(), "ops", "")
	require.ErrorContains(t, err, "the disk is full")
	require.NotEmpty(t, shivx.HintOf(err))
	r.Record = inner
	require.Equal(t, []string{"content a"}, r.verify())
	require.Equal(t, []string{"content a"}, r.open().verify())
}

func TestTheConfigurationNamesOtherPaths(t *testing.T) {
	r := newRig(t)
	r.write("a/one", "1")
	r.write("a/logs/x", "1")
	r.write("b/two", "1")
	r.rules.Paths = []string{filepath.Join(r.tree, "a")}
	r.open()
	require.Empty(t, r.verify())
	r.kinds()

	r.write("a/one", "tampered with while the agent was away")
	r.write("a/three", "added")
	r.rules.Paths = []string{filepath.Join(r.tree, "a"), filepath.Join(r.tree, "b")}
	r.rules.Exclude = []string{"logs"}
	require.ElementsMatch(t, []string{"content a/one", "added a/three"}, r.open().verify(), "what was watched stays as it was")
	require.Equal(t, []string{RecordScope}, r.kinds())
	r.write("b/two", "2")
	r.write("a/logs/x", "2")
	require.Equal(t, []string{"content b/two"}, r.verify())

	r.rules.Paths = nil
	require.Empty(t, r.open().verify())
	require.Equal(t, 0, r.Status().Entries)
	require.Contains(t, r.kinds(), RecordScope)
}

func TestNothingToWatch(t *testing.T) {
	r := newRig(t)
	r.rules.Paths = nil
	r.open().run()
	require.Empty(t, r.verify())
	require.Empty(t, r.kinds())
	require.NoFileExists(t, r.store.path(baselineName))
	require.NoFileExists(t, r.store.path(keyName))
}

func TestASignedBaselineWithoutARecordIsRecorded(t *testing.T) {
	r := newRig(t)
	r.write("a", "1")
	r.open()
	require.Empty(t, r.verify())
	root := r.anchor
	r.kinds()
	r.anchor = ""
	require.Empty(t, r.open().verify())
	require.Equal(t, []string{RecordAdopted}, r.kinds())
	require.Equal(t, root, r.anchor)
	require.True(t, r.Status().Trusted)
}

// TestWithoutABaselineFurtherTamperingIsFound: a baseline that is gone does not make the agent blind.
func TestWithoutABaselineFurtherTamperingIsFound(t *testing.T) {
	r := newRig(t)
	r.write("a", "1")
	r.write("b", "1")
	r.open()
	require.Empty(t, r.verify())
	data, err := os.ReadFile(r.store.path(baselineName))
	require.NoError(t, err)
	require.NoError(t, os.Remove(r.store.path(baselineName)))
	r.write("a", "tampered with meanwhile")
	require.Equal(t, []string{"baseline baseline.ndjson"}, r.open().verify())
	require.False(t, r.Status().Trusted)
	r.write("b", "2")
	require.Equal(t, []string{"content b"}, r.verify())
	require.NoError(t, os.WriteFile(r.store.path(baselineName), data, 0o600))
	require.ElementsMatch(t, []string{"content a", "content b"}, r.verify(), "put back from a backup it counts")
	require.True(t, r.Status().Trusted)
}

func TestRootsWithinRootsAndExcludes(t *testing.T) {
	r := newRig(t)
	r.write("app/bin", "1")
	r.write("app/var/cache", "1")
	r.write("app/var/keep/plugin", "1")
	r.rules.Paths = []string{r.tree, filepath.Join(r.tree, "app/var/keep")}
	r.rules.Exclude = []string{"app/var"}
	r.open().run()
	r.write("app/var/cache", "2")
	r.write("app/var/keep/plugin", "2")
	r.write("app/bin", "2")
	require.Empty(t, r.await("content app/bin", "content app/var/keep/plugin"))
	require.Empty(t, r.verify())
	require.Equal(t, 5, r.Status().Entries)
}

func TestTheBaselinesOwnFolderIsNoPartOfWhatItCovers(t *testing.T) {
	r := newRig(t)
	r.dir = filepath.Join(r.tree, "var/integrity")
	r.write("a", "1")
	r.open()
	require.Empty(t, r.verify())
	require.Empty(t, r.verify())
	require.Equal(t, 3, r.Status().Entries)
}
