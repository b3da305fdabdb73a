package store

import (
	"crypto/ed25519"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// makeOlder writes testdata anew, for a new version of the format: those of earlier ones stay.
var makeOlder = flag.Bool("make-testdata", false, "write the stores of this version into testdata")

// olderRandom are 3,000 bytes that cannot be compressed.
func olderRandom() []byte {
	var b []byte
	for i := range 100 {
		h := format.Sum([]byte{byte(i)})
		b = append(b, h[:30]...)
	}
	return b
}

// olderTree is what the stores in testdata hold, in their second golden.
func olderTree() tree {
	return tree{
		"/tree/empty": {}, "/tree/text": []byte(strings.Repeat("the same line\n", 300)),
		"/tree/random": olderRandom(), "/tree/two blocks": append(make([]byte, format.BlockSize), "and more"...),
	}
}

// olderEntries are others of that golden.
func olderEntries() []*format.Entry {
	at := time.Unix(1700000000, 5).UTC()
	return []*format.Entry{
		{Path: "/tree", Type: format.TypeDir, Mode: 0o1755, UID: 1, GID: 2, ModTime: at, Xattrs: []format.Xattr{{Name: "user.a", Value: []byte{0, 255}}}},
		{Path: "/tree/a\xffb", Type: format.TypeSymlink, Mode: 0o777, ModTime: at, Link: "../\xfe"},
		{Path: "/tree/fifo", Type: format.TypeFIFO, Mode: 0o600, ModTime: at, Hint: format.Hint{Device: 1, Inode: 2, Changed: -3}},
		{
			Path: "/tree/sparse", Type: format.TypeFile, Mode: 0o600, ModTime: at, Size: 1 << 30,
			Sum: format.Sum(olderRandom()), Data: []format.Extent{{Offset: 4096, Length: 1000}, {Offset: 8192, Length: 2000}},
		},
		{Path: "/tree/text again", Type: format.TypeHardlink, Link: "/tree/text"},
	}
}

func writeOlder(t *testing.T, dir string, o Options) {
	require.NoError(t, os.RemoveAll(dir))
	f, err := MakeFolder(dir)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	s, err := Create(t.Context(), f, o)
	require.NoError(t, err)
	defer func() { _ = s.Close() }()
	tr := olderTree()
	mustBackup(t, s, tree{"/tree/text": tr["/tree/text"]})
	w, err := s.Begin(t.Context())
	require.NoError(t, err)
	l := w.Lane()
	for _, p := range []string{"/tree/random", "/tree/text", "/tree/two blocks"} {
		require.NoError(t, putFile(t.Context(), w, l, tr[p]))
	}
	require.NoError(t, l.Close())
	other := olderEntries()
	for _, e := range []*format.Entry{
		other[0], other[1], entryOf("/tree/empty", nil), other[2], entryOf("/tree/random", tr["/tree/random"]), other[3],
		entryOf("/tree/text", tr["/tree/text"]), other[4], entryOf("/tree/two blocks", tr["/tree/two blocks"]),
	} {
		require.NoError(t, w.Entry(e))
	}
	h := testHeader("web")
	h.Name, h.Taken, h.Until = "older", 1.5, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	h.Skipped = []format.Note{{Path: "/tree/device", Why: "a device"}}
	_, err = w.Commit(t.Context(), h)
	require.NoError(t, err)
	for _, name := range []string{lockName, tmpName} {
		require.NoError(t, os.Remove(filepath.Join(dir, name)))
	}
}

// What an earlier version wrote stays readable.
func TestOlderStores(t *testing.T) {
	identityFile := "testdata/identity.txt"
	if *makeOlder {
		i, err := age.GenerateX25519Identity()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(identityFile, []byte("# for tests only\n"+i.String()+"\n"), 0o600))
		writeOlder(t, "testdata/v1-plain", options())
		o := options()
		o.Recipients, o.Identities = []age.Recipient{i.Recipient()}, []age.Identity{i}
		writeOlder(t, "testdata/v1-encrypted", o)
	}
	text, err := os.Open(identityFile)
	require.NoError(t, err)
	defer func() { _ = text.Close() }()
	identities, err := age.ParseIdentities(text)
	require.NoError(t, err)
	stores, err := filepath.Glob("testdata/v*")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(stores), 2)
	for _, dir := range stores {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			o := Options{Trusted: []ed25519.PublicKey{testKey(1).Public().(ed25519.PublicKey)}}
			if strings.HasSuffix(dir, "encrypted") {
				o.Identities = identities
			}
			readOlder(t, openStore(t, dir, o))
			_, err := os.Stat(filepath.Join(dir, lockName))
			require.ErrorIs(t, err, fs.ErrNotExist, "reading has changed the store")
		})
	}
}

func readOlder(t *testing.T, s *Store) {
	all, err := s.List(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, all, 2)
	g, err := s.Find(t.Context(), "older")
	require.NoError(t, err)
	require.NoError(t, g.Check(t.Context(), nil, nil))
	require.Equal(t, int64(9), g.Header().Entries)
	require.Equal(t, 2030, g.Header().Until.Year())
	want, others := olderTree(), olderEntries()
	seen := 0
	for e, err := range g.Entries(t.Context()) {
		require.NoError(t, err)
		for _, o := range others {
			if o.Path == e.Path {
				requireSame(t, o, e)
				seen++
			}
		}
		data, ok := want[e.Path]
		if !ok {
			continue
		}
		seen++
		got := []byte{}
		for i := range e.BlockCount() {
			b, err := g.Block(t.Context(), nil, e.Block(i))
			require.NoError(t, err)
			got = append(got, b...)
		}
		require.Equal(t, data, got)
	}
	require.Equal(t, 9, seen)
}

// requireSame compares entries as their lines, as slices that are used again may be empty, not nil.
func requireSame(t *testing.T, want, got *format.Entry) {
	a, err := format.AppendEntry(nil, want)
	require.NoError(t, err)
	b, err := format.AppendEntry(nil, got)
	require.NoError(t, err)
	require.Equal(t, string(a), string(b))
}
