package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// memory is a golden in memory.
type memory struct {
	h       format.Header
	entries []format.Entry
	blocks  map[format.Hash][]byte
	// damaged is what Check complains of.
	damaged error
	checked []format.Hash
	all     bool
}

var _ Golden = (*memory)(nil)

func (m *memory) Header() format.Header { return m.h }

func (m *memory) Entries(context.Context) iter.Seq2[*format.Entry, error] {
	return func(yield func(*format.Entry, error) bool) {
		var e format.Entry
		for i := range m.entries {
			cloneEntry(&e, &m.entries[i])
			if !yield(&e, nil) {
				return
			}
		}
	}
}

func (m *memory) Check(_ context.Context, need []format.Hash, _ func(int64)) error {
	m.checked, m.all = need, need == nil
	return m.damaged
}

func (m *memory) Block(_ context.Context, dst []byte, h format.Hash) ([]byte, error) {
	b, ok := m.blocks[h]
	if !ok {
		return nil, fmt.Errorf("block %s: %w", h, fs.ErrNotExist)
	}
	return append(dst, b...), nil
}

// take makes a golden of roots, by means that have nothing in common with the restore.
func take(t testing.TB, roots ...string) *memory {
	t.Helper()
	m := &memory{blocks: map[format.Hash][]byte{}}
	m.h = format.Header{Format: 1, ID: "20261123-135531-7f3a9c", Set: "test", Roots: roots}
	slices.SortFunc(m.h.Roots, format.ComparePaths)
	inodes := map[uint64]string{}
	for _, root := range m.h.Roots {
		if _, err := os.Lstat(root); errors.Is(err, fs.ErrNotExist) {
			m.h.Missing = append(m.h.Missing, root)
			continue
		}
		require.NoError(t, filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
			require.NoError(t, err)
			m.add(t, p, inodes)
			return nil
		}))
	}
	slices.SortFunc(m.entries, func(a, b format.Entry) int { return format.ComparePaths(a.Path, b.Path) })
	return m
}

func (m *memory) add(t testing.TB, p string, inodes map[uint64]string) {
	info, err := os.Lstat(p)
	require.NoError(t, err)
	st := info.Sys().(*syscall.Stat_t)
	e := format.Entry{
		Path: p, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
		ModTime: time.Unix(st.Mtim.Sec, st.Mtim.Nsec).UTC(), Xattrs: attrs(t, p),
	}
	first := inodes[st.Ino]
	if st.Nlink > 1 && first == "" && !info.IsDir() {
		inodes[st.Ino] = p
	}
	switch kind := info.Mode().Type(); {
	case first != "":
		e = format.Entry{Path: p, Type: format.TypeHardlink, Link: first}
	case kind == 0:
		e.Type, e.Size = format.TypeFile, st.Size
		m.content(t, &e)
		m.h.Files++
		m.h.Bytes += e.Size
	case kind == fs.ModeDir:
		e.Type = format.TypeDir
	case kind == fs.ModeSymlink:
		e.Type = format.TypeSymlink
		e.Link, err = os.Readlink(p)
		require.NoError(t, err)
	case kind == fs.ModeNamedPipe:
		e.Type = format.TypeFIFO
	default:
		return
	}
	m.h.Entries++
	m.entries = append(m.entries, e)
}

// content stores the data of a file; what lies in holes is none.
func (m *memory) content(t testing.TB, e *format.Entry) {
	all, err := os.ReadFile(e.Path)
	require.NoError(t, err)
	data := all
	if e.Data = extents(t, e.Path); e.Data != nil {
		data = nil
		for _, x := range e.Data {
			data = append(data, all[x.Offset:x.Offset+x.Length]...)
		}
	}
	e.Sum = format.Sum(data)
	for part := range slices.Chunk(data, format.BlockSize) {
		h := format.Sum(part)
		m.blocks[h] = part
		e.Blocks = append(e.Blocks, h)
	}
	if len(e.Blocks) == 1 {
		e.Blocks = nil
	}
}

// extents returns where a file has data; nil: it has no holes.
func extents(t testing.TB, path string) []format.Extent {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	list := []format.Extent{}
	for at := int64(0); at < info.Size(); {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		require.NoError(t, err)
		at, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
		require.NoError(t, err)
		list = append(list, format.Extent{Offset: from, Length: at - from})
	}
	if len(list) == 1 && list[0].Length == info.Size() || info.Size() == 0 {
		return nil
	}
	return list
}

func attrs(t testing.TB, path string) []format.Xattr {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if errors.Is(err, unix.ENOTSUP) || n == 0 {
		return nil
	}
	require.NoError(t, err)
	var list []format.Xattr
	for attr := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, attr, value)
		require.NoError(t, err)
		list = append(list, format.Xattr{Name: attr, Value: value[:n]})
	}
	slices.SortFunc(list, func(a, b format.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// picture describes a tree entry by entry, by a walk of its own: type, content, mode, owner, time,
// links, attributes and holes. Folders and files of restores are left out.
func picture(t testing.TB, roots ...string) map[string]string {
	t.Helper()
	p, names := map[string]string{}, map[uint64][]string{}
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if strings.HasPrefix(d.Name(), KeptPrefix) || strings.HasPrefix(d.Name(), StagePrefix) {
				return fs.SkipDir
			}
			p[path] = describe(t, path, names)
			return nil
		})
		if !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
		}
	}
	for _, list := range names {
		for _, path := range list[:len(list)*min(1, len(list)-1)] { // a name alone has others elsewhere
			p[path] += " names " + strings.Join(list, "|")
		}
	}
	return p
}

// same fails with what differs between two pictures.
func same(t testing.TB, want, got map[string]string) {
	t.Helper()
	var diff []string
	for p, w := range want {
		if got[p] != w {
			diff = append(diff, fmt.Sprintf("%s\n  want %s\n  have %s", p, w, got[p]))
		}
	}
	for p, g := range got {
		if _, ok := want[p]; !ok {
			diff = append(diff, fmt.Sprintf("%s\n  want nothing\n  have %s", p, g))
		}
	}
	slices.Sort(diff)
	require.Empty(t, diff, "%s", strings.Join(diff[:min(len(diff), 8)], "\n"))
}

func describe(t testing.TB, path string, names map[uint64][]string) string {
	info, err := os.Lstat(path)
	require.NoError(t, err)
	st := info.Sys().(*syscall.Stat_t)
	text := fmt.Sprintf("%s %d:%d %d.%09d %x", info.Mode(), st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec, attrs(t, path))
	switch info.Mode().Type() {
	case 0:
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		text += fmt.Sprintf(" %d %s %v", len(data), format.Sum(data), extents(t, path))
	case fs.ModeSymlink:
		link, err := os.Readlink(path)
		require.NoError(t, err)
		text += " -> " + link
	default:
	}
	if st.Nlink > 1 && !info.IsDir() {
		names[st.Ino] = append(names[st.Ino], path)
	}
	return text
}

func write(t testing.TB, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

// leftovers fails where a restore left something in or beside the roots, or in its journal.
func leftovers(t testing.TB, journal string, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			require.NoError(t, err)
			require.False(t, strings.HasPrefix(d.Name(), StagePrefix), "left behind: %s", p)
			return nil
		}))
	}
	list, err := os.ReadDir(journal)
	require.NoError(t, err)
	require.Len(t, list, 1, "only the lock may stay: %v", list)
}
