package restore

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// Another process may go on with a restore, and die, between the moment in which its journal was read and
// the one in which it is taken up.
func TestResumeGoesByTheJournalAsItIsNow(t *testing.T) {
	for name, o := range map[string]Options{"whole": {}, "in place": {InPlace: true}} {
		t.Run(name, func(t *testing.T) {
			g, dir := spoilt(t)
			o.Journal = t.TempDir()
			before := picture(t, dir+"/tree")
			s, err := Stage(context.Background(), g, o)
			require.NoError(t, err)
			early, err := Pending(o.Journal)
			require.NoError(t, err)
			require.Equal(t, StateStaged, early[0].State)
			_, err = Resume(context.Background(), early[0])
			require.ErrorIs(t, err, ErrBusy)
			_, err = s.Swap(context.Background())
			require.NoError(t, err)
			after := picture(t, dir+"/tree")
			require.NotEqual(t, before, after)
			require.NoError(t, s.Close()) // as if its process had died

			s, err = Resume(context.Background(), early[0])
			require.NoError(t, err)
			require.Equal(t, StateSwapped, s.State())
			same(t, after, picture(t, dir+"/tree"))
			require.NoError(t, s.Undo(context.Background()), "the old state was kept")
			same(t, before, picture(t, dir+"/tree"))
			leftovers(t, o.Journal, dir)
		})
	}
}

func TestResumeOfWhatAnotherHasEnded(t *testing.T) {
	g, dir := spoilt(t)
	o := Options{Journal: t.TempDir()}
	s, err := Stage(context.Background(), g, o)
	require.NoError(t, err)
	early, err := Pending(o.Journal)
	require.NoError(t, err)
	_, err = s.Swap(context.Background())
	require.NoError(t, err)
	require.NoError(t, s.Finish(context.Background(), false))
	after := picture(t, dir+"/tree")

	gone, err := Resume(context.Background(), early[0])
	require.NoError(t, err)
	require.Equal(t, StateGone, gone.State())
	require.Error(t, gone.Undo(context.Background()))
	require.NoError(t, gone.Close())
	same(t, after, picture(t, dir+"/tree"))
	leftovers(t, o.Journal, dir)

	s, err = Stage(context.Background(), g, Options{Journal: o.Journal, InPlace: true})
	require.NoError(t, err, "the lock is free")
	require.NoError(t, s.Discard(context.Background()))
}

func TestAJournalThatIsNoneIsNotTakenUp(t *testing.T) {
	g, _ := spoilt(t)
	o := Options{Journal: t.TempDir(), ID: "one"}
	s, err := Stage(context.Background(), g, o)
	require.NoError(t, err)
	early, err := Pending(o.Journal)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	for _, content := range []string{"", "{}", `{"id": "other", "state": "staged"}`} {
		require.NoError(t, os.WriteFile(o.Journal+"/one"+journalFile, []byte(content), 0o600))
		_, err = Resume(context.Background(), early[0])
		require.ErrorContains(t, err, "not a journal")
		_, err = Pending(o.Journal)
		require.ErrorContains(t, err, "not a journal")
	}
}

// Who finds that a restore was cut off has not taken its name, and leaves its files alone.
func TestTheFilesOfARestoreThatWasCutOffStay(t *testing.T) {
	g, dir := spoilt(t)
	o := Options{Journal: t.TempDir(), ID: "one"}
	before := picture(t, dir+"/tree")
	s, err := Stage(context.Background(), g, o)
	require.NoError(t, err)
	_, err = s.Swap(context.Background())
	require.NoError(t, err)
	require.NoError(t, s.Close())
	for _, o.ID = range []string{"one", "two"} {
		_, err = Stage(context.Background(), g, o)
		require.ErrorContains(t, err, "the restore one was cut off while swapped")
	}
	pending, err := Pending(o.Journal)
	require.NoError(t, err)
	require.Len(t, pending, 1)
	s, err = Resume(context.Background(), pending[0])
	require.NoError(t, err)
	require.NoError(t, s.Undo(context.Background()))
	same(t, before, picture(t, dir+"/tree"))
	leftovers(t, o.Journal, dir)
}

func TestAJournalOfAnotherVersionIsNotTakenUp(t *testing.T) {
	g, dir := spoilt(t)
	o := Options{Journal: t.TempDir(), ID: "one"}
	s, err := Stage(context.Background(), g, o)
	require.NoError(t, err)
	_, err = s.Swap(context.Background())
	require.NoError(t, err)
	early, err := Pending(o.Journal)
	require.NoError(t, err)
	require.Equal(t, journalVersion, early[0].Version)
	require.NoError(t, s.Close())
	path := o.Journal + "/one" + journalFile
	whole := read(t, path)
	after := picture(t, dir)
	for _, content := range []string{strings.Replace(whole, `"version":1`, `"version":2`, 1), strings.Replace(whole, `"version":1,`, "", 1), whole[:len(whole)/2]} {
		require.NotEqual(t, whole, content)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, pendingErr := Pending(o.Journal)
		_, resumeErr := Resume(context.Background(), early[0])
		_, stageErr := Stage(context.Background(), g, o)
		_, otherErr := Stage(context.Background(), g, Options{Journal: o.Journal, ID: "two"})
		for _, err := range []error{pendingErr, resumeErr, stageErr, otherErr} {
			require.ErrorContains(t, err, path)
			require.Contains(t, shivx.HintOf(err), StagePrefix+"one")
			require.Contains(t, shivx.HintOf(err), "by hand")
		}
		require.Equal(t, content, read(t, path))
		require.FileExists(t, o.Journal+"/one"+swapFile)
		same(t, after, picture(t, dir))
	}
	require.NoError(t, os.WriteFile(path, []byte(whole), 0o600))
	s, err = Resume(context.Background(), early[0])
	require.NoError(t, err)
	require.NoError(t, s.Finish(context.Background(), false))
}
