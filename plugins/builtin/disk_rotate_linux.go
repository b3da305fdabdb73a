package builtin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// rotation copies one log, piece by piece. What was copied is given up in the log at once where the file system can
// punch holes (ext4, XFS, Btrfs, tmpfs), so that a full disk needs no more room than for one compressed piece.
type rotation struct {
	codec
	log, part *os.File
	// at is the place in the log up to which all is copied; kept the length of the copy so far.
	at, kept int64
	// whole says that the file system punches no holes, given that a piece was given up before.
	whole, given bool
	// lost is what could neither be copied nor left where it was.
	lost int64
}

// copyLog copies a log under its name with the time, and cuts it. A writer that appends goes on meanwhile; what it
// writes in the moment between the last look and the cut is lost. Otherwise the log is removed.
func (c *cleaning) copyLog(ctx context.Context, t *tree, o logFiles, f found, suffix string, cut bool) error {
	fd, err := t.folder(f.dir)
	if err != nil {
		return fmt.Errorf("open %s: %w", path.Join(t.path, f.dir), err)
	}
	defer closeFD(fd)
	name := path.Join(t.path, f.rel())
	r := &rotation{codec: codecs()[o.Compress]}
	if r.log, err = openSame(fd, f); err != nil {
		c.report.note("%s stays: %v", name, err)
		return nil
	}
	defer r.log.Close()
	if cut && *o.Keep == 0 {
		if err := r.log.Truncate(0); err != nil {
			return fmt.Errorf("cut %s: %w", name, err)
		}
		c.gone(f.bytes, 1, "cut %s (%s) without a copy", name, shownBytes(f.bytes))
		return nil
	}
	base := f.name + suffix
	if !cut {
		base = f.name
	}
	partName := "." + base + r.suffix + partMark
	if r.part, err = makePart(fd, partName, r.log); err != nil {
		return roomError(name, err)
	}
	defer r.part.Close()
	err = r.copy(ctx)
	if r.kept == 0 {
		err = errors.Join(err, unix.Unlinkat(fd, partName, 0))
	} else if err == nil || r.given {
		_, renamed := renameFree(fd, partName, base+r.suffix)
		err = errors.Join(err, renamed)
	} else {
		err = errors.Join(err, unix.Unlinkat(fd, partName, 0))
	}
	if err == nil {
		err = r.finish(ctx, fd, f, cut)
	}
	gain := f.bytes - blocksOf(r.log) - r.kept
	c.gone(max(0, gain), 1, "rotated %s (%s) to %s%s", name, shownBytes(f.bytes), base, r.suffix)
	if r.lost > 0 {
		c.report.change("lost %s of %s: the disk was full again before they could be written", shownBytes(r.lost), name)
	}
	if err != nil {
		return roomError(name, err)
	}
	return nil
}

func roomError(name string, err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return noRoom(name)
	}
	return fmt.Errorf("rotate %s: %w", name, err)
}

// copy copies up to the end of the log as it is then.
func (r *rotation) copy(ctx context.Context) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(r.log.Fd()), &st); err != nil {
		return err
	}
	// What is empty at the beginning was given up before: by a step that was killed, or by a cut under a writer that
	// does not append.
	at, err := unix.Seek(int(r.log.Fd()), 0, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		r.at = st.Size
	case err == nil:
		r.at = at
	}
	if err := r.drain(ctx, r.at > 0); err != nil {
		return err
	}
	return r.part.Sync()
}

// drain copies what follows; the zeros before the first data are left out if trim says so.
func (r *rotation) drain(ctx context.Context, trim bool) error {
	piece := make([]byte, pieceSize)
	for ctx.Err() == nil {
		n, err := r.log.ReadAt(piece, r.at)
		if n == 0 && errors.Is(err, io.EOF) {
			return nil
		}
		if n == 0 {
			return err
		}
		data := piece[:n]
		if trim {
			data, trim = bytes.TrimLeft(data, "\x00"), false
		}
		packed, err := r.pack(data)
		if err != nil {
			return err
		}
		if err := r.take(packed, int64(n)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// take writes a packed piece of n bytes and gives up its place in the log.
func (r *rotation) take(packed []byte, n int64) error {
	err := r.write(packed)
	if errors.Is(err, unix.ENOSPC) && !r.whole {
		// Not one block is free: the place of the piece is needed for its copy, which is held in memory alone meanwhile.
		if !r.punch(n) {
			return err
		}
		for range 100 {
			if err = r.write(packed); !errors.Is(err, unix.ENOSPC) {
				break
			}
		}
		if err != nil {
			r.lost += n
			return err
		}
		r.at += n
		return nil
	}
	if err != nil {
		return err
	}
	if !r.whole {
		if err := r.part.Sync(); err != nil {
			return err
		}
		r.punch(n)
	}
	r.at += n
	return nil
}

// write appends to the copy, all or nothing.
func (r *rotation) write(packed []byte) error {
	if _, err := r.part.WriteAt(packed, r.kept); err != nil {
		return errors.Join(err, r.part.Truncate(r.kept))
	}
	r.kept += int64(len(packed))
	return nil
}

// punch gives up the place of the next n bytes of the log.
func (r *rotation) punch(n int64) bool {
	err := unix.Fallocate(int(r.log.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, r.at, n)
	r.whole, r.given = r.whole || err != nil, r.given || err == nil
	return err == nil
}

// cutTries is how often is tried to find a moment in which nothing is written.
const cutTries = 100

// finish copies what came since and cuts the log; one that nobody writes to any more goes.
func (r *rotation) finish(ctx context.Context, fd int, f found, cut bool) error {
	for range cutTries {
		if err := r.drain(ctx, false); err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(r.log.Fd()), &st); err != nil {
			return err
		}
		switch {
		case st.Size < r.at: // somebody else has cut it: what is there now is new
			return r.part.Sync()
		case st.Size > r.at:
			continue
		case cut:
			return errors.Join(r.log.Truncate(0), r.part.Sync())
		}
		now, err := lookAt(fd, f.dir, f.name)
		if err != nil || now.identity != f.identity {
			return nil //nolint:nilerr // somebody else took it away
		}
		return errors.Join(r.part.Sync(), unix.Unlinkat(fd, f.name, 0))
	}
	if r.whole {
		return errors.New("it is written to faster than it can be copied")
	}
	return r.part.Sync()
}
