package source

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/command"
)

// hooks writes down in a file what runs.
type hooks struct {
	t   *testing.T
	log string
}

func newHooks(t *testing.T) hooks { return hooks{t, filepath.Join(t.TempDir(), "log")} }

// sh is a hook whose first word is written down.
func (h hooks) sh(script string) command.Spec {
	word, rest, _ := strings.Cut(script, " ")
	return command.Spec{Argv: []string{"sh", "-c", "echo " + word + " >> " + h.log + "; " + rest}, Timeout: 500 * time.Millisecond}
}

func (h hooks) begun() bool {
	data, _ := os.ReadFile(h.log)
	return len(data) > 0
}

func (h hooks) ran() []string {
	data, err := os.ReadFile(h.log)
	require.NoError(h.t, err)
	return strings.Fields(string(data))
}

func TestCommandRunsBothHooks(t *testing.T) {
	h, dir := newHooks(t), t.TempDir()
	c, err := NewCommand("any", CommandOptions{Pre: h.sh("pre"), Post: h.sh("post")})
	require.NoError(t, err)
	e, err := c.Prepare(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, []string{"pre"}, h.ran())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, e.Close(ctx), "post runs after a cancel, too")
	require.NoError(t, e.Close(ctx))
	require.Equal(t, []string{"pre", "post"}, h.ran())
	requireNothing(t, dir)
}

func TestCommandFails(t *testing.T) {
	dir := t.TempDir()
	for want, o := range map[string]struct{ pre, post string }{
		"exit status 3":          {"pre echo no such key; exit 3", "post"},
		"killed after":           {"pre sleep 100", "post"},
		"post hook":              {"pre exit 1", "post exit 4"},
		`it said "no such door"`: {"pre echo no such door >&2; exit 1", "post"},
	} {
		h := newHooks(t)
		c, err := NewCommand("any", CommandOptions{Pre: h.sh(o.pre), Post: h.sh(o.post)})
		require.NoError(t, err)
		_, err = c.Prepare(t.Context(), dir)
		require.ErrorContains(t, err, want)
		require.NotEmpty(t, shivx.HintOf(err))
		require.Equal(t, []string{"pre", "post"}, h.ran())
		c.o.Post = h.sh("post")
		due, err := c.Resume(t.Context(), dir)
		require.NoError(t, err)
		require.Equal(t, want == "post hook", due)
		requireNothing(t, dir)
	}
}

// What post has not undone stays to be undone, until it has.
func TestCommandOwesItsPost(t *testing.T) {
	h, dir := newHooks(t), filepath.Join(t.TempDir(), "exports")
	bad := &Command{"any", CommandOptions{Pre: h.sh("pre"), Post: h.sh("post exit 5")}}
	good := &Command{"any", CommandOptions{Pre: h.sh("pre"), Post: h.sh("post")}}
	due, err := good.Resume(t.Context(), dir)
	require.NoError(t, err)
	require.False(t, due)
	require.NoDirExists(t, dir)
	e, err := bad.Prepare(t.Context(), dir)
	require.NoError(t, err)
	due, err = good.Resume(t.Context(), dir)
	require.NoError(t, err)
	require.False(t, due, "the capture is under way")
	err = e.Close(t.Context())
	require.ErrorContains(t, err, "exit status 5")
	require.Contains(t, shivx.HintOf(err), "golden resume")
	_, err = bad.Prepare(t.Context(), dir)
	require.ErrorContains(t, err, "exit status 5", "nothing is stopped again before that is undone")
	require.Equal(t, []string{"pre", "post", "post"}, h.ran())
	other := &Command{"another", CommandOptions{Post: h.sh("wrong")}}
	due, err = other.Resume(t.Context(), dir)
	require.NoError(t, err)
	require.False(t, due)
	due, err = good.Resume(t.Context(), dir)
	require.NoError(t, err)
	require.True(t, due)
	require.Equal(t, []string{"pre", "post", "post", "post"}, h.ran())
	requireNothing(t, dir)
}

func TestCommandCancelled(t *testing.T) {
	h, dir := newHooks(t), t.TempDir()
	o := CommandOptions{Pre: h.sh("pre sleep 100"), Post: h.sh("post")}
	o.Pre.Timeout = time.Minute
	c, err := NewCommand("any", o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { _, err := c.Prepare(ctx, dir); ended <- err }()
	require.Eventually(t, h.begun, 5*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Equal(t, []string{"pre", "post"}, h.ran())
	requireNothing(t, dir)
}

// After a kill between the hooks, the next backup runs post before pre, whatever else has swept the folder.
func TestCommandKilled(t *testing.T) {
	h := newHooks(t)
	j := job{Dir: t.TempDir(), Command: &CommandOptions{Pre: h.sh("pre"), Post: h.sh("post")}}
	cmd := j.start(t)
	require.Eventually(t, h.begun, 5*time.Second, time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	other, err := newFolder(j.Dir, exportPrefix, nil)
	require.NoError(t, err)
	require.NoError(t, other.remove())
	e, err := PrepareAll(t.Context(), j.Dir, j.sources()...)
	require.NoError(t, err)
	require.Equal(t, []string{"pre", "post", "pre"}, h.ran())
	require.NoError(t, e.Close(t.Context()))
	requireNothing(t, j.Dir)
}

func TestPrepareAllClosesWhatItHas(t *testing.T) {
	h, dir := newHooks(t), t.TempDir()
	first := &Command{"first", CommandOptions{Pre: h.sh("pre"), Post: h.sh("post")}}
	_, err := PrepareAll(t.Context(), dir, first, &SQLite{"none", SQLiteOptions{Path: "/nonexistent/app.db"}})
	require.ErrorContains(t, err, "source none")
	require.NotEmpty(t, shivx.HintOf(err))
	require.Equal(t, []string{"pre", "post"}, h.ran())

	path := filepath.Join(t.TempDir(), "app.db")
	query(t, path, "CREATE TABLE t(x)")
	db := &SQLite{"db", SQLiteOptions{Path: path}}
	_, err = PrepareAll(t.Context(), dir, db, first, db)
	require.ErrorContains(t, err, "already in the export")
	require.Len(t, h.ran(), 4)
	requireNothing(t, dir)
}

func TestNames(t *testing.T) {
	for _, name := range []string{"", "a/b", "..", "a b", "ä"} {
		_, err := NewSQLite(name, SQLiteOptions{Path: "/a"})
		require.Error(t, err, name)
	}
	for _, path := range []string{"", "a", "/a/../b", "/a/"} {
		_, err := NewPostgres("x", PostgresOptions{Data: path})
		require.Error(t, err, path)
	}
	_, err := NewCommand("x", CommandOptions{})
	require.Error(t, err)
	_, err = NewRedis("x", RedisOptions{})
	require.Error(t, err)
}
