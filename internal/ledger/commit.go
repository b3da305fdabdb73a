package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/shivx/shivx"
)

// flushSize bounds the memory of a batch: what is over it is written before the rest is built.
const flushSize = 4 << 20

// batch is what one fdatasync makes durable.
type batch struct {
	seq     uint64
	hash    [hashHex]byte
	lastLen int
	// off is where the next line goes, flushed how far the file was written.
	off, flushed int64
	keys         map[keyID]*request
}

func (l *Ledger) commitLoop() {
	defer close(l.done)
	var spare []*request
	for {
		reqs := l.queue.take(spare[:0])
		if len(reqs) == 0 {
			return
		}
		l.writing.Store(max(int64(time.Since(l.opened)), 1))
		l.commit(reqs)
		l.writing.Store(0)
		clear(reqs)
		spare = reqs
	}
}

// Writing is how long the records being written just now have been waiting for the disk; 0 when
// there are none. One that keeps growing shows a disk that hangs.
func (l *Ledger) Writing() time.Duration {
	began := l.writing.Load()
	if began == 0 {
		return 0
	}
	return time.Since(l.opened) - time.Duration(began)
}

// commit writes all requests and answers them. Nothing is acknowledged unless all is on disk.
func (l *Ledger) commit(reqs []*request) {
	b := &batch{seq: l.seq, hash: l.hash, lastLen: l.lastLen}
	err := l.ready()
	if err == nil {
		b.off, b.flushed = l.off, l.off
		err = l.write(b, reqs)
	}
	if err != nil {
		err = fmt.Errorf("append to ledger %s: %w", l.path, err)
	} else {
		l.publish(b, reqs)
	}
	grown := b.seq - l.signer.signedSeq.Load()
	for _, r := range reqs {
		if r.at == nil {
			r.err = err
		}
		r.done <- struct{}{}
	}
	if err != nil {
		return
	}
	if grown >= uint64(l.opts.HeadRecords) {
		l.signer.wake()
	}
	if l.off >= l.rotateAt {
		l.rotate()
	}
}

// ready sees to it that the file is the one that was left: another process may have moved,
// replaced, cut or appended to it, and an earlier write may have failed.
func (l *Ledger) ready() error {
	if l.broken == nil {
		here, size := inPlace(l.path, l.file)
		if here && size == l.off {
			return nil
		}
		l.log.Error("the ledger's file was changed by another process; run verify",
			"in_place", here, "size", size, "expected", l.off)
	}
	if err := l.reopen(l.broken != nil); err != nil {
		l.broken = err
		return err
	}
	l.broken = nil
	return nil
}

// write builds the lines, writes them and waits for the disk.
func (l *Ledger) write(b *batch, reqs []*request) error {
	for _, r := range reqs {
		if r.keyed && l.known(b, r) {
			continue
		}
		l.build(b, r)
		if len(l.out) >= flushSize {
			if err := l.flush(b); err != nil {
				return l.undo(err)
			}
		}
	}
	if b.off == l.off {
		return nil
	}
	err := l.flush(b)
	if err == nil {
		err = l.opts.fdatasync(l.file)
	}
	if cap(l.out) > 2*flushSize {
		l.out = nil
	}
	if err != nil {
		return l.undo(err)
	}
	return nil
}

// known answers a request whose key is on disk or earlier in this batch.
func (l *Ledger) known(b *batch, r *request) bool {
	if at, ok := l.index[r.id]; ok {
		r.at = &at
		return true
	}
	if first, ok := b.keys[r.id]; ok {
		r.first = first
		return true
	}
	if b.keys == nil {
		b.keys = make(map[keyID]*request)
	}
	b.keys[r.id] = r
	return false
}

