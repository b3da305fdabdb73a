package format_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// handmade is a small store that is written by this package alone, in one golden.
type handmade struct {
	t      testing.TB
	dir    string
	key    []byte // nil: not encrypted
	zstd   *zstd.Encoder
	lines  []byte
	header *format.Header
	tail   []byte // the segments

	pack, index []byte
	blocks      int
	have        map[format.Hash]bool
}

func newHandmade(t testing.TB, dir string, recipient age.Recipient) *handmade {
	t.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
	require.NoError(t, err)
	m := &handmade{t: t, dir: dir, zstd: enc, header: sampleHeader(), pack: []byte(format.PackMagic), have: map[format.Hash]bool{}}
	h := m.header
	h.Roots, h.Missing, h.Unstable, h.Skipped, h.Sources = []string{"/etc/app", "/srv/gone", "/srv/www"}, []string{"/srv/gone"}, nil, nil, nil
	h.Entries, h.Files, h.Bytes, h.Segments, h.Packs = 0, 0, 0, nil, nil
	created := ulid.MustParseStrict(h.Store).Timestamp().UTC().Format(time.RFC3339Nano)
	m.put("golden.json", fmt.Appendf(nil, `{"format":1,"id":%q,"created":%q,"encrypted":%t}`+"\n", h.Store, created, recipient != nil))
	if recipient != nil {
		m.key = bytes.Repeat([]byte{0xa5, 0x17}, 16)
		var sealed bytes.Buffer
		w, err := age.Encrypt(&sealed, recipient)
		require.NoError(t, err)
		fmt.Fprintf(w, "%x\n", m.key)
		require.NoError(t, w.Close())
		m.put("key.age", sealed.Bytes())
	}
	return m
}

