package vitals

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// mount is one line of mountinfo.
type mount struct {
	// major and minor number the device; major is 0 where there is no disk of its own.
	major, minor uint32
	// root is the folder of the file system that is mounted: not "/" for bind mounts and subvolumes.
	root   string
	point  string
	fstype string
	// ro says that the file system is read-only. A mount may be as well, as a service manager
	// makes them for a program that shall not write (ProtectSystem=), while others fill the disk.
	ro bool
	// mountRW says that the mount itself is writable: nobody asked for a read-only one.
	mountRW bool
}

// same says whether it is the same file system.
func (m mount) same(other mount) bool {
	return m.major == other.major && m.minor == other.minor && m.fstype == other.fstype
}

// failed says that the kernel itself stopped all writing, as ext4 does on damage
// (errors=remount-ro): that stops the file system and leaves its mounts as they were, while
// mount(8) makes both read-only.
func (m mount) failed() bool { return m.ro && m.mountRW && ownDisk(m) }

// parseMounts reads mountinfo (see proc_pid_mountinfo(5)). One bad line makes the whole unusable:
// a mount overlooked would be taken for one that is gone.
func parseMounts(data []byte) ([]mount, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("empty")
	}
	mounts := make([]mount, 0, bytes.Count(data, []byte("\n"))+1)
	for line := range bytes.Lines(data) {
		m, ok := parseMount(string(line))
		if !ok {
			return nil, fmt.Errorf("%q is no mount", excerpt(string(line)))
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// parseMount reads "36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/sda rw": options and
// the optional fields before the hyphen are of the mount, those after it of the file system.
func parseMount(line string) (mount, bool) {
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !ok || len(l) < 6 || len(r) < 2 {
		return mount{}, false
	}
	majorText, minorText, ok := strings.Cut(l[2], ":")
	major, err1 := strconv.ParseUint(majorText, 10, 32)
	minor, err2 := strconv.ParseUint(minorText, 10, 32)
	m := mount{major: uint32(major), minor: uint32(minor), root: unescape(l[3]), point: unescape(l[4]), fstype: r[0]}
	if !ok || err1 != nil || err2 != nil || !strings.HasPrefix(m.point, "/") {
		return mount{}, false
	}
	m.ro, m.mountRW = hasOption(r[len(r)-1], stopped...), hasOption(l[5], "rw")
	return m, true
}

// stopped are the options of a file system that cannot be written; since Linux 6.15 ext4 tells with
// one of the last two that it stopped by itself.
var stopped = []string{"ro", "emergency_ro", "shutdown"}

func hasOption(list string, options ...string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if slices.Contains(options, o) {
			return true
		}
	}
	return false
}

// unescape turns "\040" and the like into what they stand for.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// choose returns the mounts to watch, by mount point. Exclusion comes last: a device left out at
// one of its mount points is not to turn up at another.
func (s *Sampler) choose(all map[string]mount) []mount {
	var chosen []mount
	for _, m := range all {
		if matches(s.o.Mounts, m.point) || len(s.o.Mounts) == 0 && s.byDefault(m) {
			chosen = append(chosen, m)
		}
	}
	if len(s.o.Mounts) == 0 {
		chosen = s.oncePerDevice(chosen)
	}
	chosen = slices.DeleteFunc(chosen, func(m mount) bool { return matches(s.o.ExcludeMounts, m.point) })
	slices.SortFunc(chosen, func(a, b mount) int { return cmp.Compare(a.point, b.point) })
	return chosen
}

// byDefault says whether a mount is watched when no pattern chooses: if it is on a fixed disk, and
// writable or should be. The root is watched whatever it is on, memory excepted: in a container it
// is an overlay on a disk of the host.
func (s *Sampler) byDefault(m mount) bool {
	if diskless(m) || m.point != "/" && (!ownDisk(m) || forBooting(m.point) || s.removable(m)) {
		return false
	}
	return !m.ro || m.failed() || s.disks.turned(m)
}

// ownDisk says whether a file system is on a disk that can be written.
func ownDisk(m mount) bool {
	switch m.fstype {
	case "btrfs", "zfs", "bcachefs": // under a device number of their own making
		return true
	}
	return m.major != 0 && !diskless(m)
}

// diskless says whether a file system is in memory or an image that is never written.
func diskless(m mount) bool {
	switch m.fstype {
	case "rootfs", "tmpfs", "ramfs", "squashfs", "erofs", "iso9660":
		return true
	}
	return false
}

// forBooting says whether only boot loaders and kernels are there: such a file system is small,
// full by design, and nothing that runs writes to it.
func forBooting(point string) bool {
	return point == "/boot" || point == "/efi" || strings.HasPrefix(point, "/boot/")
}

// removable says whether a mount is on a medium that comes and goes, such as a stick: that it is
// full says nothing about the host.
func (s *Sampler) removable(m mount) bool {
	if strings.HasPrefix(m.point, "/media/") || strings.HasPrefix(m.point, "/run/media/") {
		return true
	}
	// A partition has no such file, but the disk above it does; the kernel follows the link first.
	device := s.path(fmt.Sprintf("/sys/dev/block/%d:%d", m.major, m.minor))
	for _, path := range []string{device + "/removable", device + "/../removable"} {
		if n, err := read(path, parseCount); err == nil {
			return n == 1
		}
	}
	return false
}

// oncePerDevice keeps one mount of each device: one of the whole file system before one of a part
// of it, and then the shortest path. Files that are mounted, as a container's /etc/hosts, fall out.
func (s *Sampler) oncePerDevice(mounts []mount) []mount {
	slices.SortFunc(mounts, func(a, b mount) int {
		return cmp.Or(
			cmp.Compare(a.major, b.major), cmp.Compare(a.minor, b.minor),
			cmp.Compare(part(a), part(b)), cmp.Compare(len(a.point), len(b.point)), cmp.Compare(a.point, b.point))
	})
	mounts = slices.DeleteFunc(mounts, func(m mount) bool {
		if part(m) == 0 {
			return false
		}
		info, err := os.Stat(s.path(m.point))
		return err == nil && !info.IsDir()
	})
	return slices.CompactFunc(mounts, func(a, b mount) bool { return a.major == b.major && a.minor == b.minor })
}

// part is 1 for a mount of a part of a file system.
func part(m mount) int {
	if m.root == "/" {
		return 0
	}
	return 1
}

func matches(patterns []string, point string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := doublestar.Match(p, point)
		return ok && err == nil
	})
}

// isGlob says whether a pattern can stand for more than one mount point.
func isGlob(pattern string) bool { return strings.ContainsAny(pattern, `*?[{\`) }

// withoutSlash drops the slash people put after a folder: no mount point ends with one.
func withoutSlash(patterns []string) []string {
	var out []string
	for _, p := range patterns {
		if t := strings.TrimRight(p, "/"); t != "" {
			p = t
		}
		out = append(out, p)
	}
	return out
}
