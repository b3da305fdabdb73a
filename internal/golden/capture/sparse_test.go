package capture

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/testenv"
)

// sparse makes a file of a size with data in some places, whose content depends on the place.
func sparse(t testing.TB, path string, size int64, data ...format.Extent) string {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(size))
	for _, x := range data {
		_, err := f.WriteAt([]byte(noise(uint64(x.Offset>>12), int(x.Length))), x.Offset)
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	return path
}

// extentsOf makes extents of pairs of offset and length.
func extentsOf(pairs ...int64) []format.Extent {
	var all []format.Extent
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, format.Extent{Offset: pairs[i], Length: pairs[i+1]})
	}
	return all
}

func TestSparseFiles(t *testing.T) {
	const k, m = 1 << 10, 1 << 20
	tmpfs := filepath.Join(t.TempDir(), "tmpfs")
	testenv.Tmpfs(t, tmpfs, "size=64m")
	for _, dir := range []string{t.TempDir(), tmpfs} {
		for _, c := range []struct {
			name string
			size int64
			data []format.Extent
			// want is what an entry says; nil: the file is not sparse.
			want []format.Extent
		}{
			{"dense", 100 * k, extentsOf(0, 100*k), nil},
			{"odd", 5000, extentsOf(0, 5000), nil},
			{"all-hole", 10 * m, nil, []format.Extent{}},
			{"byte-hole", 1, nil, []format.Extent{}},
			{"begins", 64 * k, extentsOf(32*k, 32*k), extentsOf(32*k, 32*k)},
			{"ends", 64 * k, extentsOf(0, 32*k), extentsOf(0, 32*k)},
			{"between", 64 * k, extentsOf(0, 4*k, 60*k, 4*k), extentsOf(0, 4*k, 60*k, 4*k)},
			{"odd-end", 64*k + 5, extentsOf(0, 4*k, 64*k, 5), extentsOf(0, 4*k, 64*k, 5)},
			{"blocks", 40 * m, extentsOf(m-4*k, 3*m+4*k, 20*m, m), extentsOf(m-4*k, 3*m+4*k, 20*m, m)},
			{"huge", 1 << 40, extentsOf(1<<39, 4*k), extentsOf(1<<39, 4*k)},
		} {
			t.Run(c.name, func(t *testing.T) {
				path := sparse(t, dir+"/"+c.name, c.size, c.data...)
				s := newMemory()
				r := capture(t, s, Options{Roots: []string{path}, now: later})
				e := s.entry(t, path)
				require.Equal(t, c.want, e.Data)
				require.Equal(t, c.size, e.Size)
				require.Equal(t, e.Stored(), r.Read)
				if c.size < 1<<30 {
					want, err := os.ReadFile(path)
					require.NoError(t, err)
					require.Equal(t, format.Sum(want), format.Sum(s.content(t, e)))
				}
				again := s.after()
				r = capture(t, again, Options{Roots: []string{path}, Previous: s.all()})
				require.Zero(t, r.Read)
				require.Equal(t, s.entries, again.entries)
			})
		}
	}
}

// Blocks that hold no data hide holes from the number of blocks.
func TestHolesBehindOtherBlocks(t *testing.T) {
	const k = 1 << 10
	dir := t.TempDir()
	attr := func(path string) { // does not fit beside the inode
		require.NoError(t, unix.Setxattr(path, "user.note", []byte(noise(1, 2*k)), 0))
	}
	beyond := func(path string) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		defer f.Close()
		require.NoError(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 256*k, 256*k))
	}
	for _, c := range []struct {
		name string
		size int64
		hide func(path string)
		// data is what is written and what the entry says; nil: all.
		data []format.Extent
	}{
		{"small", 8 * k, attr, extentsOf(0, 4*k)},
		{"all-hole", 4 * k, attr, []format.Extent{}},
		{"large", 256 * k, attr, extentsOf(0, 100*k, 104*k, 152*k)},
		{"reserved", 256 * k, beyond, extentsOf(0, 100*k, 104*k, 152*k)},
		{"dense", 8 * k, attr, nil},
		{"large-dense", 256 * k, attr, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			written := c.data
			if written == nil {
				written = extentsOf(0, c.size)
			}
			path := sparse(t, dir+"/"+c.name, c.size, written...)
			c.hide(path)
			f, err := os.Open(path)
			require.NoError(t, err)
			require.NoError(t, errors.Join(f.Sync(), f.Close())) // blocks are counted once they are written
			s := newMemory()
			capture(t, s, Options{Roots: []string{path}, now: later})
			e := s.entry(t, path)
			require.Equal(t, c.data, e.Data)
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, format.Sum(want), format.Sum(s.content(t, e)))
		})
	}
}

func TestSparseFileTruncatedDuringEachReading(t *testing.T) {
	const k = 1 << 10
	dir := t.TempDir()
	for _, c := range []struct {
		cut  int64
		want []format.Extent
	}{
		{44 * k, extentsOf(8*k, 8*k, 40*k, 4*k)},
		{40 * k, extentsOf(8*k, 8*k)},
		{30 * k, extentsOf(8*k, 8*k)},
		{5 * k, []format.Extent{}},
	} {
		path := dir + "/f"
		build := func() {
			sparse(t, path, 64*k, format.Extent{Offset: 8 * k, Length: 8 * k}, format.Extent{Offset: 40 * k, Length: 8 * k})
		}
		build()
		e := format.Entry{Type: format.TypeFile, Size: 64 * k}
		f, err := os.Open(path)
		require.NoError(t, err)
		data, err := extents(int(f.Fd()), e.Size, nil)
		require.NoError(t, err)
		e.Data = append([]format.Extent(nil), data...)
		require.NoError(t, os.Truncate(path, c.cut))
		s := stream{fd: int(f.Fd()), pieces: data}
		n, err := s.read(make([]byte, e.Stored()))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		cut(&e, int64(n))
		require.Equal(t, c.want, e.Data)
		require.EqualValues(t, n, e.Stored())
		require.EqualValues(t, 64*k, e.Size)
	}
}

func TestManyPiecesAreJoined(t *testing.T) {
	var pieces []format.Extent
	for i := range int64(100) {
		pieces = append(pieces, format.Extent{Offset: i * 100, Length: 50 + i%2*40})
	}
	joined := join(pieces, 10)
	require.Len(t, joined, 51)
	require.Equal(t, format.Extent{Offset: 0, Length: 50}, joined[0])
	require.Equal(t, format.Extent{Offset: 100, Length: 150}, joined[1])
	require.Equal(t, []format.Extent{{Offset: 0, Length: 9990}}, join(joined, 50))
}
