package integrity

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// linked is a rig whose tree has a folder v1 and a link current to it.
func linked(t *testing.T) (r *rig, current string) {
	r = newRig(t)
	r.write("v1/app", "good")
	r.write("v2/app", "good")
	current = filepath.Join(r.tree, "current")
	require.NoError(t, os.Symlink("v1", current))
	return r, current
}

func (r *rig) openError() error {
	_, err := Open(Options{
		Rules: r.rules, Dir: r.dir, Anchor: r.anchor,
		Found:  func(context.Context, Finding) {},
		Record: func(context.Context, string, any) error { return nil },
	})
	return err
}

func TestAPathThatIsALinkNeedsWhatItLeadsTo(t *testing.T) {
	r, current := linked(t)
	r.rules.Paths = []string{current}
	err := r.openError()
	require.ErrorContains(t, err, current+" is a link to "+r.tree+"/v1, which is not watched")
	require.Contains(t, shivx.HintOf(err), "name "+r.tree+"/v1 beside")

	// Also of a link to a file, and when another path begins with the same letters.
	require.NoError(t, os.Symlink("v1/app", filepath.Join(r.tree, "app")))
	r.write("v/app", "1")
	r.rules.Paths = []string{filepath.Join(r.tree, "app"), filepath.Join(r.tree, "v")}
	require.ErrorContains(t, r.openError(), "/v1/app, which is not watched")

	r.rules.Paths = []string{current, filepath.Join(r.tree, "v1")}
	r.open()
	require.Empty(t, r.verify())
	r.write("v1/app", "evil")
	require.Equal(t, []string{"content v1/app"}, r.verify())

	// A link above the path is followed, and one to nowhere leads to nothing unwatched.
	require.NoError(t, os.Symlink("nowhere", filepath.Join(r.tree, "dangling")))
	r.rules.Paths = []string{filepath.Join(current, "app"), filepath.Join(r.tree, "dangling")}
	require.NoError(t, r.openError())
	// What it leads to may be named by way of another link.
	require.NoError(t, os.Symlink(".", filepath.Join(r.tree, "way")))
	r.rules.Paths = []string{current, filepath.Join(r.tree, "way/v1")}
	require.NoError(t, r.openError())
}

// TestALinkDoesNotStopTheWatch: one that leads elsewhere later is found and said, and no reason not to start.
func TestALinkDoesNotStopTheWatch(t *testing.T) {
	r, current := linked(t)
	v1 := filepath.Join(r.tree, "v1")
	r.rules.Paths = []string{current, v1}
	r.open()
	require.Empty(t, r.verify())
	require.Empty(t, r.Status().Last.Unfollowed)
	require.NoError(t, os.Remove(current))
	require.NoError(t, os.Symlink("v2", current))
	require.Equal(t, []string{"symlink current"}, r.verify())
	require.Equal(t, []string{"symlink current"}, r.open().verify())
	require.Equal(t, []string{current}, r.Status().Last.Unfollowed)

	// An intruder who puts a link in the place of a watched folder.
	require.NoError(t, os.Rename(v1, filepath.Join(r.tree, "v0")))
	require.NoError(t, os.Symlink("v2", v1))
	require.Contains(t, r.open().verify(), "symlink v1")

	r.rules.Paths = []string{current, v1, filepath.Join(r.tree, "v2")}
	require.Contains(t, r.open().verify(), "symlink current")
	require.Empty(t, r.Status().Last.Unfollowed)
}

// TestATicketLaundersNothing: what was found before it stays found, whatever is written there under it.
func TestATicketLaundersNothing(t *testing.T) {
	r := newRig(t)
	r.write("app", "good")
	r.write("gone", "good")
	r.write("other", "1")
	r.open()
	require.Empty(t, r.verify())
	r.write("app", "evil")
	r.write("planted", "evil")
	require.NoError(t, os.Remove(filepath.Join(r.tree, "gone")))
	require.ElementsMatch(t, []string{"content app", "added planted", "removed gone"}, r.verify())

	ticket := r.ticket(time.Hour, ".")
	r.write("app", "evil, once more")
	r.write("planted", "evil, once more")
	r.write("gone", "evil")
	r.write("other", "2")
	require.ElementsMatch(t, []string{"content app", "added planted", "content gone"}, r.verify())
	require.Len(t, r.open().verify(), 3, "also after a restart")
	_, err := r.CloseTicket(t.Context(), ticket.ID, "ops")
	require.NoError(t, err)
	require.Empty(t, r.verify())
	require.Equal(t, 3, r.Status().Findings)
}

// TestATicketCoversWhatWasPutRight: by hand, or by a person who accepted it.
func TestATicketCoversWhatWasPutRight(t *testing.T) {
	for name, right := range map[string]func(r *rig){
		"restored": func(r *rig) {
			r.write("app", "good")
			require.Empty(r.t, r.verify())
		},
		"restored while the agent was away": func(r *rig) {
			r.write("app", "good")
			require.Empty(r.t, r.open().verify())
		},
		"accepted": func(r *rig) {
			_, err := r.Rebase(r.t.Context(), "ops", "looked at")
			require.NoError(r.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.write("app", "good")
			r.open()
			require.Empty(t, r.verify())
			r.write("app", "evil")
			require.NotEmpty(t, r.verify())
			ticket := r.ticket(time.Hour, "app")
			right(r)
			r.write("app", "the new release")
			require.Empty(t, r.verify())
			_, err := r.CloseTicket(t.Context(), ticket.ID, "ops")
			require.NoError(t, err)
			require.Zero(t, r.Status().Findings)

			// The next ticket of the same name begins anew.
			r.write("app", "evil")
			require.NotEmpty(t, r.verify())
			_, err = r.OpenTicket(t.Context(), Ticket{
				ID: ticket.ID, Paths: ticket.Paths, Until: r.now().Add(time.Hour), By: "ops", Why: "again",
			})
			require.NoError(t, err)
			r.write("app", "evil, once more")
			require.Equal(t, []string{"content app"}, r.verify())
		})
	}
}

// TestATicketLaundersNoCopies: what was found before it is found under other names, too: a release moves
// the old folder aside, or a script copies it.
func TestATicketLaundersNoCopies(t *testing.T) {
	r := newRig(t)
	r.write("app/bin", "good")
	r.write("empty", "")
	r.write("app/mode", "only its mode differs")
	r.open()
	require.Empty(t, r.verify())
	require.NoError(t, os.Chmod(filepath.Join(r.tree, "app/mode"), 0o777))
	r.write("app/planted", "evil")
	r.write("app/bin", "evil, too")
	r.write("app/mark", "")
	require.Len(t, r.verify(), 4)

	ticket := r.ticket(time.Hour, ".")
	require.NoError(t, os.Rename(filepath.Join(r.tree, "app"), filepath.Join(r.tree, "old")))
	r.write("app/bin", "good")
	r.write("app/copy", "evil")
	r.write("app/other", "")
	require.ElementsMatch(t, []string{"removed app/mode", "added old/planted", "added old/bin", "added app/copy"}, r.verify())
	require.NotEmpty(t, r.open().verify(), "also after a restart")
	_, err := r.CloseTicket(t.Context(), ticket.ID, "ops")
	require.NoError(t, err)
	require.Empty(t, r.verify())
	require.Equal(t, 4, r.Status().Findings)
}
