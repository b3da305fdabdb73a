package checkpoint

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/capture"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/store"
)

const (
	// lookEvery is after how many bytes the room on the disk is looked at: a small checkpoint always fits.
	lookEvery = 32 << 20
	// roomLeft is how many bytes a checkpoint leaves free: a disk that it fills up, with the ledgers on it,
	// would be a fault of its own.
	roomLeft = 64 << 20
)

// sink gives what is captured to a store, as long as there is room.
type sink struct {
	*store.Writer
	dir  string
	room *atomic.Int64 // what may still be put until the disk is looked at
}

func newSink(w *store.Writer, dir string) sink {
	s := sink{w, dir, new(atomic.Int64)}
	s.room.Store(lookEvery)
	return s
}

func (s sink) Lane() capture.Lane { return lane{s.Writer.Lane(), s} }

type lane struct {
	*store.Lane
	sink sink
}

// Put stores a block unless the disk is about to be full.
func (l lane) Put(ctx context.Context, h format.Hash, plain []byte) error {
	if l.sink.room.Add(-int64(len(plain))) < 0 {
		if err := checkRoom(l.sink.dir); err != nil {
			return err
		}
		l.sink.room.Store(lookEvery)
	}
	return l.Lane.Put(ctx, h, plain)
}

func checkRoom(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	free := int64(st.Bavail) * st.Bsize //nolint:unconvert // the types differ between architectures
	if free < roomLeft+lookEvery {
		err := fmt.Errorf("%w: %d MB are free in %s", unix.ENOSPC, free>>20, dir)
		return shivx.Hint(err, "free some space, move paths.var to a larger disk, lower state.keep, or exclude what need not be kept")
	}
	return nil
}
