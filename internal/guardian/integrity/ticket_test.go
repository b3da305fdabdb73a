package integrity

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// ticket opens a ticket for paths of the tree.
func (r *rig) ticket(until time.Duration, paths ...string) Ticket {
	r.t.Helper()
	for i, p := range paths {
		paths[i] = filepath.Join(r.tree, p)
	}
	t, err := r.OpenTicket(r.t.Context(), Ticket{Paths: paths, Until: r.now().Add(until), By: "ops", Why: "release"})
	require.NoError(r.t, err)
	return t
}

func TestATicketTakesItsChangesIntoTheBaselineAndNoOthers(t *testing.T) {
	r := newRig(t)
	r.write("app/bin", "1")
	r.write("app/old", "1")
	r.write("etc/passwd", "root")
	r.write("app/tampered", "1")
	r.open()
	require.Empty(t, r.verify())
	r.write("app/tampered", "evil, before the ticket")
	r.take()

	ticket := r.ticket(time.Hour, "app")
	require.Equal(t, []string{"content app/tampered"}, r.take(), "found when the ticket was opened")
	r.write("app/bin", "2")
	r.write("app/new/file", "2")
	require.NoError(t, os.Remove(filepath.Join(r.tree, "app/old")))
	r.write("etc/passwd", "root, evil")
	r.kinds()
	require.Equal(t, []string{"content etc/passwd"}, r.verify())
	require.Equal(t, []string{RecordExpected, RecordExpected, RecordExpected, RecordExpected}, r.kinds())
	require.ElementsMatch(t, []string{"content etc/passwd", "content app/tampered"}, r.open().verify(), "the ticket outlives a restart")
	r.kinds()

	sum, err := r.CloseTicket(t.Context(), ticket.ID, "ops")
	require.NoError(t, err)
	require.Equal(t, [3]int{2, 1, 1}, [3]int{sum.Added, sum.Removed, sum.Changed})
	require.Equal(t, []string{RecordTicketClosed}, r.kinds())
	require.Empty(t, r.verify())
	require.Equal(t, 2, r.Status().Findings, "what was tampering before stays it")
	r.write("app/bin", "3")
	require.Equal(t, []string{"content app/bin"}, r.verify(), "the ticket is over")
}

func TestATicketEndsByItself(t *testing.T) {
	r := newRig(t)
	r.write("a", "1")
	r.write("b", "1")
	r.write("c/c", "1")
	r.open()
	require.Empty(t, r.verify())
	ticket := r.ticket(300*time.Millisecond, "a", "b", "c")
	r.write("a", "in time, seen by nobody")
	require.NoError(t, os.Remove(filepath.Join(r.tree, "c/c")))
	time.Sleep(time.Until(ticket.Until.Add(20 * time.Millisecond)))
	r.write("b", "too late")
	require.Equal(t, []string{"content b"}, r.open().verify(), "also when the agent was away meanwhile")
	require.Empty(t, r.Status().Tickets)
	_, err := r.CloseTicket(t.Context(), ticket.ID, "ops")
	require.Error(t, err)
}

func TestRunEndsATicketInTime(t *testing.T) {
	r := newRig(t)
	r.write("a", "1")
	r.open().run()
	r.ticket(200*time.Millisecond, "a")
	r.write("a", "2")
	r.awaitRecord(RecordTicketClosed)
	r.write("a", "3")
	require.Empty(t, r.await("content a"))
}

func TestPatternsOfTickets(t *testing.T) {
	for pattern, covered := range map[string][]string{
		"/srv/app":          {"/srv/app", "/srv/app/x", "/srv/app/x/y"},
		"/srv/app/":         {"/srv/app/x"},
		"/srv/*.conf":       {"/srv/a.conf", "/srv/a.conf/below"},
		"/srv/**/cache":     {"/srv/cache/x", "/srv/a/b/cache"},
		"/srv/{one,two}/*":  {"/srv/one/x", "/srv/two/x/y"},
		"/srv/rel-[0-9]*/x": {"/srv/rel-1/x", "/srv/rel-12/x/y"},
	} {
		ticket := Ticket{Paths: []string{pattern}}
		for _, p := range covered {
			require.True(t, ticket.covers(p), "%s covers %s", pattern, p)
		}
		for _, p := range []string{"/", "/srv", "/srv/appendix", "/srv/b", "/etc/passwd", "/srv/b/conf"} {
			require.False(t, ticket.covers(p), "%s does not cover %s", pattern, p)
		}
	}
}