func (m *handmade) put(name string, data []byte) {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	require.NoError(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(m.t, os.WriteFile(path, data, 0o644))
}

func hmacOf(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

func (m *handmade) id(h format.Hash) format.Hash {
	if m.key == nil {
		return h
	}
	return format.Hash(hmacOf(hmacOf(m.key, "shivx golden id"), string(h[:])))
}

func (m *handmade) seal(purpose, about string, plain []byte) []byte {
	if m.key == nil {
		return plain
	}
	block, err := aes.NewCipher(hmacOf(m.key, purpose))
	require.NoError(m.t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(m.t, err)
	nonce := format.Sum(append([]byte(about), plain...)) // a test may repeat itself
	return gcm.Seal(nonce[:12], nonce[:12], plain, []byte(about))
}

// block stores a block once.
func (m *handmade) block(plain []byte) format.Hash {
	h := format.Sum(plain)
	if m.have[h] {
		return h
	}
	m.have[h] = true
	b := format.PackBlock{ID: m.id(h), Plain: uint32(len(plain)), Codec: format.CodecRaw}
	stored := plain
	if packed := m.zstd.EncodeAll(plain, nil); len(packed) < len(plain) {
		b.Codec, stored = format.CodecZstd, packed
	}
	stored = m.seal("shivx golden block", string(b.ID[:]), stored)
	b.Sum, b.Stored = format.Sum(stored), uint32(len(stored))
	m.pack = append(m.pack, stored...)
	m.index = format.AppendPackBlock(m.index, &b)
	if m.blocks++; m.blocks == 4 {
		m.endPack()
	}
	return h
}

func (m *handmade) endPack() {
	if m.blocks == 0 {
		return
	}
	name := format.PackName(m.index)
	m.put(fmt.Sprintf("packs/%x/%s.pack", name[:1], name), format.AppendPackTrailer(append(m.pack, m.index...), m.blocks))
	m.header.Packs = append(m.header.Packs, name)
	m.pack, m.index, m.blocks = []byte(format.PackMagic), nil, 0
}

// add stores an entry and, of a file, its data.
func (m *handmade) add(e format.Entry, data []byte) {
	m.t.Helper()
	if e.Type == format.TypeFile {
		e.Sum = format.Sum(data)
		if e.Data == nil {
			e.Size = int64(len(data))
		}
		for piece := range slices.Chunk(data, format.BlockSize) {
			e.Blocks = append(e.Blocks, m.block(piece))
		}
		if len(e.Blocks) == 1 {
			e.Blocks = nil
		}
		m.header.Files++
		m.header.Bytes += e.Size
	}
	line, err := format.AppendEntry(nil, &e)
	require.NoError(m.t, err)
	m.line(line)
}

// line adds a line as it is.
func (m *handmade) line(line []byte) {
	m.lines = append(m.lines, line...)
	m.header.Entries++
	if m.header.Entries%5 == 0 {
		m.endSegment()
	}
}

func (m *handmade) endSegment() {
	if len(m.lines) == 0 {
		return
	}
	about := fmt.Sprintf("%s/%d", m.header.ID, len(m.header.Segments))
	stored := m.seal("shivx golden entries", about, m.zstd.EncodeAll(m.lines, nil))
	m.header.Segments = append(m.header.Segments, format.Segment{Stored: int64(len(stored)), Plain: int64(len(m.lines)), Sum: format.Sum(stored)})
	m.tail = append(m.tail, stored...)
	m.lines = nil
}

// commit writes the golden.
func (m *handmade) commit() {
	m.t.Helper()
	m.endPack()
	m.endSegment()
	slices.SortFunc(m.header.Packs, func(a, b format.Hash) int { return bytes.Compare(a[:], b[:]) })
	line, err := format.AppendHeader(nil, m.header)
	require.NoError(m.t, err)
	sig, err := format.Sign(line, signingKey())
	require.NoError(m.t, err)
	m.put("goldens/"+m.header.Set+"/"+m.header.ID+".golden", slices.Concat(line, sig, m.tail))
}

// readHandmade reads a store by this package alone and returns its entries and the plain blocks by
// their hash.
func readHandmade(t testing.TB, dir string, key []byte) ([]format.Entry, map[format.Hash][]byte) {
	t.Helper()
	m := &handmade{t: t, dir: dir, key: key}
	golden, err := os.ReadFile(filepath.Join(dir, "goldens/configs/20261123-135531-7f3a9c.golden"))
	require.NoError(t, err)
	parts := bytes.SplitN(golden, []byte{'\n'}, 3)
	pub, err := format.VerifySignature(parts[0], parts[1])
	require.NoError(t, err)
	require.Equal(t, signingKey().Public(), pub)
	h, err := format.ParseHeader(parts[0])
	require.NoError(t, err)

	var entries []format.Entry
	order := format.Sequence{Roots: h.Roots}
	for i, s := range h.Segments {
		stored := parts[2][:s.Stored]
		parts[2] = parts[2][s.Stored:]
		require.Equal(t, s.Sum, format.Sum(stored))
		lines := m.open("shivx golden entries", fmt.Sprintf("%s/%d", h.ID, i), stored, format.CodecZstd)
		require.Len(t, lines, int(s.Plain))
		for line := range bytes.Lines(lines) {
			var e format.Entry
			require.NoError(t, format.ParseEntry(&e, line))
			require.NoError(t, order.Next(&e))
			again, err := format.AppendEntry(nil, &e)
			require.NoError(t, err)
			require.Equal(t, string(line), string(again))
			entries = append(entries, e)
		}
	}
	require.Empty(t, parts[2])
	require.Len(t, entries, int(h.Entries))
	return entries, m.readPacks(h.Packs)
}

func (m *handmade) readPacks(packs []format.Hash) map[format.Hash][]byte {
	m.t.Helper()
	plain := map[format.Hash][]byte{}
	for _, name := range packs {
		pack, err := os.ReadFile(filepath.Join(m.dir, "packs", hex.EncodeToString(name[:1]), name.String()+".pack"))
		require.NoError(m.t, err)
		require.Equal(m.t, format.PackMagic, string(pack[:8]))
		end := len(pack) - format.PackTrailer
		at, err := format.ParsePackTrailer(pack[end:], int64(len(pack)))
		require.NoError(m.t, err)
		index := pack[at:end]
		require.Equal(m.t, name, format.PackName(index))
		blocks, err := format.ParsePackIndex(index, at)
		require.NoError(m.t, err)
		for place, b := range blocks {
			stored := pack[place : place+int64(b.Stored)]
			require.Equal(m.t, b.Sum, format.Sum(stored))
			data := m.open("shivx golden block", string(b.ID[:]), stored, b.Codec)
			require.Equal(m.t, b.ID, m.id(format.Sum(data)))
			require.Len(m.t, data, int(b.Plain))
			plain[format.Sum(data)] = data
		}
	}
	return plain
}

func (m *handmade) open(purpose, about string, stored []byte, codec format.Codec) []byte {
	m.t.Helper()
	if m.key != nil {
		block, err := aes.NewCipher(hmacOf(m.key, purpose))
		require.NoError(m.t, err)
		gcm, err := cipher.NewGCM(block)
		require.NoError(m.t, err)
		stored, err = gcm.Open(nil, stored[:12], stored[12:], []byte(about))
		require.NoError(m.t, err)
	}
	if codec == format.CodecRaw {
		return stored
	}
	dec, err := zstd.NewReader(nil)
	require.NoError(m.t, err)
	defer dec.Close()
	plain, err := dec.DecodeAll(stored, nil)
	require.NoError(m.t, err)
	return plain
}
