package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// segmentsAhead is how many segments are compressed, or read, in the background.
const segmentsAhead = 3

// spoolSize is how many bytes of segments stay in memory until the golden is written; what is more
// goes to a file without a name. A million entries need some 80 MB.
const spoolSize = 4 << 20

// segmentWriter turns entries into segments. Its golden's header comes before them, so they wait.
type segmentWriter struct {
	s       *Store
	golden  string
	encoder *zstd.Encoder
	lines   []byte
	// working are the segments that are being compressed, in order.
	working []chan segment
	free    chan []byte

	segments              []format.Segment
	stored                bytes.Buffer
	spool                 *os.File
	entries, files, bytes int64
	last                  string
}

// segment is one that is compressed.
type segment struct {
	lines, stored []byte
	sum           format.Hash
}

func newSegmentWriter(s *Store, golden string) (*segmentWriter, error) {
	enc, err := newEncoder(segmentsAhead)
	if err != nil {
		return nil, err
	}
	return &segmentWriter{s: s, golden: golden, encoder: enc, free: make(chan []byte, segmentsAhead+1)}, nil
}

func (w *segmentWriter) add(e *format.Entry) error {
	if w.entries > 0 && format.ComparePaths(w.last, e.Path) >= 0 {
		return fmt.Errorf("entry %q comes after %q", e.Path, w.last)
	}
	before := len(w.lines)
	var err error
	if w.lines, err = format.AppendEntry(w.lines, e); err != nil {
		return err
	}
	w.last = e.Path
	w.entries++
	if e.Type == format.TypeFile {
		w.files++
		w.bytes += e.Size
	}
	if len(w.lines) <= format.SegmentSize || before == 0 {
		return nil
	}
	full := w.lines
	w.lines = append(w.buffer(), full[before:]...)
	return w.begin(full[:before])
}

func (w *segmentWriter) buffer() []byte {
	select {
	case b := <-w.free:
		return b[:0]
	default:
		return make([]byte, 0, format.SegmentSize+format.SegmentSize/8)
	}
}

// begin has a segment compressed in the background.
func (w *segmentWriter) begin(lines []byte) error {
	if len(w.working) >= segmentsAhead {
		if err := w.keep(); err != nil {
			return err
		}
	}
	done := make(chan segment, 1)
	i := len(w.segments) + len(w.working)
	w.working = append(w.working, done)
	go func() {
		stored := w.compress(i, lines)
		done <- segment{lines: lines, stored: stored, sum: sha256.Sum256(stored)}
	}()
	return nil
}

func (w *segmentWriter) compress(i int, lines []byte) []byte {
	k := w.s.keys
	if k == nil {
		return w.encoder.EncodeAll(lines, nil)
	}
	return seal(k.segments, w.encoder.EncodeAll(lines, make([]byte, nonceSize)), 0, aboutSegment(w.golden, i))
}

// keep waits for the oldest segment and keeps it.
func (w *segmentWriter) keep() error {
	done := <-w.working[0]
	w.working = w.working[1:]
	w.segments = append(w.segments, format.Segment{
		Stored: int64(len(done.stored)), Plain: int64(len(done.lines)), Sum: done.sum,
	})
	select {
	case w.free <- done.lines:
	default:
	}
	w.stored.Write(done.stored)
	if w.spool == nil && w.stored.Len() < spoolSize {
		return nil
	}
	return w.spill()
}

// spill moves what is in memory to the spool.
func (w *segmentWriter) spill() error {
	if w.spool == nil {
		f, err := os.CreateTemp("", "shivx-golden-*")
		if err != nil {
			return fmt.Errorf("make room for the list of entries: %w", err)
		}
		w.spool = f
		// Without a name it vanishes with the process.
		if err := os.Remove(f.Name()); err != nil {
			return err
		}
	}
	if _, err := w.stored.WriteTo(w.spool); err != nil {
		return shivx.Hint(fmt.Errorf("put aside the list of entries: %w", err), "free space in "+os.TempDir())
	}
	return nil
}

// finish ends the last segment.
func (w *segmentWriter) finish() error {
	if len(w.lines) > 0 {
		if err := w.begin(w.lines); err != nil {
			return err
		}
		w.lines = nil
	}
	for len(w.working) > 0 {
		if err := w.keep(); err != nil {
			return err
		}
	}
	return nil
}

// read returns all segments, after finish.
func (w *segmentWriter) read() io.Reader {
	if w.spool == nil {
		return &w.stored
	}
	// What was spilled is at the offset 0 and on, whatever was read before.
	return io.MultiReader(io.NewSectionReader(w.spool, 0, 1<<62), &w.stored)
}

// close ends the writer, at any time.
func (w *segmentWriter) close() error {
	for _, done := range w.working {
		<-done
	}
	w.working = nil
	err := w.encoder.Close()
	if w.spool != nil {
		err = errors.Join(err, w.spool.Close())
	}
	return err
}
