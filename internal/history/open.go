package history

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

// The database is made for millions of series; a host has some hundred. These sizes keep it small.
const (
	// stripes is the number of maps of series, a power of two; each costs memory.
	stripes = 64
	// walSegment is the size of a file of the write-ahead log, in bytes.
	walSegment = 2 << 20
	// chunkSegment is the size of a block's file of measurements, in bytes; it is reserved on the
	// disk while a block is written.
	chunkSegment = 16 << 20
)

// headParts are the folders of what is not in a block yet.
var headParts = []string{"wal", wlog.WblDirName, "chunks_head"}

// openRepaired opens the database. What keeps it from opening is set aside, the least first.
func (h *History) openRepaired() (*tsdb.DB, error) {
	h.setAsideBlocks(readableMeta)
	repairs := []func(cause error) bool{
		func(error) bool { return h.setAsideBlocks(h.opens) },
		func(cause error) bool { return h.setAside("newest measurements", cause, headParts...) },
		func(cause error) bool { return h.setAside("everything", cause, h.everything()...) },
	}
	for {
		db, err := h.openOnce()
		if err == nil || notDamage(err) {
			return db, err
		}
		for tried := false; !tried; {
			if len(repairs) == 0 {
				return nil, err
			}
			tried = repairs[0](err)
			repairs = repairs[1:]
		}
	}
}

// notDamage says that err will not go away by setting files aside.
func notDamage(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EROFS) ||
		errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EMFILE)
}

// openOnce opens the database as it is. It repairs a torn tail of the write-ahead log by itself.
func (h *History) openOnce() (db *tsdb.DB, err error) {
	defer func() {
		// Reading a damaged file is other people's code, and no reason for an agent to end.
		if p := recover(); p != nil {
			err = fmt.Errorf("open the database: %v", p)
		}
	}()
	o := tsdb.DefaultOptions()
	o.RetentionDuration, o.MaxBytes = 0, 0
	o.BlocksToDelete = h.expired
	o.MinBlockDuration = h.o.block.Milliseconds()
	o.MaxBlockDuration = max(h.o.block, min(h.o.Retention/10, 24*time.Hour)).Milliseconds()
	o.NoLockfile = true
	o.StripeSize = stripes
	o.WALSegmentSize = walSegment
	o.WALCompression = compression.Snappy
	o.WALReplayConcurrency = 1
	o.MaxBlockChunkSegmentSize = chunkSegment
	o.HeadChunksWriteBufferSize = chunks.MinWriteBufferSize
	o.OutOfOrderTimeWindow = OutOfOrder.Milliseconds()
	db, err = tsdb.Open(h.dir, slog.New(quiet{h.log.Handler()}), nil, o, nil)
	if err != nil {
		return nil, err
	}
	return db, nil
}

// blockDirs returns the folders of the blocks in dir.
func blockDirs(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // opening the database says it
	}
	var dirs []string
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err == nil && e.IsDir() {
			dirs = append(dirs, filepath.Join(dir, e.Name()))
		}
	}
	return dirs
}

// everything lists all that is in the folder but the lock and what was set aside.
func (h *History) everything() []string {
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.Name() != "lock" && e.Name() != asideFolder {
			names = append(names, e.Name())
		}
	}
	return names
}
