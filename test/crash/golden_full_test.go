package crash_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shortage is one way in which a disk becomes full: it may grow by a part of what the command needs, in
// bytes or in files, or is full from a moment on.
type shortage struct {
	disk *disk
	kind string
	// part is in thousandths of the need, or of the command's duration.
	part int64
}

// need is what a command needs that nobody disturbs.
type need struct {
	whole time.Duration
	room  map[*disk]used
}

func (s *ordeal) needs(run func()) need {
	n := need{room: map[*disk]used{}}
	dones := map[*disk]func() used{}
	for _, d := range s.disk {
		dones[d] = d.peak()
	}
	n.whole = took(1, run)
	for d, done := range dones {
		n.room[d] = done()
	}
	return n
}

func (h shortage) String() string {
	return fmt.Sprintf("%s full by %s at %d ‰", h.disk.dir[strings.LastIndex(h.disk.dir, "/")+1:], h.kind, h.part)
}

// short runs a command while a disk becomes full, which it stays. One that fails says that the disk is full,
// and what to do.
func (s *ordeal) short(t *testing.T, h shortage, n need, args ...string) (what, said string) {
	t.Helper()
	room := n.room[h.disk]
	var bomb *time.Timer
	switch h.kind {
	case "bytes":
		h.disk.limit(t, used{room.bytes * h.part / 1000, diskInodes})
	case "files":
		h.disk.limit(t, used{diskRoom, room.inodes * h.part / 1000})
	default:
		bomb = time.AfterFunc(n.whole*time.Duration(h.part)/1000, func() { h.disk.limit(t, used{}) })
	}
	said, code := s.shivx(t, args...)
	if bomb != nil {
		bomb.Stop()
	}
	what = fmt.Sprintf("%v: exit code %d", h, code)
	if code != 0 {
		assert.Regexp(t, `no space left on device|MB are missing`, said, what)
		assert.Contains(t, said, " — ", "%s says not what to do: %s", what, said)
	}
	return what, said
}

// shortages spreads points over disks and kinds.
func (s *ordeal) shortages(points int, disks ...string) (out []shortage) {
	for i, part := range spread(s.rnd, points, 1000) {
		out = append(out, shortage{s.disk[disks[i%len(disks)]], []string{"bytes", "time", "files", "bytes", "time"}[i%5], part})
	}
	return out
}

func (s *ordeal) fillBackups(t *testing.T, points int) {
	s.conf = "prune.yaml"
	s.must(t, backup()...)
	s.edit(t)
	n := s.needs(func() { s.must(t, backup()...) })
	for i, h := range s.shortages(points, "store", "store", "var", "store") {
		s.edit(t)
		tree, before := s.picture(t), s.goldens(t)
		what, said := s.short(t, h, n, backup()...)
		outcome := s.backedUp(t, before)
		h.disk.clear(t)
		s.point(t, i, what, outcome)
		t.Log(said)
		require.Empty(t, tree.differs(s.picture(t)), "a backup changes nothing")
		s.sound(t)
		s.repeatBackup(t, tree, i%5 == 0)
	}
}

// fillRestores fills disks while a set is restored. Without being resumed, and as long as the disk is full,
// all is of one state already, unless it is said that a resume is needed.
func (s *ordeal) fillRestores(t *testing.T, points int) {
	s.found(t)
	var needs []need
	for _, inPlace := range []bool{false, true} {
		target := s.other()
		needs = append(needs, s.needs(func() { s.must(t, restoring(target, inPlace)...) }))
		s.last = target
	}
	for i, h := range s.shortages(points, "srv", "etc", "srv", "var") {
		target, inPlace := s.other(), i%3 == 2
		what, said := s.short(t, h, needs[i%3/2], restoring(target, inPlace)...)
		if inPlace {
			what += ", in place"
		}
		t.Log(said)
		if strings.Contains(said, "golden resume") {
			what += ", to be resumed"
		} else {
			s.state(t)
		}
		h.disk.clear(t)
		s.must(t, "golden", "resume")
		if strings.Contains(said, "the old state was not removed") {
			what += ", finished later"
		}
		s.point(t, i, what, s.judge(t, target))
		if i%3 == 0 {
			target := s.other()
			s.must(t, restoring(target, inPlace)...)
			require.Equal(t, "new", s.judge(t, target))
		}
	}
}
