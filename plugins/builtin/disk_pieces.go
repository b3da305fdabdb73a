package builtin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// pieceSize is how much of a log is compressed at a time, each piece by itself: pieces of gzip (RFC 1952, section 2.2)
// and zstd (RFC 8878, section 3) may be appended to each other, and those that are there after a crash can be read.
const pieceSize = 1 << 20

// codecName is gzip, zstd or none; true and false stand for the first and the last.
type codecName string

// UnmarshalJSON reads a name, true or false.
func (n *codecName) UnmarshalJSON(data []byte) error {
	var on bool
	if json.Unmarshal(data, &on) == nil {
		*n = map[bool]codecName{true: "gzip", false: "none"}[on]
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("%s is none of gzip, zstd and none", data)
	}
	*n = codecName(text)
	return nil
}

// codec packs pieces.
type codec struct {
	// suffix of the names of rotated logs.
	suffix string
	pack   func(piece []byte) ([]byte, error)
	// magic begins each packed piece, unpack fails unless it is given whole ones; nil where pieces are as they are.
	magic  []byte
	unpack func(packed []byte) error
}

func codecs() map[codecName]codec {
	return map[codecName]codec{
		"gzip": {".gz", packGzip, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0}, unpackGzip},
		"zstd": {".zst", packZstd, []byte{0x28, 0xb5, 0x2f, 0xfd}, unpackZstd},
		"none": {pack: func(piece []byte) ([]byte, error) { return piece, nil }},
	}
}

// codecFor returns the codec of a rotated log.
func codecFor(suffix string) codec {
	for _, c := range codecs() {
		if c.suffix == suffix {
			return c
		}
	}
	return codec{}
}

// tailSize is enough for the last two pieces, also of what cannot be compressed.
const tailSize = 3 * pieceSize

// whole returns how much of the end of a file are whole pieces. A process that is killed may leave the last one in part.
func (c codec) whole(tail []byte) int {
	if c.unpack == nil {
		return len(tail)
	}
	for at := bytes.LastIndex(tail, c.magic); at >= 0; at = bytes.LastIndex(tail[:at], c.magic) {
		for cut := range len(c.magic) { // the last piece may have no more than a part of the magic
			end := len(tail) - cut
			if end > at && bytes.Equal(tail[end:], c.magic[:cut]) && c.unpack(tail[at:end]) == nil {
				return end
			}
		}
		// Unless these bytes are in the midst of a piece, one ends before them.
		before := bytes.LastIndex(tail[:at], c.magic)
		if at == 0 || before >= 0 && c.unpack(tail[before:at]) == nil {
			return at
		}
	}
	return 0
}

func packGzip(piece []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed) // the disk is filling up meanwhile
	if err != nil {
		return nil, err
	}
	w.ModTime = time.Unix(0, 0) // none, as RFC 1952 writes it
	_, err = w.Write(piece)
	err = errors.Join(err, w.Close())
	return out.Bytes(), err
}

func unpackGzip(packed []byte) error {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	return err
}

func unpackZstd(packed []byte) error {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*pieceSize))
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.DecodeAll(packed, nil)
	return err
}

func packZstd(piece []byte) ([]byte, error) {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	packed := w.EncodeAll(piece, nil)
	return packed, w.Close()
}
