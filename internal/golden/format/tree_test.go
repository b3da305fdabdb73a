package format_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// node is an entry with its data.
type node struct {
	format.Entry
	data []byte
}

// tree is a small system with one of everything, in order.
func tree() []node {
	at := func(n int64) time.Time { return time.Unix(1_700_000_000+n, 123_456_789+n).UTC() }
	noise := make([]byte, 3000) // cannot be compressed
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	big := []byte(strings.Repeat("all work and no play\n", 60_000)) // two blocks
	file := func(path string, mode uint32, data []byte) node {
		return node{format.Entry{Path: path, Type: format.TypeFile, Mode: mode, UID: 1000, GID: 100, ModTime: at(int64(len(path)))}, data}
	}
	dir := func(path string, mode uint32) node {
		return node{Entry: format.Entry{Path: path, Type: format.TypeDir, Mode: mode, ModTime: at(-int64(len(path)))}}
	}
	link := func(path, target string) node {
		return node{Entry: format.Entry{Path: path, Type: format.TypeSymlink, Mode: 0o777, UID: 7, ModTime: at(1), Link: target}}
	}
	hard := func(path, target string) node {
		return node{Entry: format.Entry{Path: path, Type: format.TypeHardlink, Link: target}}
	}
	sparse := file("/srv/www/sparse", 0o600, append([]byte("begin"), noise...))
	sparse.Size, sparse.Data = 8<<20, []format.Extent{{Offset: 0, Length: 5}, {Offset: 5 << 20, Length: 3000}}
	hole := file("/srv/www/hole", 0o600, nil)
	hole.Size, hole.Data = 1<<20, []format.Extent{}
	attributes := file("/srv/www/attributes", 0o640, noise[:100])
	attributes.Xattrs = []format.Xattr{
		{Name: "user.empty"}, {Name: "user.raw", Value: []byte{0, 0xff}}, {Name: "user.☃\"", Value: []byte("snow")},
	}
	attributes.Hint = format.Hint{Device: 1, Inode: 1<<64 - 1, Changed: -5}
	raw := file("/srv/www/latin-\xe9", 0o644, []byte("latin"))
	raw.Xattrs = []format.Xattr{{Name: "user.\xe9", Value: []byte("x")}}
	early := file("/srv/www/early", 0o4755, []byte("before 1970"))
	early.ModTime = time.Unix(-3, 250_000_000).UTC()
	return []node{
		dir("/etc/app", 0o755), file("/etc/app/app.conf", 0o644, []byte("port = 80\n")), file("/etc/app/big.txt", 0o444, big),
		dir("/etc/app/conf.d", 0o2750), file("/etc/app/conf.d/a", 0o644, []byte("a")), link("/etc/app/conf.d/up", "../../elsewhere"),
		file("/etc/app/conf.d!", 0, nil), hard("/etc/app/same", "/etc/app/app.conf"),
		dir("/srv/www", 0o1777), attributes, file("/srv/www/control\x01\n\"\\", 0o644, []byte("odd")), early, hole,
		raw, link("/srv/www/link-\xff", "\xfe/to"), hard("/srv/www/link2", "/srv/www/link-\xff"),
		file("/srv/www/noise", 0o600, noise),
		{Entry: format.Entry{Path: "/srv/www/pipe", Type: format.TypeFIFO, Mode: 0o620, GID: 5, ModTime: at(3)}},
		sparse,
	}
}

// requireTree compares a restored tree with what it should be.
func requireTree(t *testing.T, want []node, target string) {
	t.Helper()
	seen := map[string]bool{}
	for _, n := range want {
		seen[n.Path] = true
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(target+n.Path, &st))
		if n.Type == format.TypeHardlink {
			var other unix.Stat_t
			require.NoError(t, unix.Lstat(target+n.Link, &other))
			require.Equal(t, other.Ino, st.Ino, n.Path)
			require.EqualValues(t, 2, st.Nlink, n.Path)
			continue
		}
		kind := map[format.Type]uint32{
			format.TypeFile: unix.S_IFREG, format.TypeDir: unix.S_IFDIR, format.TypeSymlink: unix.S_IFLNK, format.TypeFIFO: unix.S_IFIFO,
		}[n.Type]
		require.Equal(t, kind|n.Mode, st.Mode, n.Path)
		require.Equal(t, []uint32{n.UID, n.GID}, []uint32{st.Uid, st.Gid}, n.Path)
		require.Equal(t, n.ModTime, time.Unix(st.Mtim.Unix()).UTC(), n.Path)
		requireXattrs(t, n, target)
		switch n.Type {
		case format.TypeSymlink:
			link, err := os.Readlink(target + n.Path)
			require.NoError(t, err)
			require.Equal(t, n.Link, link)
		case format.TypeFile:
			requireContent(t, n, target)
			require.True(t, n.Data == nil || st.Blocks*512 < n.Size, "%s: no holes in %d blocks", n.Path, st.Blocks)
		default:
		}
	}
	for _, root := range []string{"/etc/app", "/srv/www"} {
		require.NoError(t, filepath.WalkDir(target+root, func(path string, _ os.DirEntry, err error) error {
			require.True(t, seen[strings.TrimPrefix(path, target)], "%q is there", path)
			return err
		}))
	}
	require.NoDirExists(t, target+"/srv/gone")
}

func requireContent(t *testing.T, n node, target string) {
	t.Helper()
	got, err := os.ReadFile(target + n.Path)
	require.NoError(t, err)
	want := n.data
	if n.Data != nil {
		want = make([]byte, n.Size)
		data := n.data
		for _, x := range n.Data {
			copy(want[x.Offset:], data[:x.Length])
			data = data[x.Length:]
		}
	}
	require.True(t, bytes.Equal(want, got), "content of %q", n.Path)
}

func requireXattrs(t *testing.T, n node, target string) {
	t.Helper()
	for _, x := range n.Xattrs {
		value := make([]byte, 100)
		size, err := unix.Lgetxattr(target+n.Path, x.Name, value)
		require.NoError(t, err, "%q of %q", x.Name, n.Path)
		require.Equal(t, string(x.Value), string(value[:size]))
	}
}
