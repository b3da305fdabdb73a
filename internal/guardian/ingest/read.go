package ingest

import (
	"bytes"
	"context"
	"time"
)

// read delivers what t has, up to blocksPerRound blocks. It returns true when there is more.
func (f *follower) read(ctx context.Context, t *tail) (bool, error) {
	for range blocksPerRound {
		if _, err := t.look(f.out.o.Now()); err != nil {
			return false, err
		}
		block, err := t.next(f.buf)
		if err != nil || len(block) == 0 {
			return false, err
		}
		// The time must not be before what is in the block.
		if _, err := t.look(f.out.o.Now()); err != nil {
			return false, err
		}
		if t.off == 0 && f.insertMissed(t) {
			return true, nil
		}
		f.measure()
		if !f.deliver(ctx, t, block) {
			return false, nil
		}
	}
	return true, nil
}

// deliver gives the lines of a block, which next left in buf, to Handle. It returns false when ctx has
// ended.
func (f *follower) deliver(ctx context.Context, t *tail, block []byte) bool {
	f.turnTo(t)
	t.unsettled = time.Now()
	at := len(t.last)
	all := f.buf[:at+len(block)]
	for at < len(all) {
		skipped := 0
		switch end := bytes.IndexByte(all[at:], '\n'); {
		case end < 0:
			if !t.skip {
				f.out.opening(f.out.parser, all[at:])
			}
			skipped = len(all) - at
		case t.skip:
			skipped = end + 1
		}
		n, lines := f.out.parse(f.out.parser, all[at+skipped:])
		n += skipped
		at += n
		t.consume(all[:at], n)
		if !f.out.send(ctx, f.position(), lines) {
			return false
		}
	}
	return true
}
