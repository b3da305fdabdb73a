package builtin

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// pieceSize is how much of a log is compressed at a time, each piece by itself: pieces of gzip (RFC 1952, section 2.2)
// and zstd (RFC 8878, section 3) may be appended to each other, and what is there after a crash can be read.
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
}

func codecs() map[codecName]codec {
	return map[codecName]codec{
		"gzip": {".gz", packGzip},
		"zstd": {".zst", packZstd},
		"none": {"", func(piece []byte) ([]byte, error) { return piece, nil }},
	}
}

func packGzip(piece []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(piece)
	err = errors.Join(err, w.Close())
	return out.Bytes(), err
}

func packZstd(piece []byte) ([]byte, error) {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	packed := w.EncodeAll(piece, nil)
	return packed, w.Close()
}
