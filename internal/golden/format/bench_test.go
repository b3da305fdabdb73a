package format_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

func plainFile() format.Entry {
	return format.Entry{
		Path: "/srv/www/some/folder/file-000123.bin", Type: format.TypeFile, Mode: 0o644, UID: 1000, GID: 1000,
		ModTime: time.Unix(1_700_000_000, 123_456_789).UTC(), Size: 50_000, Sum: hash(1),
		Hint: format.Hint{Device: 66306, Inode: 1_234_567, Changed: 1_700_000_000_123_456_789},
	}
}

func BenchmarkAppendEntry(b *testing.B) {
	e := plainFile()
	var line []byte
	b.ReportAllocs()
	for b.Loop() {
		line, _ = format.AppendEntry(line[:0], &e)
	}
}

func BenchmarkParseEntry(b *testing.B) {
	e := plainFile()
	line, err := format.AppendEntry(nil, &e)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if err := format.ParseEntry(&e, line); err != nil {
			b.Fatal(err)
		}
	}
}

// What a general parser needs for the same line.
func BenchmarkParseEntryWithEncodingJSON(b *testing.B) {
	e := plainFile()
	line, err := format.AppendEntry(nil, &e)
	require.NoError(b, err)
	var j struct {
		Path, Type, Mode, MTime string
		UID, GID                uint32
		Size                    int64
		SHA256                  format.Hash
		Hint                    [3]int64
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := json.Unmarshal(line, &j); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParsePackIndex(b *testing.B) {
	var index []byte
	at := int64(len(format.PackMagic))
	for range 1000 {
		index = format.AppendPackBlock(index, &format.PackBlock{Stored: 100, Plain: 200, Codec: format.CodecZstd})
		at += 100
	}
	b.ReportAllocs()
	for b.Loop() {
		blocks, err := format.ParsePackIndex(index, at)
		if err != nil {
			b.Fatal(err)
		}
		for range blocks {
		}
	}
}
