package restore

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
)

func TestImmutableFilesAreRefused(t *testing.T) {
	g, dir := spoilt(t)
	write(t, dir+"/tree/extra/deep/file", "extra")
	if out, err := exec.Command("chattr", "+i", dir+"/tree").CombinedOutput(); err != nil {
		testenv.Missing(t, "needs chattr and a file system that knows it: "+string(out))
	}
	command(t, "chattr", "-i", dir+"/tree")
	defer command(t, "chattr", "-R", "-i", "-a", dir)
	before, journal := picture(t, dir+"/tree"), t.TempDir()
	for _, c := range []struct {
		path, flag     string
		whole, inPlace bool
	}{
		{"", "+i", true, true}, // nothing beside the tree can be renamed
		{"/tree", "+i", true, true},
		{"/tree", "+a", true, true},
		{"/tree/a", "+i", true, true},
		{"/tree/a/data", "+i", true, true},
		{"/tree/a/data", "+a", true, true},
		{"/tree/extra/deep/file", "+i", true, true},
		{"/tree/extra/deep", "+a", true, true},
	} {
		for inPlace, wanted := range map[bool]bool{false: c.whole, true: c.inPlace} {
			if !wanted {
				continue
			}
			command(t, "chattr", c.flag, dir+c.path)
			_, err := Stage(context.Background(), g, Options{Journal: journal, InPlace: inPlace})
			command(t, "chattr", strings.Replace(c.flag, "+", "-", 1), dir+c.path)
			require.ErrorContains(t, err, "immutable", "%v in place %t", c, inPlace)
			require.Contains(t, shivx.HintOf(err), "chattr -i")
			same(t, before, picture(t, dir+"/tree"))
			leftovers(t, journal, dir)
		}
	}
	// What stays may be as it is.
	g.h.Exclude = []string{dir + "/tree/extra/deep"}
	command(t, "chattr", "+i", dir+"/tree/extra/deep/file")
	for _, inPlace := range []bool{false, true} {
		restoreAll(t, g, Options{Journal: journal, InPlace: inPlace})
		require.Equal(t, "extra", read(t, dir+"/tree/extra/deep/file"))
	}
}

func TestOneRestoreAtATime(t *testing.T) {
	g, dir := spoilt(t)
	o := Options{Journal: t.TempDir(), ID: "first"}
	s, err := Stage(context.Background(), g, o)
	require.NoError(t, err)
	require.Equal(t, "first", s.ID())
	_, err = Stage(context.Background(), g, o)
	require.ErrorIs(t, err, ErrBusy)
	require.NoError(t, s.Close())
	o.ID = "second"
	_, err = Stage(context.Background(), g, o)
	require.ErrorContains(t, err, "first was cut off while staged")
	list, err := Pending(o.Journal)
	require.NoError(t, err)
	require.Len(t, list, 1)
	s, err = Resume(context.Background(), list[0])
	require.NoError(t, err)
	require.Equal(t, StateGone, s.State())
	leftovers(t, o.Journal, dir)
	_, err = Stage(context.Background(), g, Options{Journal: o.Journal, ID: "../x"})
	require.Error(t, err)
	_, err = Stage(context.Background(), g, Options{Journal: "relative"})
	require.Error(t, err)
}

func TestOneRestoreOfThePathsAtATime(t *testing.T) {
	for name, inPlace := range map[string]bool{"whole": false, "in place": true} {
		t.Run(name, func(t *testing.T) {
			g, dir := spoilt(t)
			before := picture(t, dir+"/tree")
			first, second := Options{Journal: t.TempDir(), ID: "first", InPlace: inPlace}, Options{Journal: t.TempDir(), ID: "second"}
			s, err := Stage(context.Background(), g, first)
			require.NoError(t, err)
			_, err = s.Swap(context.Background())
			require.NoError(t, err)
			_, err = Stage(context.Background(), g, second)
			require.ErrorIs(t, err, ErrBusy)
			require.NotEmpty(t, shivx.HintOf(err))
			leftovers(t, second.Journal)
			_, err = Stage(context.Background(), g, Options{Journal: second.Journal, ID: first.ID})
			require.ErrorContains(t, err, "is there already", "nor does it lose what it has by one of its name")
			require.NotEmpty(t, shivx.HintOf(err))
			leftovers(t, second.Journal)

			// Who has a copy of the journal does not get at it either, until the process has ended.
			third := t.TempDir() + "/copied"
			command(t, "cp", "-a", first.Journal, third)
			copied, err := Pending(third)
			require.NoError(t, err)
			_, err = Resume(context.Background(), copied[0])
			require.ErrorIs(t, err, ErrBusy)
			require.NoError(t, s.Close())
			s, err = Resume(context.Background(), copied[0])
			require.NoError(t, err)
			_, err = Stage(context.Background(), g, second)
			require.ErrorIs(t, err, ErrBusy, "who takes it up has the lock")
			require.NoError(t, s.Undo(context.Background()))
			same(t, before, picture(t, dir+"/tree"))
			restoreAll(t, g, second)
			leftovers(t, third, dir)
		})
	}
}
