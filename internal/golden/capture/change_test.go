package capture

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// tracing is a tracer made of a function.
type tracing func(step, path string)

func (f tracing) reached(step, path string) { f(step, path) }

// at calls f the first n times that a step of a path is reached. Steps of one path follow one another.
func at(step, path string, n int, f func()) tracer {
	return tracing(func(s, p string) {
		if s == step && p == path && n > 0 {
			n--
			f()
		}
	})
}

func overwrite(t testing.TB, path string, off int64, content string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte(content), off)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func TestChangeDuringReadingIsReadAgain(t *testing.T) {
	big := noise(1, 3*format.BlockSize)
	for _, c := range []struct {
		name, before, after string
		change              func(path string)
	}{
		{"grows", "one", "one and two", func(p string) { overwrite(t, p, 3, " and two") }},
		{"is truncated", "one and two", "one", func(p string) { require.NoError(t, os.Truncate(p, 3)) }},
		{"same size and mtime", "old", "new", func(p string) {
			info, err := os.Stat(p)
			require.NoError(t, err)
			overwrite(t, p, 0, "new")
			require.NoError(t, os.Chtimes(p, info.ModTime(), info.ModTime()))
		}},
		{"is replaced", "old", "other", func(p string) {
			require.NoError(t, os.Rename(write(t, p+".new", "other"), p))
		}},
		{"large", big, "new" + big[3:], func(p string) { overwrite(t, p, 0, "new") }},
		{"large becomes small", big, big[:9], func(p string) { require.NoError(t, os.Truncate(p, 9)) }},
		{"small becomes large", "small", big, func(p string) { overwrite(t, p, 0, big) }},
	} {
		for _, step := range []string{"opened", "read"} {
			t.Run(c.name+" "+step, func(t *testing.T) {
				path := write(t, t.TempDir()+"/f", c.before)
				m := newMemory()
				r := capture(t, m, Options{Roots: []string{path}, trace: at(step, path, 1, func() { c.change(path) })})
				require.Zero(t, r.UnstableCount)
				require.Equal(t, c.after, string(m.content(t, m.entry(t, path))))
			})
		}
	}
}

func TestFileThatNeverHoldsStill(t *testing.T) {
	path := write(t, t.TempDir()+"/f", "a")
	var readings int
	grow := tracing(func(step, _ string) {
		if step == "opened" {
			readings++
			overwrite(t, path, int64(readings), "b")
		}
	})
	m := newMemory()
	r := capture(t, m, Options{Roots: []string{path}, trace: grow, now: later})
	require.Equal(t, 4, readings)
	require.Equal(t, []format.Note{{Path: path, Why: "changed during each of 4 readings"}}, r.Unstable)
	require.Zero(t, r.Unreadable)
	e := m.entry(t, path)
	require.Equal(t, "abbb", string(m.content(t, e)), "as long as it was before the last reading")
	require.Zero(t, e.Hint, "it is read anew the next time")

	readings = 0
	r = capture(t, newMemory(), Options{Roots: []string{path}, Rounds: 1, trace: grow})
	require.Equal(t, 2, readings)
	require.Len(t, r.Unstable, 1)
}

func TestTruncatedDuringEachReading(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		make func(path string)
		cut  int64
		want func(e format.Entry, content []byte)
	}{
		{"small", func(p string) { write(t, p, "0123456789") }, 4, func(e format.Entry, got []byte) {
			require.Equal(t, "0123", string(got))
		}},
		{"large", func(p string) { write(t, p, noise(3, 4*format.BlockSize)) }, format.BlockSize + 7, func(e format.Entry, got []byte) {
			require.Equal(t, noise(3, 4*format.BlockSize)[:format.BlockSize+7], string(got))
			require.Len(t, e.Blocks, 2)
		}},
		{"large to one block", func(p string) { write(t, p, noise(3, 4*format.BlockSize)) }, 99, func(e format.Entry, got []byte) {
			require.Equal(t, noise(3, 99), string(got))
			require.Nil(t, e.Blocks)
		}},
		{"to nothing", func(p string) { write(t, p, noise(3, 4*format.BlockSize)) }, 0, func(e format.Entry, got []byte) {
			require.Empty(t, got)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := dir + "/" + c.name
			m := newMemory()
			c.make(path)
			// Each reading finds the file whole and loses its end.
			trace := tracing(func(step, _ string) {
				switch step {
				case "opened":
					require.NoError(t, os.Truncate(path, c.cut))
				case "read":
					c.make(path)
				}
			})
			r := capture(t, m, Options{Roots: []string{path}, trace: trace})
			require.EqualValues(t, 1, r.UnstableCount)
			e := m.entry(t, path)
			c.want(e, m.content(t, e))
		})
	}
}

func TestWhatVanishesIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b/c", "b/d/e", "f"} {
		write(t, dir+"/"+name, name)
	}
	gone := at("listed", dir, 1, func() {
		require.NoError(t, os.Remove(dir+"/a"))
		require.NoError(t, os.RemoveAll(dir+"/b"))
	})
	m := newMemory()
	r := capture(t, m, Options{Roots: []string{dir}, trace: gone})
	require.Equal(t, []string{dir, dir + "/f"}, m.paths())
	require.Zero(t, r.SkippedCount)

	m = newMemory()
	r = capture(t, m, Options{Roots: []string{dir}, trace: at("opened", dir+"/f", 1, func() { require.NoError(t, os.Remove(dir+"/f")) })})
	require.Equal(t, []string{dir}, m.paths())
	require.Zero(t, r.SkippedCount+r.UnstableCount)
}

func TestNameThatBecomesSomethingElse(t *testing.T) {
	dir := t.TempDir()
	swap := func(path string, f func() error) func() {
		return func() {
			require.NoError(t, os.RemoveAll(path))
			require.NoError(t, f())
		}
	}
	run := func(path string, f func() error) (*memory, Result) {
		m := newMemory()
		r := capture(t, m, Options{Roots: []string{dir}, trace: at("listed", dir, 1, swap(path, f))})
		return m, r
	}
	file := write(t, dir+"/a", "file")
	folder := dir + "/b"
	write(t, folder+"/c", "in a folder")

	m, r := run(file, func() error { return os.Symlink("target", file) })
	require.Equal(t, "target", m.entry(t, file).Link)
	require.Zero(t, r.SkippedCount)

	m, r = run(file, func() error { return unix.Mkfifo(file, 0o600) })
	require.Equal(t, format.TypeFIFO, m.entry(t, file).Type)
	require.Zero(t, r.SkippedCount)

	m, _ = run(folder, func() error { return os.WriteFile(folder, []byte("a file"), 0o600) })
	require.Equal(t, "a file", string(m.content(t, m.entry(t, folder))))

	m, r = run(folder, func() error { return os.Mkdir(folder, 0o700) })
	require.NotContains(t, m.paths(), folder)
	require.Equal(t, []format.Note{{Path: folder, Why: errOther.Error()}}, r.Skipped)
	require.EqualValues(t, 1, r.Unreadable)
}

func stat(t testing.TB, path string) *unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Lstat(path, &st))
	return &st
}

func TestHintOfWhatChangedJustNow(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir+"/f", "old")
	changed := time.Unix(0, stat(t, path).Ctim.Nano())
	for _, c := range []struct {
		began time.Duration
		racy  bool
	}{{-time.Hour, true}, {0, true}, {tick, true}, {tick + 1, false}} {
		m := newMemory()
		o := Options{Roots: []string{dir}, now: func() time.Time { return changed.Add(c.began) }}
		capture(t, m, o)
		require.Equal(t, c.racy, m.entry(t, path).Hint == format.Hint{}, "began %s after its change", c.began)
		o.Previous, o.now = m.all(), later
		r := capture(t, m.after(), o)
		require.Equal(t, !c.racy, r.Unchanged == 1)
	}
}

// A change right after a capture, of the same size and with the mtime put back, must be seen the next
// time, however coarse the clock of the file system is.
func TestChangeRightAfterCaptureIsSeen(t *testing.T) {
	path := write(t, t.TempDir()+"/f", "00")
	m := newMemory()
	for i := range 60 {
		content := string([]byte{byte('a' + i%26), byte('A' + i/26)})
		old := stat(t, path)
		overwrite(t, path, 0, content)
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{old.Mtim, old.Mtim}, 0))
		next := m.after()
		capture(t, next, Options{Roots: []string{path}, Previous: m.all()})
		require.Equal(t, content, string(next.content(t, next.entry(t, path))), i)
		m = next
	}
}

func TestRacy(t *testing.T) {
	start := time.Unix(1_700_000_000, 500_000_000)
	now := start.Add(time.Minute)
	before := func(d time.Duration) unix.Timespec { return unix.NsecToTimespec(start.Add(-d).UnixNano()) }
	whole := func(d time.Duration) unix.Timespec { return unix.Timespec{Sec: before(d).Sec} }
	for _, c := range []struct {
		name         string
		ctime, mtime unix.Timespec
		remote, racy bool
	}{
		{"long ago", before(time.Hour), before(time.Hour), false, false},
		{"just before", before(time.Millisecond), before(time.Hour), false, true},
		{"since", before(-time.Second), before(time.Hour), false, true},
		{"a tick before", before(tick + 1), before(time.Hour), false, false},
		{"whole seconds, one before", whole(time.Second), whole(time.Second), false, true},
		{"whole seconds, three before", whole(3 * time.Second), whole(3 * time.Second), false, false},
		{"a server's clock, a second before", before(time.Second), before(time.Second), true, true},
		{"a server's clock, long before", before(time.Hour), before(time.Hour), true, false},
		{"no ctime", unix.Timespec{}, before(time.Millisecond), false, true},
		{"mtime set to a time to come", before(time.Hour), before(-time.Hour), false, false},
		{"ctime of a time to come", before(-time.Hour), before(time.Hour), false, true},
	} {
		d := &device{remote: c.remote}
		require.Equal(t, c.racy, d.racy(&unix.Stat_t{Ctim: c.ctime, Mtim: c.mtime}, start, now), c.name)
	}
}
