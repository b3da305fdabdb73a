package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"time"
)

// followEvery is how often a follower in another process looks for new records.
const followEvery = 20 * time.Millisecond

// Follow calls fn with every record whose sequence number is from or higher, those to come
// included, until ctx ends (its error is returned) or fn returns an error. It goes on across
// rotations and waits for a ledger that does not exist yet. Damaged lines are passed over.
//
// A record is delivered when it is in the file, which can be a moment before it is on disk. Who
// saves a cursor uses Ledger.Follow in the writer's process instead.
func Follow(ctx context.Context, path string, from uint64, fn func(Record) error) error {
	f := follower{path: path, from: from}
	defer f.close()
	poll := time.NewTicker(followEvery)
	defer poll.Stop()
	for {
		if err := f.drain(ctx, math.MaxUint64, fn); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("follow ledger: %w", ctx.Err())
		case <-poll.C:
		}
	}
}

// Follow is like the function Follow, but delivers each record at once when it is on disk, and
// not before. It returns ErrClosed when the ledger is closed and all its records were delivered.
func (l *Ledger) Follow(ctx context.Context, from uint64, fn func(Record) error) error {
	f := follower{path: l.path, from: from}
	defer f.close()
	for {
		l.mu.RLock()
		seq, grown, closed := l.seq, l.grown, l.ended
		l.mu.RUnlock()
		if err := f.drain(ctx, seq, fn); err != nil {
			return err
		}
		if closed {
			return fmt.Errorf("follow ledger: %w", ErrClosed)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("follow ledger: %w", ctx.Err())
		case <-grown:
		}
	}
}

// follower is a place in the ledger: an open segment and how far it was read.
type follower struct {
	path string
	from uint64 // the lowest sequence number to deliver
	file *os.File
	off  int64
	lr   lineReader
	// read is the sealed segment that was read last.
	read os.FileInfo
}

func (f *follower) close() {
	if f.file != nil {
		_ = f.file.Close()
	}
}

// drain delivers what there is, up to the sequence number last.
func (f *follower) drain(ctx context.Context, last uint64, fn func(Record) error) error {
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("follow ledger: %w", err)
		}
		if f.file == nil {
			if ok, err := f.open(); !ok || err != nil {
				return err
			}
		}
		// Asked before reading: what a sealed file holds is then read to its end.
		here, size := inPlace(f.path, f.file)
		more, err := f.deliver(ctx, size, last, fn)
		if err != nil || more || here {
			return err
		}
		if f.read, err = f.file.Stat(); err != nil {
			return fmt.Errorf("follow ledger: %w", err)
		}
		_ = f.file.Close()
		f.file = nil
	}
}

// deliver reads the open segment; more says that lines beyond last are left for later. A foreign
// line that pretends to be far ahead does not hold up the records that stand after it.
func (f *follower) deliver(ctx context.Context, size int64, last uint64, fn func(Record) error) (more bool, err error) {
	if size < f.off {
		f.off = size // a failed write was taken back
	}
	f.lr.reset(f.file, f.off, size)
	for {
		line, _, ok, err := f.lr.next()
		if err != nil || !ok {
			return more, err
		}
		rec, ok := checkedRecord(line)
		if ok && rec.Seq > last {
			more = true
			continue
		}
		f.off, more = f.lr.base, false
		if !ok || rec.Seq < f.from {
			continue
		}
		if err := fn(rec); err != nil {
			return false, err
		}
		if err := ctx.Err(); err != nil {
			return false, fmt.Errorf("follow ledger: %w", err)
		}
	}
}

// open opens the segment after the one that was read last; false when there is none yet.
func (f *follower) open() (bool, error) {
	segs, err := openSegments(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { closeSegments(segs) }()
	start := 0
	for i, s := range segs {
		info, err := s.file.Stat()
		if err != nil {
			return false, fmt.Errorf("follow ledger: %w", err)
		}
		if f.read != nil && os.SameFile(info, f.read) {
			start = i + 1
		}
	}
	for i, s := range segs[start:] {
		if s.sealed && s.last < f.from {
			continue
		}
		f.file, f.off = s.file, 0
		segs = append(segs[:start+i:start+i], segs[start+i+1:]...)
		return true, nil
	}
	return false, nil
}
