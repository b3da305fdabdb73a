package format_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx/internal/golden/format"
)

func hash(n int) format.Hash { return format.Sum(fmt.Append(nil, n)) }

// samples are entries with every field and every way to write it.
func samples() []format.Entry {
	at := time.Unix(1_700_000_000, 123_456_789).UTC()
	return []format.Entry{
		{Path: "/", Type: format.TypeDir, Mode: 0o755, ModTime: at},
		{
			Path: "/etc/x", Type: format.TypeFile, Mode: 0o644, UID: 1000, GID: math.MaxUint32, ModTime: at,
			Size: 5, Sum: hash(1), Hint: format.Hint{Device: 66306, Inode: math.MaxUint64, Changed: -1},
		},
		{Path: "/etc/none", Type: format.TypeFile, Mode: 0o4755, ModTime: at, Sum: format.Sum(nil)},
		{
			Path: "/e\xff/\"\\\x01\x1f\x7f☃\u2028", Type: format.TypeFile, Mode: 0, ModTime: time.Unix(-1, 5e8).UTC(),
			Size: 2*format.BlockSize + 1, Sum: hash(2), Blocks: []format.Hash{hash(3), hash(4), hash(5)},
		},
		{
			Path: "/f\n☃\u2028", Type: format.TypeFile, ModTime: time.Unix(0, 0).UTC(), Size: 1 << 40,
			Sum: hash(6), Data: []format.Extent{{Offset: 0, Length: 1}, {Offset: 4096, Length: 1}, {Offset: 1<<40 - 1, Length: 1}},
		},
		{
			Path: "/hole", Type: format.TypeFile, ModTime: time.Unix(math.MinInt64, 1).UTC(), Size: math.MaxInt64,
			Sum: format.Sum(nil), Data: []format.Extent{},
		},
		{Path: "/l", Type: format.TypeSymlink, Mode: 0o777, ModTime: time.Unix(-7, 0).UTC(), Link: "../x/./\xfe"},
		{Path: "/m", Type: format.TypeHardlink, Link: "/etc/x", Hint: format.Hint{Inode: 1}},
		{
			Path: "/pipe", Type: format.TypeFIFO, Mode: 0o600, ModTime: at,
			Xattrs: []format.Xattr{{Name: "user.a", Value: []byte{}}, {Name: "user.☃\"", Value: []byte("value\x00")}},
		},
		{
			Path: "/q", Type: format.TypeDir, Mode: 0o1777, ModTime: at,
			Xattrs: []format.Xattr{{Name: "user.a", Value: []byte("1")}, {Name: "user.\xff", Value: []byte{2}}},
		},
	}
}

// random returns a valid entry, with much that is rare.
func random(r *rand.Rand) format.Entry {
	e := format.Entry{
		Path: randomPath(r), Mode: r.Uint32N(0o10000), UID: r.Uint32(), GID: r.Uint32N(3),
		ModTime: time.Unix(int64(r.Uint64())>>r.IntN(64), r.Int64N(1e9)).UTC(),
		Type:    []format.Type{format.TypeFile, format.TypeDir, format.TypeSymlink, format.TypeHardlink, format.TypeFIFO}[r.IntN(5)],
	}
	if r.IntN(2) == 0 {
		e.Hint = format.Hint{Device: r.Uint64() >> r.IntN(64), Inode: r.Uint64(), Changed: int64(r.Uint64()) >> r.IntN(64)}
	}
	switch e.Type {
	case format.TypeFile:
		randomContent(r, &e)
	case format.TypeSymlink:
		e.Link = strings.TrimPrefix(randomPath(r), "/")
	case format.TypeHardlink:
		e = format.Entry{Path: e.Path, Type: e.Type, Link: randomPath(r), Hint: e.Hint}
		switch format.ComparePaths(e.Link, e.Path) {
		case 0:
			e.Path += "x"
		case 1:
			e.Path, e.Link = e.Link, e.Path
		}
		return e
	default:
	}
	for i := range r.IntN(4) {
		e.Xattrs = append(e.Xattrs, format.Xattr{Name: fmt.Sprintf("user.%d%s", i, randomName(r)), Value: randomBytes(r, 20)})
	}
	return e
}

func randomContent(r *rand.Rand, e *format.Entry) {
	e.Size = r.Int64N(4*format.BlockSize) >> r.IntN(24)
	if r.IntN(3) == 0 {
		e.Data = []format.Extent{}
		var at int64
		for range r.IntN(4) {
			x := format.Extent{Offset: at + r.Int64N(1<<20), Length: 1 + r.Int64N(1<<20)}
			at = x.Offset + x.Length
			e.Data = append(e.Data, x)
		}
		e.Size = at + r.Int64N(2)
	}
	e.Sum = hash(r.Int())
	if e.Stored() == 0 {
		e.Sum = format.Sum(nil)
	}
	if n := e.BlockCount(); n > 1 {
		for range n {
			e.Blocks = append(e.Blocks, hash(r.Int()))
		}
	}
}

func randomPath(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(4) {
		b.WriteString("/" + randomName(r))
	}
	return b.String()
}

// randomName has bytes that JSON, UTF-8 or paths treat in their own way.
func randomName(r *rand.Rand) string {
	parts := []string{"a", "Z", "0", " ", "\"", "\\", "\n", "\x1f", "\x7f", "é", "☃", "😀", "\u2028", "\xff", "\xed\xa0\x80", ".", "-", "<", "&"}
	name := "n"
	for range r.IntN(6) {
		name += parts[r.IntN(len(parts))]
	}
	return name
}

func randomBytes(r *rand.Rand, most int) []byte {
	b := make([]byte, r.IntN(most))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func sampleHeader() *format.Header {
	packs := []format.Hash{hash(1), hash(2), hash(3)}
	slices.SortFunc(packs, func(a, b format.Hash) int { return bytes.Compare(a[:], b[:]) })
	return &format.Header{
		Format: format.Version, Store: "01JD8QZ4Y8W2K3N4P5R6S7T8V9", ID: "20261123-135531-7f3a9c", Set: "configs",
		Host: "web-1", Run: "golden/backup/web@web-1 0193", Name: "before \"upgrade\" ☃", Kind: format.KindBackup,
		Created: time.Date(2026, 11, 23, 13, 55, 31, 120_000_000, time.UTC), Taken: 4.25,
		Until: time.Date(2026, 12, 23, 0, 0, 0, 0, time.UTC),
		Roots: []string{"/etc/nginx", "/etc/redis", "/srv/www"}, Missing: []string{"/etc/redis"}, Exclude: []string{"/srv/**/*.tmp"},
		Unstable: []format.Note{{Path: "/srv/www/log", Why: "changed while it was read"}},
		Skipped:  []format.Note{{Path: "/srv/www/s\xffck", Why: "a socket"}},
		Sources:  []format.Source{{Name: "shop", Type: "sqlite", Path: "/srv/www/shop.db"}},
		Entries:  12, Files: 7, Bytes: 123_456,
		Segments: []format.Segment{{Stored: 300, Plain: 2000, Sum: hash(4)}}, Packs: packs,
	}
}

func signingKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}
