package vitals

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/shirou/gopsutil/v3/disk"
	"golang.org/x/sys/unix"
)

// goneFor is how long a mount that is gone is still named.
const goneFor = time.Hour

// usageFunc asks a file system, seen at path, how full it is. It may hang.
type usageFunc func(ctx context.Context, path string, m mount) (*disk.UsageStat, error)

// disks is what is known of the mounts.
type disks struct {
	raw    []byte // mountinfo as last read; it seldom changes
	all    map[string]mount
	chosen []mount
	known  map[string]*watchedMount
	probes map[string]*probe // questions not answered yet, by mount point
	turn   uint64
}

// watchedMount was seen in a sample.
type watchedMount struct {
	mount
	turn   uint64 // of the last sample it was in
	seen   time.Duration
	inodes bool // it has told a number of inodes
}

// probe is one question to a file system.
type probe struct {
	since  time.Duration
	answer chan usageAnswer
}

type usageAnswer struct {
	usage *disk.UsageStat
	err   error
}

func newDisks() disks {
	return disks{known: map[string]*watchedMount{}, probes: map[string]*probe{}}
}

// readDisks adds space and inodes of every mount watched.
func (s *Sampler) readDisks(ctx context.Context, c *collector) {
	d := &s.disks
	now := s.o.Monotonic()
	if err := s.readMounts(); err != nil {
		for _, point := range slices.Sorted(maps.Keys(d.known)) {
			d.missing(c, point, err.Error())
		}
		if len(d.known) == 0 {
			c.missing(Disk, "", err.Error())
		}
		return
	}
	d.turn++
	answers := s.askAll(ctx, now)
	for i, m := range d.chosen {
		w := d.known[m.point]
		if w == nil || w.mount != m {
			w = &watchedMount{mount: m}
			d.known[m.point] = w
		}
		w.turn, w.seen = d.turn, now
		if answers[i].err != nil {
			d.missing(c, m.point, answers[i].err.Error())
			continue
		}
		s.addDisk(c, w, answers[i].usage)
	}
	s.addGone(c, now)
}

// missing adds what is expected of a mount without its value.
func (d *disks) missing(c *collector, point, reason string) {
	c.missing(Disk, point, reason)
	if w := d.known[point]; w != nil && w.inodes {
		c.missing(Inodes, point, reason)
	}
}

