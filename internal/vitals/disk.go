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

	"golang.org/x/sys/unix"
)

const (
	// goneFor is how long a mount that is gone is still named.
	goneFor = time.Hour
	// silentFor is how many samples in a row a file system must not answer to count as broken.
	silentFor = 2
)

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
	turn     uint64 // of the last sample it was in
	seen     time.Duration
	inodes   bool // it has told a number of inodes
	writable bool // it was writable once
	silent   int  // samples in a row without an answer
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
		w := d.watch(m)
		w.turn, w.seen = d.turn, now
		s.addDisk(c, w, answers[i])
	}
	s.addGone(c, now)
}

// watch returns what is known of a mount.
func (d *disks) watch(m mount) *watchedMount {
	w := d.known[m.point]
	if w == nil || !w.same(m) {
		w = &watchedMount{}
		d.known[m.point] = w
	}
	w.mount, w.writable = m, w.writable || !m.ro
	return w
}

// turned says whether a file system was writable when it was watched and is read-only now.
func (d *disks) turned(m mount) bool {
	w := d.known[m.point]
	return m.ro && w != nil && w.writable && w.same(m)
}

// fault says why nothing can be written to a file system, however much space it has; "" when
// something can. err is what came of the question to it.
func (w *watchedMount) fault(err error) string {
	var silence errSilent
	switch {
	case errors.Is(err, context.Canceled): // it was not asked
	case errors.As(err, &silence), errors.Is(err, unix.EIO):
		w.silent++
	default:
		w.silent = 0
	}
	switch {
	case w.ro && (w.writable || w.failed()):
		return "mounted read-only: nothing can be written"
	case w.silent >= silentFor && errors.Is(err, unix.EIO):
		return unix.EIO.Error()
	case w.silent >= silentFor:
		return "does not answer"
	}
	return ""
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

// addDisk adds what a file system has told. One to which nothing can be written is as good as full.
func (s *Sampler) addDisk(c *collector, w *watchedMount, a usageAnswer) {
	u, err := a.usage, a.err
	if err == nil && u.Total > 0 && (u.Used > u.Total || u.Free > u.Total) {
		err = errors.New("the file system tells of more space than it has")
	}
	fault := w.fault(err)
	switch {
	case err != nil && fault == "":
		s.disks.missing(c, w.point, err.Error())
		return
	case err != nil:
		addSpace(c, w.point, 100, fault)
		if w.inodes {
			c.missing(Inodes, w.point, err.Error())
		}
		return
	case u.Total == 0:
		if slices.Contains(s.o.Mounts, w.point) {
			c.missing(Disk, w.point, "the file system has no size")
		}
		return // such as /proc, matched by a pattern
	}
	// As df(1) has it: space kept for root is not there.
	used, free := float64(u.Used), float64(u.Free)
	percent, detail := 100*used/(used+free), ofBytes(used, used+free)
	if fault != "" {
		percent, detail = 100, fault
	}
	if addSpace(c, w.point, percent, detail) {
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

func addSpace(c *collector, point string, percent float64, detail string) bool {
	if !c.add(Reading{Resource: Disk, Subject: point, Percent: percent, Detail: detail}, rounding) {
		return false
	}
	c.labelled("shivx_host_filesystem_used_ratio", "mountpoint", point, c.percent()/100)
	return true
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
		case !w.same(is):
			d.missing(c, point, "another file system is mounted there")
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
