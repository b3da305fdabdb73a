package ledger

import (
	"errors"
	"fmt"
	"os"
)

// openHeads opens the heads file, cuts off a line torn by a crash, and finishes a change of key
// that a crash has interrupted after the head was on disk.
func (l *Ledger) openHeads() error {
	s, path := &l.signer, l.path+".heads"
	created := !exists(path)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return writeHint(fmt.Errorf("open ledger heads: %w", err))
	}
	s.file = f
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open ledger heads: %w", err)
	}
	if s.off, err = lastNewline(f, info.Size()); err != nil {
		return fmt.Errorf("open ledger heads: %w", err)
	}
	if s.off < info.Size() {
		err = f.Truncate(s.off)
	}
	err = errors.Join(err, f.Sync())
	if created {
		err = errors.Join(err, syncDir(path))
	}
	if err != nil {
		return writeHint(fmt.Errorf("open ledger heads: %w", err))
	}
	head, err := lastHead(f, s.off)
	if err != nil || head == nil {
		return err
	}
	s.last.Store(head)
	if head.Genesis == s.key.Genesis {
		seq, _ := l.Last()
		s.signedSeq.Store(min(head.Seq, seq))
		return l.finishEpoch()
	}
	return nil
}

// lastHead returns the last line that is a head with a right signature, or nil.
func lastHead(f *os.File, size int64) (*Head, error) {
	for size > 0 {
		start, err := lastNewline(f, size-1)
		if err != nil {
			return nil, err
		}
		line := make([]byte, min(size-1-start, MaxRecord))
		if _, err := f.ReadAt(line, start); err != nil {
			return nil, fmt.Errorf("read ledger heads: %w", err)
		}
		if h, valid, err := parseHead(line); err == nil && valid {
			return &h, nil
		}
		size = start
	}
	return nil, nil
}

// finishEpoch erases the key that has signed the last head and puts the next in its place.
func (l *Ledger) finishEpoch() error {
	s := &l.signer
	head := s.last.Load()
	if head == nil || head.Genesis != s.key.Genesis || head.Key != public(s.key.Seed) {
		return nil
	}
	next := s.key.evolved()
	if err := writeKey(l.path+".key", next); err != nil {
		return err
	}
	clear(s.key.Seed)
	s.key = next
	return nil
}

func (l *Ledger) closeHeads() {
	if l.signer.file != nil {
		_ = l.signer.file.Close()
		l.signer.file = nil
	}
}