// readMounts reads the mounts this program sees or, below another root, those process 1 sees:
// a program that watches its host from a container has other mounts than the host.
func (s *Sampler) readMounts() error {
	path := s.path("/proc/1/mountinfo")
	if s.root == "" {
		path = "/proc/self/mountinfo"
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	d := &s.disks
	if d.all != nil && bytes.Equal(data, d.raw) {
		return nil
	}
	mounts, err := parseMounts(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	d.raw, d.all = data, make(map[string]mount, len(mounts))
	for _, m := range mounts {
		d.all[m.point] = m // of mounts upon one another the last is the one that is seen
	}
	d.chosen = s.choose(d.all)
	return nil
}

// askAll asks every chosen file system at the same time and returns the answers in their order.
// One that hangs keeps its goroutine, and is not asked again before that has ended.
func (s *Sampler) askAll(ctx context.Context, now time.Duration) []usageAnswer {
	d := &s.disks
	maps.DeleteFunc(d.probes, func(_ string, p *probe) bool { return len(p.answer) > 0 }) // too late to count
	answers := make([]usageAnswer, len(d.chosen))
	asked := make([]*probe, len(d.chosen))
	for i, m := range d.chosen {
		if p := d.probes[m.point]; p != nil {
			answers[i].err = fmt.Errorf("the file system has not answered for %s", (now - p.since).Round(time.Second))
			continue
		}
		p := &probe{since: now, answer: make(chan usageAnswer, 1)}
		d.probes[m.point], asked[i] = p, p
		go func() {
			u, err := s.o.usage(context.WithoutCancel(ctx), s.path(m.point), m)
			p.answer <- usageAnswer{u, err}
		}()
	}
	until, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	for i, p := range asked {
		if p == nil {
			continue
		}
		select {
		case answers[i] = <-p.answer:
			delete(d.probes, d.chosen[i].point)
		case <-until.Done():
			answers[i].err = s.noAnswer(until)
		}
	}
	return answers
}

func (s *Sampler) noAnswer(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("the file system did not answer within %s", s.o.Timeout)
	}
	return fmt.Errorf("ask the file system: %w", ctx.Err())
}

// readUsage asks the kernel. What is seen at the path must be the device that is said to be
// mounted there: in a container that watches its host a mount may not have come through, and
// just now it may have been unmounted. Devices made up by the file system are not compared, for
// btrfs tells two different ones.
func readUsage(ctx context.Context, path string, m mount) (*disk.UsageStat, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	if m.major != 0 && unix.Mkdev(m.major, m.minor) != st.Dev {
		return nil, fmt.Errorf("another file system is seen at %s", path)
	}
	u, err := disk.UsageWithContext(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("statfs %s: %w", path, err)
	}
	return u, nil
}

// addDisk adds what a file system has told, in percent as df(1) has it: space kept for root is not there.
func (s *Sampler) addDisk(c *collector, w *watchedMount, u *disk.UsageStat) {
	if u.Total == 0 {
		if slices.Contains(s.o.Mounts, w.point) {
			c.missing(Disk, w.point, "the file system has no size")
		}
		return // such as /proc, matched by a pattern
	}
	if u.Used > u.Total || u.Free > u.Total {
		c.missing(Disk, w.point, "the file system tells of more space than it has")
		return
	}
	used, free := float64(u.Used), float64(u.Free)
	percent := 100 * used / (used + free)
	detail := ofBytes(used, used+free)
	if c.add(Reading{Resource: Disk, Subject: w.point, Percent: percent, Detail: detail}, rounding) {
		c.labelled("shivx_host_filesystem_used_ratio", "mountpoint", w.point, c.percent()/100)
		c.labelled("shivx_host_filesystem_free_bytes", "mountpoint", w.point, free)
		c.labelled("shivx_host_filesystem_size_bytes", "mountpoint", w.point, float64(u.Total))
	}
	if u.InodesTotal == 0 {
		return // this kind of file system does not count them
	}
	w.inodes = true
	total, inodes := float64(u.InodesTotal), float64(u.InodesTotal)-float64(u.InodesFree)
	if c.add(Reading{Resource: Inodes, Subject: w.point, Percent: 100 * inodes / total, Detail: ofCount(inodes, total)}, rounding) {
		c.labelled("shivx_host_filesystem_inodes_used_ratio", "mountpoint", w.point, c.percent()/100)
		c.labelled("shivx_host_filesystem_inodes_free", "mountpoint", w.point, float64(u.InodesFree))
	}
}

// addGone names mounts that were watched and are not there any more, for a while, and those that
// the configuration names and are not there at all.
func (s *Sampler) addGone(c *collector, now time.Duration) {
	d := &s.disks
	for _, point := range slices.Sorted(maps.Keys(d.known)) {
		w := d.known[point]
		if w.turn == d.turn {
			continue
		}
		is, mounted := d.all[point]
		switch {
		case now-w.seen >= goneFor:
			delete(d.known, point)
		case !mounted:
			d.missing(c, point, "no longer mounted")
		case is.ro && !w.ro:
			d.missing(c, point, "now mounted read-only")
		default: // the same device is watched at another place
			delete(d.known, point)
		}
	}
	for _, p := range s.o.Mounts {
		if _, mounted := d.all[p]; !mounted && d.known[p] == nil && !isGlob(p) && !matches(s.o.ExcludeMounts, p) {
			c.missing(Disk, p, "not mounted")
		}
	}
}
