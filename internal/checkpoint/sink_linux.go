package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/capture"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/store"
)

const (
	// lookEvery is after how many bytes the room on the disk is looked at again.
	lookEvery = 32 << 20
	// roomLeft is how many bytes a checkpoint leaves free: a disk that it fills up, with the ledgers on it,
	// would be a fault of its own.
	roomLeft = 64 << 20
)

// Full says whether there is no room for a checkpoint.
func Full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// sink gives what is captured to a store, as long as there is room.
type sink struct {
	*store.Writer
	dir  string
	room *atomic.Int64 // what may still be put until the disk is looked at; at first it is looked at at once
}

func newSink(w *store.Writer, dir string) sink { return sink{w, dir, new(atomic.Int64)} }

func (s sink) Lane() capture.Lane { return lane{s.Writer.Lane(), s} }

type lane struct {
	*store.Lane
	sink sink
}

// Put stores a block unless the disk is about to be full.
func (l lane) Put(ctx context.Context, h format.Hash, plain []byte) error {
	size := int64(len(plain))
	if l.sink.room.Add(-size) < 0 {
		room, err := checkRoom(l.sink.dir, size)
		if err != nil {
			return err
		}
		l.sink.room.Store(min(lookEvery, room) - size)
	}
	return l.Lane.Put(ctx, h, plain)
}

// checkRoom returns how many bytes may be written below dir, and an error when they are fewer than needed.
func checkRoom(dir string, need int64) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	free := int64(st.Bavail) * st.Bsize //nolint:unconvert // the types differ between architectures
	if free-roomLeft < need {
		err := fmt.Errorf("%w: %d MB are free in %s, %d MB of them must stay so, and at least %d MB are needed",
			unix.ENOSPC, free>>20, dir, roomLeft>>20, (need+1<<20-1)>>20)
		return 0, shivx.Hint(err, "free some space, move paths.var to a larger disk, lower state.keep, or exclude what need not be kept")
	}
	return free - roomLeft, nil
}
