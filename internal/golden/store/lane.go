package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/shivx/shivx/internal/golden/format"
)

// flushSize is how many bytes a lane gathers before it writes them.
const flushSize = 1 << 20

// Lane stores the blocks of one goroutine, in packs of its own.
type Lane struct {
	w       *Writer
	encoder *zstd.Encoder
	// pack is the number of the pack being filled; file is nil until it has a block.
	pack int
	file File
	// buf is what of the pack has not been written yet, size its length with that.
	buf    []byte
	size   int64
	index  []byte
	about  format.Hash
	closed bool
}

var errLaneClosed = errors.New("the lane is closed")

// Put stores a block of 1 to format.BlockSize bytes whose hash is h, unless the store has it or
// another lane stores it just now. plain is not kept. After an error the golden cannot be had.
func (l *Lane) Put(ctx context.Context, h format.Hash, plain []byte) error {
	if len(plain) == 0 || len(plain) > format.BlockSize {
		return fmt.Errorf("put a block of %d bytes", len(plain))
	}
	if l.closed {
		return errLaneClosed
	}
	if err := ctx.Err(); err != nil {
		return l.w.fail(err)
	}
	id := l.w.s.blockID(h)
	if !l.w.claim(&id, h, l.pack) {
		return l.w.failed()
	}
	return l.w.fail(l.append(ctx, id, plain))
}

func (l *Lane) append(ctx context.Context, id format.Hash, plain []byte) error {
	if l.file == nil {
		f, err := l.w.s.backend.Create(ctx)
		if err != nil {
			return fmt.Errorf("begin a pack: %w", err)
		}
		l.file, l.size = f, int64(len(format.PackMagic))
		l.buf, l.index = append(l.buf[:0], format.PackMagic...), l.index[:0]
	}
	before := len(l.buf)
	var b format.PackBlock
	l.buf, b = l.encode(l.buf, id, plain)
	l.index = format.AppendPackBlock(l.index, &b)
	l.size += int64(b.Stored)
	l.w.stored.Add(int64(b.Stored))
	if len(l.buf) == before {
		// It was not appended.
		if err := l.flush(); err != nil {
			return err
		}
		if err := l.write(plain); err != nil {
			return err
		}
	}
	if l.w.s.pace.full(l.size, len(l.index)) {
		return l.finish(ctx)
	}
	if len(l.buf) >= flushSize {
		return l.flush()
	}
	return nil
}

func (l *Lane) flush() error {
	err := l.write(l.buf)
	l.buf = l.buf[:0]
	return err
}

func (l *Lane) write(b []byte) error {
	if _, err := l.file.Write(b); err != nil {
		return fmt.Errorf("write a pack: %w", err)
	}
	return nil
}

// finish ends the pack, and hands it over.
func (l *Lane) finish(ctx context.Context) error {
	l.buf = append(l.buf, l.index...)
	l.buf = format.AppendPackTrailer(l.buf, len(l.index)/format.PackRecord)
	if err := l.flush(); err != nil {
		return err
	}
	done := finished{file: l.file, name: format.PackName(l.index), pack: l.pack}
	l.file = nil
	l.pack = l.w.finished(ctx, done)
	return nil
}

// Close ends the lane's last pack.
func (l *Lane) Close() error {
	if l.closed {
		return nil
	}
	l.closed = true
	defer l.w.leave(l)
	_ = l.encoder.Close()
	if l.file == nil {
		return nil
	}
	if err := l.w.failed(); err != nil {
		return errors.Join(err, l.discard())
	}
	return l.w.fail(l.finish(l.w.ctx))
}

// discard ends the lane without its last pack.
func (l *Lane) discard() error {
	l.closed = true
	if l.file == nil {
		return nil
	}
	return l.file.Discard()
}