func TestTicketsThatCannotBe(t *testing.T) {
	r := newRig(t)
	r.write("a", "1")
	r.open()
	require.Empty(t, r.verify())
	good := Ticket{Paths: []string{r.tree}, Until: time.Now().Add(time.Hour), By: "ops"}
	taken := good
	taken.ID = "taken"
	_, err := r.OpenTicket(t.Context(), taken)
	require.NoError(t, err)
	for _, c := range []struct {
		want  string
		spoil func(t *Ticket)
	}{
		{"who opens it", func(t *Ticket) { t.By = " " }},
		{"time is over", func(t *Ticket) { t.Until = time.Now() }},
		{"longer than", func(t *Ticket) { t.Until = time.Now().Add(25 * time.Hour) }},
		{"needs paths", func(t *Ticket) { t.Paths = nil }},
		{"absolute path", func(t *Ticket) { t.Paths = []string{"a"} }},
		{"nor a pattern", func(t *Ticket) { t.Paths = []string{"/srv/[a"} }},
		{"nothing is watched", func(t *Ticket) { t.Paths = []string{r.tree + "x"} }},
		{"nothing is watched", func(t *Ticket) { t.Paths = []string{r.tree, r.dir} }},
		{"nothing is watched", func(t *Ticket) { t.Paths = []string{"/etc/*.conf"} }},
		{"there is a ticket", func(t *Ticket) { t.ID = "taken" }},
	} {
		ticket := good
		c.spoil(&ticket)
		_, err := r.OpenTicket(t.Context(), ticket)
		require.ErrorContains(t, err, c.want)
		require.NotEmpty(t, shivx.HintOf(err), c.want)
	}
}

func TestNoTicketForATamperedBaseline(t *testing.T) {
	r := newRig(t)
	r.write("a", "1")
	r.open()
	require.Empty(t, r.verify())
	ticket := r.ticket(time.Hour, "a")
	data, err := os.ReadFile(r.store.path(baselineName))
	require.NoError(t, err)
	require.NoError(t, os.Truncate(r.store.path(baselineName), 10))
	_, err = r.OpenTicket(t.Context(), Ticket{Paths: []string{r.tree}, Until: time.Now().Add(time.Hour), By: "ops"})
	require.ErrorContains(t, err, "tampered with")
	require.NotEmpty(t, shivx.HintOf(err))
	_, err = r.CloseTicket(t.Context(), ticket.ID, "ops")
	require.ErrorContains(t, err, "tampered with")
	require.NoError(t, os.WriteFile(r.store.path(baselineName), data, 0o600))
	_, err = r.CloseTicket(t.Context(), ticket.ID, "ops")
	require.NoError(t, err)
}

// TestRotations turns logs over again and again while everything is watched.
func TestRotations(t *testing.T) {
	r := newRig(t)
	r.rules.Exclude = []string{"logs/**", "**/*.pid"}
	r.write("bin/app", "program")
	r.write("logs/app.log", "")
	r.write("spool/queue.1", "")
	r.open().run()
	ticket := r.ticket(time.Hour, "spool/queue.*")
	for i := range 200 {
		for _, log := range []string{"logs/app.log", "spool/queue.1"} {
			path := r.write(log, fmt.Sprintf("line %d", i))
			require.NoError(t, os.Rename(path, path+".old"))
			r.write(log, "")
		}
		r.write("bin/app.pid", fmt.Sprint(i))
		if i%50 == 0 {
			_, err := r.Verify(t.Context())
			require.NoError(t, err)
		}
	}
	require.Empty(t, r.verify())
	_, err := r.CloseTicket(t.Context(), ticket.ID, "ops")
	require.NoError(t, err)
	require.Empty(t, r.verify())
	r.write("spool/queue.1", "after the ticket")
	require.Empty(t, r.await("content spool/queue.1"))
}
