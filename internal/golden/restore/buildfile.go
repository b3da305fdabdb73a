package restore

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

const newFile = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL

// makeFile has a file written by the crew.
func (b *builder) makeFile(dir *folder, base string, it item) error {
	if !isLarge(it) {
		b.crew.add(dir, base, it)
		return nil
	}
	fd, err := openAt(dir.fd, base, newFile, 0o600)
	if err != nil {
		return err
	}
	b.crew.addLarge(dir, base, it, &large{fd: fd})
	return nil
}

// work writes a file or a part of one.
func (b *builder) work(w *worker, j *job) error {
	if j.large != nil {
		return b.part(w, j)
	}
	e := &j.entry
	fd, err := openAt(j.dir.fd, j.name, newFile, 0o600)
	if err != nil {
		return b.failure(e, err)
	}
	err = b.write(w, fd, e, 0, e.BlockCount())
	if err == nil {
		err = b.complete(fd, e)
	}
	if err = join(err, unix.Close(fd)); err != nil {
		return b.failure(e, err)
	}
	return nil
}

// part writes some blocks of a large file; the last one completes it.
func (b *builder) part(w *worker, j *job) error {
	l := j.large
	err := b.write(w, l.fd, l.entry, j.from, j.to)
	if err != nil {
		l.wrong.Store(true)
		err = b.failure(l.entry, err)
	}
	if l.left.Add(-1) > 0 {
		return err
	}
	if err == nil && !l.wrong.Load() {
		if err = b.complete(l.fd, l.entry); err != nil {
			err = b.failure(l.entry, err)
		}
	}
	return join(err, unix.Close(l.fd))
}

// write writes blocks of an entry; holes are not written.
func (b *builder) write(w *worker, fd int, e *format.Entry, from, to int) error {
	stored := e.Stored()
	for i := from; i < to; i++ {
		start := int64(i) * format.BlockSize
		end := min(start+format.BlockSize, stored)
		data, err := b.r.g.Block(b.ctx, w.block[:0], e.Block(i))
		if err != nil {
			return err
		}
		if int64(len(data)) != end-start {
			return fmt.Errorf("%w: block %s has %d bytes, not %d", format.ErrDamaged, e.Block(i), len(data), end-start)
		}
		w.block = data[:0]
		_, err = pieces(e, start, end, func(off, n int64) (bool, error) {
			part := data[:n]
			data = data[n:]
			return true, pwriteAll(fd, part, off)
		})
		if err != nil {
			return err
		}
		b.r.meter.bytes.Add(end - start)
	}
	if e.BlockCount() > 1 {
		// The disk may begin with it, so that less is left to do for the sync at the end, which is what
		// tells of errors. For small files it costs more than it gains.
		_ = unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
	return nil
}

// complete gives a file its length, if it ends in a hole, and its metadata.
func (b *builder) complete(fd int, e *format.Entry) error {
	if e.Data != nil {
		if err := unix.Ftruncate(fd, e.Size); err != nil {
			return err
		}
	}
	b.r.meter.files.Add(1)
	b.step("file")
	return handle{fd: fd}.dress(metaOf(e), b.fresh(), false)
}
