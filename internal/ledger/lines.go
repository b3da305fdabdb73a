package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// lineReader reads complete lines from an offset on. A line too long for a record is skipped
// and delivered as nil, so that garbage cannot fill the memory.
type lineReader struct {
	src io.ReaderAt
	// limit is the end of what is read.
	limit int64
	buf   []byte
	r, w  int
	// base is the file's offset of buf[r].
	base int64
}

const readSize = 256 << 10

// reset starts over at offset from, up to limit.
func (lr *lineReader) reset(src io.ReaderAt, from, limit int64) {
	lr.src, lr.base, lr.limit = src, from, limit
	lr.r, lr.w = 0, 0
	if lr.buf == nil {
		lr.buf = make([]byte, readSize)
	}
}

// next returns a line without its newline and the offset where it starts. The line is valid
// until the next call. At the end, ok is false and base is the offset after the last newline.
func (lr *lineReader) next() (line []byte, off int64, ok bool, err error) {
	searched := 0
	for {
		if i := bytes.IndexByte(lr.buf[lr.r+searched:lr.w], '\n'); i >= 0 {
			n := searched + i
			line, off = lr.buf[lr.r:lr.r+n], lr.base
			lr.r += n + 1
			lr.base += int64(n) + 1
			return line, off, true, nil
		}
		searched = lr.w - lr.r
		if searched > MaxRecord {
			return lr.skip()
		}
		more, err := lr.fill()
		if err != nil || !more {
			return nil, lr.base, false, err
		}
	}
}

// fill reads on; false means that the end is reached.
func (lr *lineReader) fill() (bool, error) {
	if lr.r > 0 {
		lr.w = copy(lr.buf, lr.buf[lr.r:lr.w])
		lr.r = 0
	}
	if lr.w == len(lr.buf) {
		lr.buf = append(lr.buf, make([]byte, len(lr.buf))...)
	}
	at := lr.base + int64(lr.w)
	room := min(int64(len(lr.buf)-lr.w), lr.limit-at)
	if room <= 0 {
		return false, nil
	}
	n, err := lr.src.ReadAt(lr.buf[lr.w:lr.w+int(room)], at)
	lr.w += n
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read ledger: %w", err)
	}
	return n > 0, nil
}

// skip passes over a line that is too long.
func (lr *lineReader) skip() ([]byte, int64, bool, error) {
	start := lr.base
	for {
		if i := bytes.IndexByte(lr.buf[lr.r:lr.w], '\n'); i >= 0 {
			lr.r += i + 1
			lr.base += int64(i) + 1
			return nil, start, true, nil
		}
		lr.base += int64(lr.w - lr.r)
		lr.r, lr.w = 0, 0
		more, err := lr.fill()
		if err != nil || !more {
			lr.base = start
			return nil, start, false, err
		}
	}
}
