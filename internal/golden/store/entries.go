package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"iter"

	"github.com/shivx/shivx/internal/golden/format"
)

// Entries yields the entries in order, each valid until the next. Segments are read and decompressed
// ahead, and nothing is parsed before its hash was checked. It ends at the first error, which is
// ErrDamaged or that of reading.
func (g *Golden) Entries(ctx context.Context) iter.Seq2[*format.Entry, error] {
	return func(yield func(*format.Entry, error) bool) {
		if err := g.entries(ctx, yield); err != nil {
			yield(nil, fmt.Errorf("golden %s: %w", g.head.header.ID, err))
		}
	}
}

func (g *Golden) entries(ctx context.Context, yield func(*format.Entry, error) bool) error {
	if g.s.locked {
		return errLocked()
	}
	o, err := g.s.backend.Open(ctx, g.name)
	if err != nil {
		return err
	}
	defer func() { _ = o.Close() }()
	ahead := newReadAhead(ctx, g, o)
	defer ahead.stop()
	var e format.Entry
	var last string
	var count, files, size int64
	for lines, err := range ahead.segments() {
		if err != nil {
			return err
		}
		for len(lines) > 0 {
			end := bytes.IndexByte(lines, '\n') + 1
			if end == 0 {
				return fmt.Errorf("%w: a line of the entries has no end", format.ErrDamaged)
			}
			if err := format.ParseEntry(&e, lines[:end]); err != nil {
				return err
			}
			lines = lines[end:]
			if count > 0 && format.ComparePaths(last, e.Path) >= 0 {
				return fmt.Errorf("%w: entry %q comes after %q", format.ErrDamaged, e.Path, last)
			}
			last = e.Path
			count++
			if e.Type == format.TypeFile {
				files++
				size += e.Size
			}
			if !yield(&e, nil) {
				return nil
			}
		}
	}
	if h := g.head.header; count != h.Entries || files != h.Files || size != h.Bytes {
		return fmt.Errorf("%w: %d entries, %d files and %d bytes, not %d, %d and %d", format.ErrDamaged, count, files, size, h.Entries, h.Files, h.Bytes)
	}
	return nil
}

// readAhead has segments read in the background.
type readAhead struct {
	ctx     context.Context
	g       *Golden
	object  Object
	at      int64
	next    int
	working []chan lines
	free    [][]byte
}

// lines are a segment's, or why they cannot be had.
type lines struct {
	plain []byte
	err   error
}

func newReadAhead(ctx context.Context, g *Golden, o Object) *readAhead {
	return &readAhead{ctx: ctx, g: g, object: o, at: g.head.at}
}

// segments yields the lines of one segment after another, each valid until the next.
func (r *readAhead) segments() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			for len(r.working) < segmentsAhead && r.next < len(r.g.head.header.Segments) {
				r.begin()
			}
			if len(r.working) == 0 {
				return
			}
			l := <-r.working[0]
			r.working = r.working[1:]
			if !yield(l.plain, l.err) || l.err != nil {
				return
			}
			r.free = append(r.free, l.plain)
		}
	}
}

func (r *readAhead) begin() {
	i, at, seg := r.next, r.at, r.g.head.header.Segments[r.next]
	r.next++
	r.at += seg.Stored
	var buf []byte
	if n := len(r.free); n > 0 {
		buf, r.free = r.free[n-1], r.free[:n-1]
	}
	done := make(chan lines, 1)
	r.working = append(r.working, done)
	go func() {
		plain, err := r.g.segment(r.ctx, r.object, buf, i, at, seg)
		if err != nil {
			err = fmt.Errorf("segment %d at %d of %s: %w", i, at, r.g.name, err)
		}
		done <- lines{plain: plain, err: err}
	}()
}

// stop waits for what is under way, so that the object can be closed.
func (r *readAhead) stop() {
	for _, done := range r.working {
		<-done
	}
}

// segment reads and checks one segment, into dst's memory if that is long enough.
func (g *Golden) segment(ctx context.Context, o Object, dst []byte, i int, at int64, seg format.Segment) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	buf := g.s.buffers.Get().(*[]byte)
	defer g.s.buffers.Put(buf)
	*buf = grow(*buf, int(seg.Stored))
	stored := *buf
	if err := readAt(o, stored, at); err != nil {
		return nil, err
	}
	if sha256.Sum256(stored) != seg.Sum {
		return nil, fmt.Errorf("%w: its hash is not that in the header", format.ErrDamaged)
	}
	if k := g.s.keys; k != nil {
		var err error
		if stored, err = unseal(k.segments, stored, aboutSegment(g.head.header.ID, i)); err != nil {
			return nil, err
		}
	}
	plain, err := g.s.decoder.DecodeAll(stored, grow(dst, int(seg.Plain))[:0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", format.ErrDamaged, err)
	}
	if int64(len(plain)) != seg.Plain {
		return nil, fmt.Errorf("%w: %d bytes of lines, not %d", format.ErrDamaged, len(plain), seg.Plain)
	}
	return plain, nil
}
