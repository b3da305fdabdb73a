package crash_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func backup(more ...string) []string {
	return append([]string{"golden", "backup", "shop", "--local"}, more...)
}

func prune() []string { return []string{"golden", "prune", "shop", "--yes"} }

// killBackups kills backups, of a host that never had one as well, with the removal of what is too old at
// their end.
func (s *ordeal) killBackups(t *testing.T, points int) {
	s.conf = "prune.yaml"
	first := took(3, func() { s.forget(t); s.must(t, backup()...) })
	next := took(3, func() { s.edit(t); s.must(t, backup()...) })
	for i, moment := range spread(s.rnd, points, 1000) {
		what, whole := "backup", next
		if i%4 == 0 {
			s.forget(t)
			what, whole = "first backup", first
		}
		s.edit(t)
		tree, before := s.picture(t), s.goldens(t)
		after := time.Duration(moment) * whole / 1000
		cut := s.killed(t, after, backup()...)
		s.point(t, i, fmt.Sprintf("%s killed after %v of %v: %v", what, after.Round(time.Millisecond), whole.Round(time.Millisecond), cut),
			s.backedUp(t, before))
		require.Empty(t, tree.differs(s.picture(t)), "a backup changes nothing")
		s.sound(t)
		s.repeatBackup(t, tree, i%5 == 0)
	}
}

// forget makes the host one that never had a backup.
func (s *ordeal) forget(t *testing.T) {
	t.Helper()
	require.NoError(t, os.RemoveAll(s.path("store/golden")))
	require.NoError(t, os.RemoveAll(s.path("var/shivx")))
}

// backedUp says whether there is a golden that was not there before; none that was asked for is missing.
func (s *ordeal) backedUp(t *testing.T, before []string) string {
	t.Helper()
	now := s.goldens(t)
	if last := len(before) - 1; last >= 0 {
		require.Contains(t, now, before[last], "the newest golden stays")
	}
	for _, id := range now {
		if !slices.Contains(before, id) {
			return "new"
		}
	}
	return "old"
}

// repeatBackup takes a golden, after which nothing is left of what was cut off before, and looks at what it holds.
func (s *ordeal) repeatBackup(t *testing.T, tree picture, look bool) {
	t.Helper()
	before := s.goldens(t)
	s.must(t, backup()...)
	require.Equal(t, "new", s.backedUp(t, before))
	s.tidy(t)
	s.must(t, "golden", "verify", "shop", "--local")
	if look {
		s.holds(t, "latest", tree)
	}
}

// holds restores a golden to another place and compares that with a picture. The database is compared by its
// rows: a backup keeps those, and not the bytes.
func (s *ordeal) holds(t *testing.T, golden string, tree picture) {
	t.Helper()
	to := t.TempDir()
	s.must(t, "golden", "restore", "shop/"+golden, "--local", "--to", to)
	got := pictureOf(t, filepath.Join(to, s.dir), filepath.Join(to, s.dir, "etc"), filepath.Join(to, s.dir, "srv"))
	require.Empty(t, tree.differs(got, "srv/shop/orders.db", "srv/shop/cache", "srv/shop/cache/page"))
	require.Equal(t, s.sqlite(t, ".dump"), query(t, filepath.Join(to, s.dir, "srv/shop/orders.db"), ".dump"))
}

// found takes the goldens of two good states and of a dead one, and pictures of what their restores bring.
func (s *ordeal) found(t *testing.T) {
	t.Helper()
	if s.states != nil {
		return
	}
	s.forget(t)
	s.states = map[string]picture{}
	s.conf = "keep.yaml"
	planted, rows := map[string]picture{}, map[string]string{}
	for _, word := range []string{"dead c", "good a", "good b"} {
		s.plant(t, word)
		planted[word], rows[word] = s.picture(t), s.sqlite(t, ".dump")
		s.must(t, backup("--name", word[:4]+word[5:])...)
	}
	for _, word := range []string{"good a", "good b"} {
		s.must(t, restoring(word, false)...)
		s.states[word] = s.picture(t)
		require.Empty(t, planted[word].differs(s.states[word], "srv/shop/orders.db"))
		require.Equal(t, rows[word], s.sqlite(t, ".dump"))
	}
	require.NotEmpty(t, s.states["good a"].differs(s.states["good b"]))
	s.last = "good b"
	s.serves(t, s.last)
}

// restoring is the command that restores a state.
func restoring(word string, inPlace bool) []string {
	args := []string{"golden", "restore", "shop/" + word[:4] + word[5:], "--local", "--yes"}
	if inPlace {
		args = append(args, "--in-place")
	}
	return args
}

// other is the good state that is not in place.
func (s *ordeal) other() string {
	if s.last == "good a" {
		return "good b"
	}
	return "good a"
}

// state is the one state that all files are in. What a restore has built beside them is not looked at.
func (s *ordeal) state(t *testing.T) string {
	t.Helper()
	now := s.picture(t)
	maps.DeleteFunc(now, func(name, _ string) bool {
		return strings.HasPrefix(name, "etc/.shivx-") || strings.HasPrefix(name, "srv/.shivx-")
	})
	for word, p := range s.states {
		if len(p.differs(now)) == 0 {
			return word
		}
	}
	for word, p := range s.states {
		t.Logf("differs from %s: %q", word, p.differs(now))
	}
	t.Fatal("the files are of no one state")
	return ""
}

// judge says which state a restore that was cut off has left, and requires that all is well with it.
func (s *ordeal) judge(t *testing.T, target string) string {
	t.Helper()
	now, outcome := s.state(t), "old"
	if now != s.last {
		require.Equal(t, target, now)
		outcome = "new"
	}
	s.last = now
	s.serves(t, now)
	s.tidy(t)
	s.sound(t)
	return outcome
}

// killRestores kills restores, whole ones, in place, and such that are undone because the service does not
// start; often what resumes them is killed, too.
func (s *ordeal) killRestores(t *testing.T, points int) {
	s.found(t)
	kinds := []struct {
		name          string
		dead, inPlace bool
		whole         time.Duration
	}{{name: "whole"}, {name: "in place", inPlace: true}, {name: "whole"}, {name: "in place", inPlace: true}, {name: "undone", dead: true}, {name: "undone in place", dead: true, inPlace: true}}
	for k, kind := range kinds {
		kinds[k].whole = took(3, func() {
			said, code := s.shivx(t, restoring(s.target(kind.dead), kind.inPlace)...)
			require.Equal(t, kind.dead, code != 0, said)
			s.last = s.state(t)
		})
	}
	for i, moment := range spread(s.rnd, points, 1000) {
		kind := kinds[i%len(kinds)]
		target := s.target(kind.dead)
		after := time.Duration(moment) * kind.whole / 1000
		what := fmt.Sprintf("%s killed after %v of %v: %v", kind.name, after.Round(time.Millisecond), kind.whole.Round(time.Millisecond),
			s.killed(t, after, restoring(target, kind.inPlace)...))
		for s.rnd.IntN(3) == 0 {
			after := time.Duration(s.rnd.Int64N(int64(kind.whole / 2)))
			what += fmt.Sprintf(", resume after %v: %v", after.Round(time.Millisecond), s.killed(t, after, "golden", "resume"))
		}
		s.must(t, "golden", "resume")
		s.point(t, i, what, s.judge(t, target))
		if i%10 == 0 {
			target := s.other()
			s.must(t, restoring(target, kind.inPlace)...)
			require.Equal(t, "new", s.judge(t, target))
		}
	}
}

func (s *ordeal) target(dead bool) string {
	if dead {
		return "dead c"
	}
	return s.other()
}
