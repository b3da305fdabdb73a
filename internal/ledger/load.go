package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// tornLine is a last line without a newline: a write cut off by a crash, never acknowledged.
type tornLine struct {
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// tail is where a file's complete lines end, and the torn line that was moved aside, if any.
type tail struct {
	off  int64
	torn *tornLine
}

// load reads all segments: it fills the index, finds the end of the chain and repairs a torn tail.
func (l *Ledger) load() (*tornLine, error) {
	sealed, err := sealedSegments(l.path)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	created := !exists(l.path)
	for _, s := range sealed {
		f, err := os.Open(s.path)
		if err != nil {
			return nil, fmt.Errorf("open ledger: %w", err)
		}
		l.segs = append(l.segs, s)
		err = l.scan(f)
		_ = f.Close()
		if err != nil {
			return nil, err
		}
	}
	if l.file, err = os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o640); err != nil {
		return nil, writeHint(fmt.Errorf("open ledger: %w", err))
	}
	if created {
		if err := syncDir(l.path); err != nil {
			return nil, fmt.Errorf("open ledger: %w", err)
		}
	}
	l.segs = append(l.segs, segment{path: l.path})
	if err := l.scan(l.file); err != nil {
		return nil, err
	}
	end, err := l.repairTail(l.file)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	// What a killed writer left behind is complete, but may not have reached the disk.
	if err := l.opts.fdatasync(l.file); err != nil {
		return nil, writeHint(fmt.Errorf("open ledger: %w", err))
	}
	l.off, l.rotateAt = end.off, l.opts.MaxBytes
	return end.torn, nil
}

// scan indexes the records of the last segment of l.segs. A line that is no record is passed over;
// Verify reports it.
func (l *Ledger) scan(f *os.File) error {
	seg := len(l.segs) - 1
	var lr lineReader
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	lr.reset(f, 0, info.Size())
	for {
		line, off, ok, err := lr.next()
		if err != nil || !ok {
			return err
		}
		l.lastLen = 0
		v, ok := parseLine(line)
		if !ok {
			l.log.Warn("a line of the ledger is not a record; run verify", "file", f.Name(), "byte", off)
			continue
		}
		if !l.segs[seg].sealed && l.segs[seg].first == 0 {
			l.segs[seg].first = v.seq
		}
		l.seq, l.lastLen = v.seq, len(line)+1
		hex.Encode(l.hash[:], v.hash[:])
		if key := storedKey(line[:v.hashed]); key != "" {
			if _, taken := l.index[idOf(key)]; !taken {
				l.index[idOf(key)] = location{segment: uint32(seg), size: uint32(len(line) + 1), off: off}
			}
		}
	}
}

// repairTail moves an incomplete last line of the active file to <path>.torn-<time>.
func (l *Ledger) repairTail(f *os.File) (tail, error) {
	info, err := f.Stat()
	if err != nil {
		return tail{}, fmt.Errorf("repair torn tail: %w", err)
	}
	end, err := lastNewline(f, info.Size())
	if err != nil || end == info.Size() {
		return tail{off: end}, err
	}
	torn := &tornLine{
		File:  l.path + ".torn-" + l.opts.Now().UTC().Format("20060102T150405.000000000Z"),
		Bytes: info.Size() - end,
	}
	torn.SHA256, err = copyAside(torn.File, io.NewSectionReader(f, end, torn.Bytes))
	if errors.Is(err, unix.ENOSPC) {
		// It was never acknowledged. Going on is worth more than its copy: a full disk is when an
		// agent is needed.
		l.log.Warn("no room to keep a copy of a line torn by a crash", "bytes", torn.Bytes)
		torn.File, err = "", nil
	}
	if err != nil {
		return tail{}, writeHint(fmt.Errorf("repair torn tail: %w", err))
	}
	if err := errors.Join(f.Truncate(end), l.opts.fdatasync(f), syncDir(l.path)); err != nil {
		return tail{}, writeHint(fmt.Errorf("repair torn tail: %w", err))
	}
	if torn.File != "" {
		l.log.Warn("a line torn by a crash was moved aside; it was never acknowledged", "file", torn.File, "bytes", torn.Bytes)
	}
	return tail{off: end, torn: torn}, nil
}

// lastNewline returns the offset after the last newline in f's first size bytes.
func lastNewline(f io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		n := min(end, int64(len(buf)))
		if _, err := f.ReadAt(buf[:n], end-n); err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("read ledger: %w", err)
		}
		for i := n - 1; i >= 0; i-- {
			if buf[i] == '\n' {
				return end - n + i + 1, nil
			}
		}
		end -= n
	}
	return 0, nil
}

// copyAside writes r to a new file, synced, and returns its SHA-256.
func copyAside(name string, r io.Reader) (string, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, sum), r)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(name)
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
