package golden_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// portrait is all that can be seen of some trees, one text for each path. It is taken without any of
// the code that captures and restores.
type portrait map[string]string

// painter takes a portrait.
type painter struct {
	t    testing.TB
	base string
	of   portrait
	// names are those of each inode, in the order of the walk.
	names map[[2]uint64][]string
}

// look walks the roots, which lie below base.
func look(t testing.TB, base string, roots ...string) portrait {
	t.Helper()
	p := &painter{t: t, base: base, of: portrait{}, names: map[[2]uint64][]string{}}
	for _, root := range roots {
		if _, err := os.Lstat(base + root); !errors.Is(err, os.ErrNotExist) {
			p.walk(root)
		}
	}
	for _, names := range p.names {
		if len(names) > 1 {
			for _, n := range names {
				p.of[n] += fmt.Sprintf(" same as %q", names[0])
			}
		}
	}
	return p.of
}

func (p *painter) walk(path string) {
	var st unix.Stat_t
	require.NoError(p.t, unix.Lstat(p.base+path, &st), "%q", path)
	text := fmt.Sprintf("%07o %d:%d %d.%09d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR {
		text += fmt.Sprintf(" size %d names %d", st.Size, st.Nlink)
		inode := [2]uint64{st.Dev, st.Ino}
		p.names[inode] = append(p.names[inode], path)
	}
	switch kind {
	case unix.S_IFREG:
		content, places := p.content(path, st.Size)
		text += content + places
	case unix.S_IFLNK:
		link, err := os.Readlink(p.base + path)
		require.NoError(p.t, err)
		text += fmt.Sprintf(" to %.40q, hash %x", link, sha256.Sum256([]byte(link)))
	}
	p.of[path] = text + p.attributes(path)
	if kind != unix.S_IFDIR {
		return
	}
	list, err := os.ReadDir(p.base + path)
	require.NoError(p.t, err, "%q", path)
	for _, e := range list {
		p.walk(path + "/" + e.Name())
	}
}

// content tells where a file has data, and the bytes apart from that: a hole and zeros read the same.
func (p *painter) content(path string, size int64) (content, places string) {
	f, err := os.Open(p.base + path)
	require.NoError(p.t, err, "%q", path)
	defer f.Close()
	sum, page := sha256.New(), make([]byte, 4096)
	zeros := string(make([]byte, len(page)))
	for at := int64(0); at < size; {
		from, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		require.NoError(p.t, err)
		to, err := f.Seek(from, unix.SEEK_HOLE)
		require.NoError(p.t, err)
		places += fmt.Sprintf(" [%d,%d)", from, to)
		for at = from; at < to; {
			at -= at % int64(len(page))
			n, err := f.ReadAt(page, at)
			require.Positive(p.t, n, "%q at %d: %v", path, at, err)
			if string(page[:n]) != zeros[:n] {
				sum.Write(binary.LittleEndian.AppendUint64(nil, uint64(at)))
				sum.Write(page[:n])
			}
			at += int64(n)
		}
	}
	return fmt.Sprintf(" content %x", sum.Sum(nil)[:8]), " data" + places
}

func (p *painter) attributes(path string) string {
	list, value := make([]byte, 1<<16), make([]byte, 1<<16)
	n, err := unix.Llistxattr(p.base+path, list)
	if errors.Is(err, unix.EOPNOTSUPP) || n == 0 {
		return ""
	}
	require.NoError(p.t, err, "%q", path)
	names := strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00")
	slices.Sort(names)
	text := ""
	for _, name := range names {
		n, err := unix.Lgetxattr(p.base+path, name, value)
		require.NoError(p.t, err, "%q of %q", name, path)
		text += fmt.Sprintf(" %q=%x", name, value[:n])
	}
	return text
}

// Parts of a portrait's texts.
var (
	namesPart = regexp.MustCompile(` names \d+`)
	holesPart = regexp.MustCompile(` data( \[\d+,\d+\))*`)
)

// unlinked is the portrait without the counts of names: what a restore in place may keep or stage by
// one more name.
func (p portrait) unlinked() portrait {
	out := portrait{}
	for path, text := range p {
		out[path] = namesPart.ReplaceAllString(text, "")
	}
	return out
}

// read is the portrait after a restore in place, which leaves a file that reads the same as it is: where
// its holes are those of some file before the restore they count as those that are wanted.
func (p portrait) read(before, want portrait) portrait {
	known := map[string]bool{}
	for _, text := range before {
		known[holesPart.FindString(text)] = true
	}
	out := maps.Clone(p)
	for path, text := range p {
		same := holesPart.ReplaceAllString(text, "") == holesPart.ReplaceAllString(want[path], "")
		if same && known[holesPart.FindString(text)] {
			out[path] = want[path]
		}
	}
	return out
}

// requireAlike compares, and tells some of what differs.
func requireAlike(t testing.TB, want, got portrait, what string) {
	t.Helper()
	var differ []string
	for path, text := range want {
		if other, ok := got[path]; !ok {
			differ = append(differ, fmt.Sprintf("%q is not there, was\n   %s", path, text))
		} else if text != other {
			differ = append(differ, fmt.Sprintf("%q was\n   %s\n  and is\n   %s", path, text, other))
		}
	}
	for path, text := range got {
		if _, ok := want[path]; !ok {
			differ = append(differ, fmt.Sprintf("%q is too much:\n   %s", path, text))
		}
	}
	slices.Sort(differ)
	if len(differ) > 0 {
		t.Fatalf("%s: %d of %d paths differ, such as\n%s", what, len(differ), len(want), strings.Join(differ[:min(5, len(differ))], "\n"))
	}
}

// The walk sees every difference that a restore could make.
func TestLookSeesDifferences(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	file, second := filepath.Join(root, "file"), filepath.Join(root, "second")
	require.NoError(t, os.Mkdir(root, 0o755))
	require.NoError(t, os.WriteFile(file, make([]byte, 1<<16), 0o600))
	require.NoError(t, os.WriteFile(second, []byte("second"), 0o600))
	seen := []portrait{look(t, "", root)}
	for _, change := range []func() error{
		func() error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, file, []unix.Timespec{{}, {Sec: -1, Nsec: 1}}, 0)
		},
		func() error { return os.Chmod(file, 0o601) },
		func() error { return unix.Lsetxattr(file, "user.a", nil, 0) },
		func() error { return os.Truncate(file, 1<<16+1) },
		func() error { return os.Remove(second) },
		func() error { return os.Link(file, second) },
		func() error { return os.Remove(second) },
		func() error { return os.Symlink("file", second) },
		func() error { return unix.Setxattr(root, "user.a", []byte("b"), 0) },
		func() error { return punch(file, 4096, 4096) },
	} {
		require.NoError(t, change())
		now := look(t, "", root)
		for _, before := range seen {
			require.False(t, maps.Equal(before, now))
		}
		seen = append(seen, now)
	}
}

// punch makes a hole in a file and leaves its time as it was.
func punch(path string, from, length int64) error {
	var st unix.Stat_t
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, length); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{st.Atim, st.Mtim}, 0)
}
