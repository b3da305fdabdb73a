package restore

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/testenv"
)

// scene is a live tree that is restored over and over, on a file system of its own.
type scene struct {
	dir       string
	roots     []string
	good, bad map[string]string
	task      task
}

const killed = 30 * time.Second

// newScene makes a small good tree, its golden, and a spoilt tree with things that the golden leaves
// out. mount says that one root is a mount point.
func newScene(t *testing.T, k task, mount bool) *scene {
	dir := t.TempDir() + "/fs"
	testenv.Tmpfs(t, dir, "size=64m")
	s := &scene{dir: dir, roots: []string{dir + "/live/a", dir + "/live/b", dir + "/live/gone", dir + "/live/single"}, task: k}
	if mount {
		testenv.Tmpfs(t, dir+"/live/a", "size=16m")
	}
	s.task.Golden, s.task.Journal = dir+"/golden", dir+"/journal"
	for _, p := range []string{"/a/f", "/a/sub/g", "/a/sub/deep/h", "/b/x", "/b/empty/", "/single"} {
		write(t, dir+"/live"+strings.TrimSuffix(p, "/"), "good "+p)
	}
	sparse(t, rand.New(rand.NewPCG(1, 1)), dir+"/live/a/sparse")
	require.NoError(t, os.Link(dir+"/live/a/f", dir+"/live/a/sub/linked"))
	require.NoError(t, os.Symlink("f", dir+"/live/a/link"))
	s.age(t)
	s.good = picture(t, s.roots...)
	g := take(t, s.roots...)
	g.h.Exclude = []string{"**/*.log"}
	g.save(t, s.task.Golden)

	write(t, dir+"/live/a/f", "bad")
	write(t, dir+"/live/a/extra/file", "bad")
	write(t, dir+"/live/gone/file", "bad")
	require.NoError(t, os.RemoveAll(dir+"/live/a/sub/deep"))
	require.NoError(t, os.RemoveAll(dir+"/live/b"))
	require.NoError(t, os.Symlink("/etc", dir+"/live/b"))
	require.NoError(t, os.Chmod(dir+"/live/a/sub/g", 0o600))
	write(t, dir+"/live/single", "bad")
	write(t, dir+"/live/a/top.log", "log")
	write(t, dir+"/live/a/sub/app.log", "log")
	write(t, dir+"/live/a/kept/deep.log", "log")
	s.age(t)
	s.bad = picture(t, s.roots...)
	s.save(t)
	return s
}

// age gives everything times that no restore would give it by chance.
func (s *scene) age(t testing.TB) {
	n := 0
	for p := range picture(t, s.roots...) {
		n++
		when := time.Unix(int64(1_000_000_000+n), int64(n))
		if info, err := os.Lstat(p); err == nil && info.Mode()&os.ModeSymlink == 0 {
			require.NoError(t, os.Chtimes(p, when, when))
		}
	}
}

// moveIn has the journal and a store lie in the tree, of which the golden says nothing.
func (s *scene) moveIn(t testing.TB) {
	own := s.dir + "/live/a/sub/var"
	s.task.Journal, s.task.Protect, s.task.Stay = own+"/own/restores", []string{own + "/own", s.dir + "/live/a/sub/var/store"}, []string{own}
	write(t, own+"/store/golden", "stored")
	write(t, own+"/ledger", "records")
	require.NoError(t, os.MkdirAll(s.task.Journal, 0o700))
	s.age(t)
	s.bad = s.picture(t)
	require.NoError(t, os.RemoveAll(s.dir+"/model"))
	s.save(t)
}

// picture is that of the live tree but for the journal.
func (s *scene) picture(t testing.TB) map[string]string {
	now := picture(t, s.roots...)
	maps.DeleteFunc(now, func(p, _ string) bool { return format.Below(s.task.Journal, p) })
	return now
}

func (s *scene) save(t testing.TB) { command(t, "cp", "-a", s.dir+"/live", s.dir+"/model") }

// reset brings the spoilt tree back.
func (s *scene) reset(t testing.TB) {
	for _, r := range []string{"a", "b", "gone", "single"} {
		if r == "a" { // may be a mount point
			list, err := os.ReadDir(s.dir + "/live/a")
			require.NoError(t, err)
			for _, e := range list {
				require.NoError(t, os.RemoveAll(s.dir+"/live/a/"+e.Name()))
			}
			continue
		}
		require.NoError(t, os.RemoveAll(s.dir+"/live/"+r))
	}
	command(t, "cp", "-a", s.dir+"/model/.", s.dir+"/live")
	same(t, s.bad, s.picture(t))
}

func command(t testing.TB, args ...string) {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	require.NoError(t, err, string(out))
}

// settle resumes what a killed child left, and checks that the tree is in one of the two states.
func (s *scene) settle(t testing.TB, r *rand.Rand) State {
	t.Helper()
	pending, err := Pending(s.task.Journal)
	require.NoError(t, err)
	require.LessOrEqual(t, len(pending), 1)
	was := StateGone
	for _, j := range pending {
		was = j.State
		again, err := Resume(context.Background(), j)
		require.NoError(t, err, was)
		switch {
		case again.State() != StateSwapped:
			require.Equal(t, StateGone, again.State())
		case r.IntN(2) == 0:
			s.isNew(t)
			require.NoError(t, again.Undo(context.Background()))
			was = StateUndoing
		default:
			require.NoError(t, again.Finish(context.Background(), false))
		}
	}
	switch was {
	case StateStaging, StateStaged, StateUndoing:
		same(t, s.bad, s.picture(t))
	case StateSwapping, StateSwapped, StateFinishing:
		s.isNew(t)
	case StateGone:
		if now := s.picture(t); !maps.Equal(now, s.bad) {
			s.isNew(t)
		}
	}
	require.NoError(t, sweep(s.task.Journal))
	leftovers(t, s.task.Journal, s.dir+"/live")
	for _, log := range []string{"top.log", "sub/app.log", "kept/deep.log"} {
		require.Equal(t, "log", read(t, s.dir+"/live/a/"+log))
	}
	if len(s.task.Protect) > 0 {
		require.Equal(t, "stored", read(t, s.dir+"/live/a/sub/var/store/golden"))
		require.Equal(t, "records", read(t, s.dir+"/live/a/sub/var/ledger"))
	}
	return was
}

// isNew fails unless the tree is the golden's, but for what that leaves out.
func (s *scene) isNew(t testing.TB) {
	t.Helper()
	now := s.picture(t)
	for p := range now {
		if strings.HasSuffix(p, ".log") || p == s.dir+"/live/a/kept" || format.Below(s.dir+"/live/a/sub/var", p) {
			delete(now, p)
		}
	}
	same(t, s.good, now)
}
