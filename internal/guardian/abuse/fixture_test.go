package abuse

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/config"
)

// fixture is a tree with processes and cgroups that a test makes up.
type fixture struct {
	t    *testing.T
	root string
}

func newFixture(t *testing.T) fixture {
	f := fixture{t, t.TempDir()}
	f.write("proc/meminfo", "MemTotal: 4096000 kB\nMemAvailable:    2048000 kB\n")
	f.write("proc/sys/kernel/random/boot_id", "first-boot\n")
	return f
}

func (f fixture) write(path, text string) {
	f.t.Helper()
	path = filepath.Join(f.root, path)
	require.NoError(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(f.t, os.WriteFile(path, []byte(text), 0o644))
}

func (f fixture) read(path string) string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.root, path))
	require.NoError(f.t, err)
	return string(text)
}

// fake is a process of a fixture; cpu in ticks, memory in pages.
type fake struct {
	pid, parent      int
	start            uint64
	comm, exe, state string
	uid, cpu, waited int
	memory, shared   int
	flags            int
}

func (f fixture) process(p fake) {
	f.t.Helper()
	if p.state == "" {
		p.state = "S"
	}
	dir := fmt.Sprintf("proc/%d/", p.pid)
	f.write(dir+"stat", fmt.Sprintf("%d (%s) %s %d 1 1 0 -1 %d 10 20 0 0 %d 0 %d 0 20 0 1 0 %d 1000 %d 18446744073709551615 1 1 0 0",
		p.pid, p.comm, p.state, p.parent, p.flags, p.cpu, p.waited, p.start, p.memory))
	f.write(dir+"statm", fmt.Sprintf("9000 %d %d 1 0 100 0\n", p.memory, p.shared))
	f.write(dir+"status", fmt.Sprintf("Name:\t%s\nUmask:\t0022\nUid:\t%d\t0\t0\t0\nGid:\t0\n", p.comm, p.uid))
	link := filepath.Join(f.root, dir, "exe")
	_ = os.Remove(link)
	if p.exe != "" {
		require.NoError(f.t, os.Symlink(p.exe, link))
	}
}

func (f fixture) remove(path string) {
	f.t.Helper()
	require.NoError(f.t, os.RemoveAll(filepath.Join(f.root, path)))
}

func (f fixture) end(pid int) { f.remove("proc/" + strconv.Itoa(pid)) }

// sent is a signal that fakeHands were asked to send.
type sent struct {
	id  identity
	sig unix.Signal
}

// fakeHands carry signals out on a fixture.
type fakeHands struct {
	f    fixture
	sent []sent
	safe map[int]bool
	err  error
}

func (h *fakeHands) signal(id identity, s unix.Signal) error {
	if h.err != nil {
		return h.err
	}
	h.sent = append(h.sent, sent{id, s})
	if s == unix.SIGKILL {
		h.f.end(id.PID)
	}
	return nil
}

func (h *fakeHands) spared() (map[int]bool, error) { return h.safe, nil }

// clocked is a watch over a fixture, with a clock that a test moves.
type clocked struct {
	*Watch
	t     *testing.T
	f     fixture
	hands *fakeHands
	now   time.Time
	step  time.Duration
	found []Finding
}

func (f fixture) watch(dir string, budgets ...config.Budget) *clocked {
	f.t.Helper()
	c := &clocked{t: f.t, f: f, now: time.Date(2026, 5, 1, 3, 0, 0, 0, time.UTC), step: time.Second, hands: &fakeHands{f: f, safe: map[int]bool{1: true}}}
	w, err := New(Options{
		Root: f.root, Budgets: budgets, Dir: dir, Host: "shop-1", Now: func() time.Time { return c.now },
		Report: func(_ context.Context, found Finding) { c.found = append(c.found, found) },
	})
	require.NoError(f.t, err)
	w.hands = c.hands
	c.Watch = w
	return c
}

// second lets a second (or what step says) pass, reads, and returns what was found.
func (c *clocked) second() []Finding {
	c.t.Helper()
	c.now = c.now.Add(c.step)
	c.found = nil
	c.round(c.t.Context())
	require.Empty(c.t, c.failing)
	return c.found
}

// seconds lets time pass, doing each before each reading, until something is found.
func (c *clocked) seconds(n int, each func(i int)) []Finding {
	c.t.Helper()
	for i := range n {
		each(i)
		if found := c.second(); len(found) > 0 {
			return found
		}
	}
	return nil
}
