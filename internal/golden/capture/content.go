package capture

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// content reads the data of a file as long as it was before and fills in the entry's size, holes and
// hashes. Data of one block is returned and still to be stored; larger data is stored.
func (w *worker) content(fd int, st *unix.Stat_t, e *format.Entry) ([]byte, error) {
	w.pieces = append(w.pieces[:0], format.Extent{Length: st.Size})
	sparse, err := hollow(fd, st, len(e.Xattrs) > 0)
	if err == nil && sparse {
		err = w.holes(fd, e)
	}
	if err != nil {
		return nil, fmt.Errorf("find holes: %w", err)
	}
	if e.Stored() > format.BlockSize {
		return nil, w.large(fd, e)
	}
	s := stream{fd: fd, pieces: w.pieces}
	n, err := s.read(w.small[:e.Stored()])
	if err != nil {
		return nil, err
	}
	w.read.Add(int64(n))
	cut(e, int64(n))
	e.Sum = format.Sum(w.small[:n])
	return w.small[:n], nil
}

// probeSize is the size in bytes from which on a file is asked for holes whatever its blocks say: next to
// reading as much one more call is nothing.
const probeSize = 64 << 10

// hollow says whether a file may have holes. Fewer blocks than data would take tell of them, but not all:
// a block of extended attributes counts too, and in long files those that list the others do, or that
// were set aside beyond the end.
func hollow(fd int, st *unix.Stat_t, attrs bool) (bool, error) {
	switch {
	case st.Blocks*512 < st.Size:
		return true, nil
	case st.Size == 0 || st.Size < probeSize && !attrs:
		return false, nil
	}
	at, err := seek(fd, 0, unix.SEEK_HOLE)
	if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil // truncated meanwhile, or it cannot be told
	}
	if err != nil || at >= st.Size {
		return false, err
	}
	var now unix.Stat_t // behind the end of a file that was truncated there is no hole
	err = statFD(fd, &now)
	return now.Size >= st.Size, err
}

// holes finds where a file has data. If it has no hole after all it is not sparse: file systems that
// compress, or keep small files with the inode, need fewer blocks too.
func (w *worker) holes(fd int, e *format.Entry) error {
	data, err := extents(fd, e.Size, w.pieces[:0])
	if err != nil {
		return err
	}
	if w.pieces = data; len(data) != 1 || data[0].Offset != 0 || data[0].Length != e.Size {
		e.Data = append(make([]format.Extent, 0, len(data)), data...)
	}
	return nil
}

// large reads data of several blocks. Each is hashed twice, by itself and as part of the whole, and
// if a worker waits for work, by two at the same time.
func (w *worker) large(fd int, e *format.Entry) error {
	s := stream{fd: fd, pieces: w.pieces}
	e.Blocks = make([]format.Hash, (e.Stored()+format.BlockSize-1)/format.BlockSize)
	w.whole.Reset()
	var done sync.WaitGroup
	defer done.Wait()
	var total int64
	for i := range e.Blocks {
		k := w.blocks.take()
		n, err := s.read(k.buf[:min(format.BlockSize, e.Stored()-total)])
		if err == nil && w.ctx.Err() != nil {
			err = errStopped
		}
		if err != nil || n == 0 {
			w.blocks.drop(k)
			if err != nil {
				return err
			}
			break
		}
		total += int64(n)
		w.read.Add(int64(n))
		w.blockOf(k, k.buf[:n], &e.Blocks[i], &done)
	}
	done.Wait()
	w.whole.Sum(e.Sum[:0])
	cut(e, total)
	return nil
}

// blockOf hashes a block for the whole file, and has it hashed and stored by itself.
func (w *worker) blockOf(k *block, data []byte, sum *format.Hash, done *sync.WaitGroup) {
	k.data, k.sum, k.done = data, sum, done
	k.users.Add(1)
	done.Add(1)
	taken := w.blocks.offer(k)
	_, _ = w.whole.Write(data)
	if !taken {
		w.block(k)
	}
	w.blocks.drop(k)
}

// cut makes an entry shorter of which only n bytes of data were there: the file was truncated while
// it was read.
func cut(e *format.Entry, n int64) {
	if n == e.Stored() {
		return
	}
	if e.Data == nil {
		e.Size = n
	}
	for i, left := 0, n; i < len(e.Data); i++ {
		if left <= e.Data[i].Length {
			e.Data[i].Length = left
			if left > 0 {
				i++
			}
			e.Data = e.Data[:i]
			break
		}
		left -= e.Data[i].Length
	}
	if e.Blocks = e.Blocks[:min(len(e.Blocks), int((n+format.BlockSize-1)/format.BlockSize))]; n <= format.BlockSize {
		e.Blocks = nil
	}
}

// stream reads the pieces of a file one after another.
type stream struct {
	fd     int
	pieces []format.Extent
	// done is how much of the first piece was read.
	done int64
}

// read fills buf; fewer bytes mean the end of the file.
func (s *stream) read(buf []byte) (int, error) {
	total := 0
	for total < len(buf) && len(s.pieces) > 0 {
		p := s.pieces[0]
		part := buf[total:min(int64(len(buf)), int64(total)+p.Length-s.done)]
		n, err := readAt(s.fd, part, p.Offset+s.done)
		total += n
		if s.done += int64(n); s.done == p.Length {
			s.pieces, s.done = s.pieces[1:], 0
		}
		if err != nil || n < len(part) {
			return total, err
		}
	}
	return total, nil
}

// maxExtents is how many pieces of a file are told apart; beyond that the shortest holes are stored
// as the zeros that they read as.
const maxExtents = 64 << 10

// extents appends the places where a file of a size has data.
func extents(fd int, size int64, to []format.Extent) ([]format.Extent, error) {
	for at := int64(0); at < size; {
		from, err := seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
			return append(to[:0], format.Extent{Length: size}), nil
		}
		if err != nil {
			return nil, err
		}
		if from >= size {
			break
		}
		at, err = seek(fd, from, unix.SEEK_HOLE)
		if errors.Is(err, unix.ENXIO) {
			break // truncated meanwhile
		}
		if err != nil {
			return nil, err
		}
		at = min(at, size)
		to = append(to, format.Extent{Offset: from, Length: at - from})
	}
	for gap := int64(4096); len(to) > maxExtents; gap *= 2 {
		to = join(to, gap)
	}
	return to, nil
}

func seek(fd int, from int64, whence int) (at int64, err error) {
	err = again(func() error {
		at, err = unix.Seek(fd, from, whence)
		return err
	})
	return at, err
}

// join makes one of pieces that are at most gap apart.
func join(pieces []format.Extent, gap int64) []format.Extent {
	joined := pieces[:1]
	for _, p := range pieces[1:] {
		last := &joined[len(joined)-1]
		if p.Offset-last.Offset-last.Length <= gap {
			last.Length = p.Offset + p.Length - last.Offset
			continue
		}
		joined = append(joined, p)
	}
	return slices.Clip(joined)
}
