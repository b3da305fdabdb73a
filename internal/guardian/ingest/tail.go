package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// blockSize is how much of a file is read at a time.
const blockSize = 256 << 10

// errTruncated means that a file no longer has what was read of it.
var errTruncated = errors.New("the file was truncated")

// identity of a file on this host while it exists.
type identity struct{ device, inode uint64 }

func identify(i fs.FileInfo) identity {
	st, ok := i.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}
	}
	return identity{uint64(st.Dev), st.Ino} //nolint:unconvert // Dev is narrower on other machines
}

// tail is one file and how far it was read.
type tail struct {
	f  *os.File
	fd int
	id identity
	wd int32

	off int64
	// skip is set while off stands within a line that is too long.
	skip bool
	// head has the file's first bytes, up to headSize and off; last those just before off.
	head, last []byte
	headHash   string
	// size and modified are as the file was seen last; grown is when it had grown.
	size     int64
	modified int64
	// sure is how long the file was at least before it was truncated.
	sure  int64
	grown time.Time
	// half is how many bytes of a line without its end stand after off.
	half int
	// unsettled is when lines were read last; zero once the parser was settled after them. held is what it
	// holds back of them while it is at another file.
	unsettled time.Time
	held      string
}

// openTail opens a regular file at its start. It never waits, as opening a FIFO would.
func openTail(path string) (*tail, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = shivx.Hint(err, "let the agent's account read it, on Debian by the group adm")
		}
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = shivx.Hint(fmt.Errorf("%s is a %s", path, kindOf(info.Mode())), "name a log file; lines of a program come in by syslog or the journal")
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &tail{f: f, fd: int(f.Fd()), id: identify(info), wd: -1, size: info.Size(), modified: info.ModTime().UnixNano()}, nil
}

// close lets go of a file that was only read, which cannot fail in a way that matters.
func (t *tail) close() { _ = t.f.Close() }

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// read fills buf from off on. It returns fewer bytes only at the end of the file.
func (t *tail) read(buf []byte, off int64) (int, error) {
	for {
		n, err := unix.Pread(t.fd, buf, off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", t.f.Name(), err)
		}
		return n, nil
	}
}

// next returns the whole lines that follow, up to blockSize of them, and none at the end of the file.
// The block lies within buf. What stands before it is read along in the same call of the kernel, so that
// a file that was truncated is noticed also when it is as long as before again: errTruncated. The caller
// has had a look before.
func (t *tail) next(buf []byte) ([]byte, error) {
	t.half = 0
	n, err := t.read(buf[:len(t.last)+blockSize], t.off-int64(len(t.last)))
	if err != nil {
		return nil, err
	}
	if n < len(t.last) || !bytes.Equal(buf[:len(t.last)], t.last) {
		return nil, errTruncated
	}
	block := buf[len(t.last):n]
	t.sure = max(t.size, t.off+int64(len(block)))
	if end := bytes.LastIndexByte(block, '\n'); end >= 0 {
		return block[:end+1], nil
	}
	if len(block) > maxLine {
		return block, nil
	}
	t.half = len(block)
	return nil, nil
}

// consume moves on by n bytes, the last of seen, which begins with what stood in t.last before.
func (t *tail) consume(seen []byte, n int) {
	if missing := headSize - len(t.head); missing > 0 {
		t.head = append(t.head, seen[len(seen)-n:][:min(n, missing)]...)
		t.headHash = digest(t.head)
	}
	t.off += int64(n)
	t.skip = seen[len(seen)-1] != '\n'
	t.last = append(t.last[:0], seen[max(0, len(seen)-tailSize):]...)
}

// look notes the size and time of the file, and returns how many bytes are not read.
func (t *tail) look(now time.Time) (int64, error) {
	info, err := t.f.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() != t.size || t.grown.IsZero() {
		t.grown = now
	}
	t.size, t.modified = info.Size(), info.ModTime().UnixNano()
	return max(0, t.size-t.off), nil
}

// beginning returns the first n bytes of the file, or as many as there are.
func (t *tail) beginning(n int64) ([]byte, error) {
	b := make([]byte, n)
	have, err := t.read(b, 0)
	return b[:have], err
}

// reset goes to the start.
func (t *tail) reset() {
	t.off, t.skip, t.half, t.sure = 0, false, 0, 0
	t.head, t.last, t.headHash = nil, t.last[:0], ""
}

// seek goes to p, where reading ended once; false: the file is another one by now.
func (t *tail) seek(p *Position) (bool, error) {
	head, err := t.beginning(min(p.Offset, headSize))
	if err != nil || p.Offset > 0 && !p.mark().heads(head) {
		return false, err
	}
	last := make([]byte, min(p.Offset, tailSize))
	n, err := t.read(last, p.Offset-int64(len(last)))
	if err != nil || p.Offset > 0 && (n < len(last) || digest(last) != p.Tail) {
		return false, err
	}
	t.off, t.skip, t.head, t.last, t.headHash = p.Offset, p.Skip, head, last, p.Head
	return true, nil
}

// seekEnd goes behind the last line of the file.
func (t *tail) seekEnd() error {
	before := make([]byte, min(t.size, maxLine))
	n, err := t.read(before, t.size-int64(len(before)))
	if err != nil {
		return err
	}
	off := t.size - int64(len(before)) + int64(bytes.LastIndexByte(before[:n], '\n')+1)
	head, err := t.beginning(min(off, headSize))
	if err != nil {
		return err
	}
	last := make([]byte, min(off, tailSize))
	if _, err := t.read(last, off-int64(len(last))); err != nil {
		return err
	}
	t.off, t.head, t.last, t.headHash = off, head, last, digest(head)
	t.skip = off > 0 && last[len(last)-1] != '\n'
	return nil
}

func (t *tail) mark() mark {
	return mark{modified: t.modified, head: t.headHash, headLen: int64(len(t.head))}
}

// position of t as it is now.
func (t *tail) position() *Position {
	return &Position{
		Device: t.id.device, Inode: t.id.inode, Offset: t.off, Skip: t.skip,
		Head: t.headHash, Tail: digest(t.last), Modified: t.modified,
	}
}