// build makes r's line from the hash before it and puts it into the output.
func (l *Ledger) build(b *batch, r *request) {
	b.seq++
	r.start = putFront(r.buf, b.seq, &b.hash)
	hashed := r.buf[r.start:]
	sum := sha256.Sum256(hashed)
	hex.Encode(b.hash[:], sum[:])
	r.buf = append(r.buf, hashMark...)
	r.buf = append(r.buf, b.hash[:]...)
	r.buf = append(r.buf, lineEnd+"\n"...)
	line := r.buf[r.start:]
	r.view = view{seq: b.seq, hash: sum, front: frontSize - r.start, hashed: len(hashed)}
	b.lastLen = len(line)
	b.off += int64(len(line))
	l.out = append(l.out, line...)
}

func (l *Ledger) flush(b *batch) error {
	_, err := l.file.WriteAt(l.out, b.flushed)
	l.out = l.out[:0]
	b.flushed = b.off
	return err
}

// undo takes back what a failed write left and makes the next append look at the file anew: after
// a failed fdatasync the kernel may take pages for clean that never reached the disk.
func (l *Ledger) undo(cause error) error {
	l.out = l.out[:0]
	_ = l.file.Truncate(l.off)
	l.broken = cause
	return writeHint(cause)
}

// publish makes the batch visible to Find, Head and followers.
func (l *Ledger) publish(b *batch, reqs []*request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.off
	active := &l.segs[len(l.segs)-1]
	if active.first == 0 && b.seq != l.seq {
		active.first = l.seq + 1
	}
	for _, r := range reqs {
		if r.at != nil || r.first != nil {
			continue
		}
		n := len(r.buf) - r.start
		if r.keyed {
			l.index[r.id] = location{segment: uint32(len(l.segs) - 1), size: uint32(n), off: at}
		}
		at += int64(n)
	}
	l.off, l.lastLen = b.off, b.lastLen
	if b.seq != l.seq {
		l.seq, l.hash = b.seq, b.hash
		close(l.grown)
		l.grown = make(chan struct{})
	}
}

// reopen opens the file again and continues after what it holds. The writer's memory is trusted
// over the file: the chain goes on from the last acknowledged record, so that whatever another
// process has cut, changed or added in between stays visible to Verify.
func (l *Ledger) reopen(failed bool) error {
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return writeHint(fmt.Errorf("reopen: %w", err))
	}
	if err := l.resume(f, failed); err != nil {
		_ = f.Close()
		return err
	}
	_ = l.file.Close()
	l.file = f
	return syncDir(l.path)
}

func (l *Ledger) resume(f *os.File, failed bool) error {
	here, size := inPlace(l.path, l.file)
	if failed && here && size >= l.off {
		if err := f.Truncate(l.off); err != nil {
			return writeHint(fmt.Errorf("reopen: %w", err))
		}
		if err := l.opts.fdatasync(f); err != nil {
			return writeHint(fmt.Errorf("reopen: %w", err))
		}
		return l.checkLast(f)
	}
	end, err := l.repairTail(f)
	if err != nil {
		return err
	}
	l.off, l.lastLen = end.off, 0
	return nil
}

// checkLast reads the last acknowledged record back, from the disk if the kernel lets us.
func (l *Ledger) checkLast(f *os.File) error {
	if l.off == 0 || l.lastLen == 0 {
		return nil
	}
	dropCache(f)
	line := make([]byte, l.lastLen)
	if _, err := io.ReadFull(io.NewSectionReader(f, l.off-int64(l.lastLen), int64(l.lastLen)), line); err != nil {
		return writeHint(fmt.Errorf("reopen: %w", err))
	}
	v, ok := parseLine(line[:len(line)-1])
	if !ok || sha256.Sum256(line[:v.hashed]) != v.hash || v.hash.String() != string(l.hash[:]) {
		return shivx.Hint(fmt.Errorf("reopen: record %d was acknowledged and is no longer on disk: %w", l.seq, ErrDamaged),
			"the disk lost data it had confirmed; check it, then restore the ledger from a copy and run verify")
	}
	return nil
}
