package ledger

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// minHeadGap bounds what signing costs under load; each head takes four syncs.
const minHeadGap = 250 * time.Millisecond

// signer signs heads, one at a time.
type signer struct {
	mu   sync.Mutex
	key  keyState
	file *os.File
	off  int64

	last      atomic.Pointer[Head]
	signedSeq atomic.Uint64

	woken   chan struct{}
	stop    chan struct{}
	stopped chan struct{}
}

// genesisState says what loadKey found.
type genesisState int

const (
	genesisKept     genesisState = iota // a key and heads
	genesisNew                          // a new ledger
	genesisReplaced                     // records or heads, and no usable key
)

// loadKey reads the key, or makes the first one, and brings key and heads into step.
func (l *Ledger) loadKey() (genesisState, error) {
	s, keyPath := &l.signer, l.path+".key"
	s.woken, s.stop, s.stopped = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	if err := removeLeftover(keyPath + ".tmp"); err != nil {
		return 0, err
	}
	key, err := readKey(keyPath)
	lost := errors.Is(err, fs.ErrNotExist) || errors.Is(err, errBadKey)
	if err != nil && !lost {
		return 0, fmt.Errorf("open ledger: %w", err)
	}
	if lost {
		key = newKeyState(ledgerName(l.path))
		if err := writeKey(keyPath, key); err != nil {
			return 0, fmt.Errorf("open ledger: %w", err)
		}
	}
	s.key = key
	if err := l.openHeads(); err != nil {
		return 0, fmt.Errorf("open ledger: %w", err)
	}
	head := s.last.Load()
	l.adopt(head)
	switch {
	case lost && (head != nil || l.seq > 0):
		l.log.Error("the ledger's signing key was lost; a new one begins, and verify will say so", "genesis", key.Genesis)
		return genesisReplaced, nil
	case head == nil:
		return genesisNew, nil
	}
	return genesisKept, nil
}

// adopt continues the chain from the last signed head when the file holds less than was signed:
// the missing records then stay missing, and Verify names them.
func (l *Ledger) adopt(head *Head) {
	if head == nil || head.Next != public(l.signer.key.Seed) || head.Seq < l.seq || len(head.Hash) != hashHex {
		return
	}
	if head.Seq > l.seq || head.Hash != string(l.hash[:]) {
		l.log.Error("the ledger ends before its last signed head, or differs from it; run verify",
			"records", l.seq, "signed", head.Seq)
	}
	if head.Seq > l.seq {
		l.seq = head.Seq
	}
	copy(l.hash[:], head.Hash)
}

// Head returns the last signed head, the zero Head when there is none.
func (l *Ledger) Head() Head {
	if h := l.signer.last.Load(); h != nil {
		return *h
	}
	return Head{}
}

// Genesis returns the public key of the first head in base64, to be pinned elsewhere.
func (l *Ledger) Genesis() string {
	l.signer.mu.Lock()
	defer l.signer.mu.Unlock()
	return l.signer.key.Genesis
}

// Sign signs a head over all records on disk. When the last head says the same it is returned.
func (l *Ledger) Sign(ctx context.Context) (Head, error) {
	s := &l.signer
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Head{}, fmt.Errorf("sign ledger head: %w", err)
	}
	if s.key.Seed == nil {
		return Head{}, fmt.Errorf("sign ledger head: %w", ErrClosed)
	}
	seq, hash, segment := l.position()
	if h := s.last.Load(); h != nil && h.Seq == seq && h.Hash == hash && h.Segment == segment && h.Genesis == s.key.Genesis {
		return *h, l.finishEpoch()
	}
	h, err := l.signLocked(seq, hash, segment)
	if h.Sig != "" && l.opts.OnHead != nil {
		l.opts.OnHead(h)
	}
	if err != nil {
		return h, fmt.Errorf("sign ledger head: %w", err)
	}
	return h, nil
}

// position returns what a head states: the last record and where the active file begins.
func (l *Ledger) position() (seq uint64, hash string, segment uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	segment = l.segs[len(l.segs)-1].first
	if segment == 0 {
		segment = l.seq + 1
	}
	return l.seq, string(l.hash[:]), segment
}

// signLocked does the steps in the order that a crash at any point can be finished from:
// the head is on disk before the key that signed it is erased, and the next key was on disk
// before the head that names it. A head returned beside an error is on disk; its key is erased later.
func (l *Ledger) signLocked(seq uint64, hash string, segment uint64) (Head, error) {
	s := &l.signer
	if s.file != nil {
		if here, size := inPlace(l.path+".heads", s.file); !here || size != s.off {
			l.log.Error("the ledger's heads were changed by another process; run verify")
			l.closeHeads()
		}
	}
	if s.file == nil {
		if err := l.openHeads(); err != nil {
			l.closeHeads()
			return Head{}, err
		}
	}
	if err := l.finishEpoch(); err != nil {
		return Head{}, err
	}
	h, line, err := Head{
		Ledger: s.key.Ledger, Genesis: s.key.Genesis, Epoch: s.key.Epoch, Seq: seq, Hash: hash, Segment: segment,
		Time: l.opts.Now().UTC(), Key: public(s.key.Seed), Next: public(s.key.Next),
	}.sign(ed25519.NewKeyFromSeed(s.key.Seed))
	if err != nil {
		return Head{}, err
	}
	_, err = s.file.WriteAt(append(line, '\n'), s.off)
	if err == nil {
		err = l.opts.fdatasync(s.file)
	}
	if err != nil {
		_ = s.file.Truncate(s.off)
		l.closeHeads()
		return Head{}, writeHint(err)
	}
	s.off += int64(len(line)) + 1
	s.last.Store(&h)
	s.signedSeq.Store(seq)
	return h, l.finishEpoch()
}

// forget closes the heads and drops the seeds from memory.
func (s *signer) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		_ = s.file.Close()
	}
	clear(s.key.Seed)
	clear(s.key.Next)
	s.file, s.key.Seed, s.key.Next = nil, nil, nil
}

func (s *signer) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

func (l *Ledger) startSigner() { go l.signLoop() }

func (l *Ledger) stopSigner() {
	close(l.signer.stop)
	<-l.signer.stopped
}

// signLoop signs every HeadEvery, or earlier when it is woken because of HeadRecords.
func (l *Ledger) signLoop() {
	s := &l.signer
	defer close(s.stopped)
	tick := time.NewTicker(l.opts.HeadEvery)
	defer tick.Stop()
	for {
		woken := s.woken
		gap := time.Duration(0)
		if _, err := l.Sign(context.Background()); err != nil {
			l.log.Error("a ledger head could not be signed; it is tried again", "error", err, "after", l.opts.HeadEvery)
			woken = nil
		} else {
			gap = min(minHeadGap, l.opts.HeadEvery)
		}
		select {
		case <-s.stop:
			return
		case <-time.After(gap):
		}
		select {
		case <-s.stop:
			return
		case <-tick.C:
		case <-woken:
		}
	}
}
