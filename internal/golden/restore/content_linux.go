package restore

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// chunk is how much is read at once: it stays in the processor's cache until it is hashed.
const chunk = 128 << 10

// sums hashes without allocating.
type sums struct {
	h   hash.Hash
	out []byte
}

func newSums() sums { return sums{h: sha256.New(), out: make([]byte, 0, sha256.Size)} }

func closeFD(fd int) error { return unix.Close(fd) }

// preadAll fills p from offset off; fewer bytes mean the end of the file.
func preadAll(fd int, p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		var n int
		err := again(func() (err error) { n, err = unix.Pread(fd, p[done:], off+int64(done)); return err })
		if err != nil {
			return done, err
		}
		if n == 0 {
			break
		}
		done += n
	}
	return done, nil
}

// pwriteAll writes p at offset off.
func pwriteAll(fd int, p []byte, off int64) error {
	for len(p) > 0 {
		var n int
		err := again(func() (err error) { n, err = unix.Pwrite(fd, p, off); return err })
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrShortWrite
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// pieces calls f for the places in the file of bytes from up to before to of an entry's data.
func pieces(e *format.Entry, from, to int64, f func(off, n int64) (bool, error)) (bool, error) {
	if e.Data == nil {
		return f(from, to-from)
	}
	at := int64(0) // in the data
	for _, x := range e.Data {
		a, b := max(from, at), min(to, at+x.Length)
		if a < b {
			if ok, err := f(x.Offset+a-at, b-a); !ok || err != nil {
				return ok, err
			}
		}
		if at += x.Length; at >= to {
			break
		}
	}
	return true, nil
}

// sameBlocks says whether a file holds the blocks from up to before to of an entry.
func (w *worker) sameBlocks(fd int, e *format.Entry, from, to int) (bool, error) {
	stored := e.Stored()
	for i := from; i < to; i++ {
		a := int64(i) * format.BlockSize
		b := min(a+format.BlockSize, stored)
		if b-a <= chunk && e.Data == nil {
			n, err := preadAll(fd, w.buf[:b-a], a)
			if err != nil || int64(n) < b-a || format.Sum(w.buf[:n]) != e.Block(i) {
				return false, err
			}
			continue
		}
		w.sums.h.Reset()
		ok, err := pieces(e, a, b, func(off, n int64) (bool, error) { return w.hash(fd, off, n) })
		if !ok || err != nil {
			return false, err
		}
		w.sums.out = w.sums.h.Sum(w.sums.out[:0])
		want := e.Block(i)
		if !bytes.Equal(w.sums.out, want[:]) {
			return false, nil
		}
	}
	return true, nil
}

// hash adds n bytes at off to the sum; false means that the file ends before.
func (w *worker) hash(fd int, off, n int64) (bool, error) {
	for n > 0 {
		part := w.buf[:min(n, chunk)]
		got, err := preadAll(fd, part, off)
		if err != nil || got < len(part) {
			return false, err
		}
		_, _ = w.sums.h.Write(part)
		off, n = off+int64(got), n-int64(got)
	}
	return true, nil
}

// holesEmpty says whether a file has zeros wherever a sparse entry has no data.
func (w *worker) holesEmpty(fd int, e *format.Entry) (bool, error) {
	at := int64(0)
	for i := 0; i <= len(e.Data); i++ {
		end, next := e.Size, e.Size
		if i < len(e.Data) {
			end, next = e.Data[i].Offset, e.Data[i].Offset+e.Data[i].Length
		}
		if ok, err := w.empty(fd, at, end); !ok || err != nil {
			return false, err
		}
		at = next
	}
	return true, nil
}

// empty says whether a file has only zeros from offset from up to before to; holes are not read.
func (w *worker) empty(fd int, from, to int64) (bool, error) {
	for from < to {
		data, err := unix.Seek(fd, from, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if from = data; from >= to {
			break
		}
		part := w.buf[:min(to-from, chunk)]
		n, err := preadAll(fd, part, from)
		if err != nil {
			return false, err
		}
		if n == 0 || len(bytes.TrimLeft(part[:n], "\x00")) > 0 {
			return n == 0, nil
		}
		from += int64(n)
	}
	return true, nil
}
