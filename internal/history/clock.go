package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/tsdb"
)

// isBehind says that samples have been refused as too old for so long that the newer ones must
// have been measured by a wrong clock. A clock that is set some seconds after the start, as on a
// machine without a battery, is given its time.
func (h *History) isBehind(tooOld bool) bool {
	h.writing.Lock()
	defer h.writing.Unlock()
	if !tooOld {
		h.behind = time.Time{}
		return false
	}
	now := h.o.now()
	if h.behind.IsZero() {
		h.behind = now
	}
	if now.Sub(h.behind) < h.o.patience {
		return false
	}
	h.behind = now // should it fail, the next try is not before another patience
	return true
}

// dropFuture sets all aside that was measured after at, so that the present can be kept again.
// What was measured before stays.
func (h *History) dropFuture(at time.Time) error {
	cause := fmt.Errorf("measured after %s by a clock that was ahead", at.UTC().Format(time.RFC3339))
	return h.replace(func(db *tsdb.DB) (func() error, error) {
		if err := keepBefore(db, at.UnixMilli()); err != nil {
			return nil, fmt.Errorf("keep what was measured before a clock that was ahead: %w", err)
		}
		var future, straddling []string
		for _, m := range db.BlockMetas() {
			switch {
			case m.MinTime >= at.UnixMilli():
				future = append(future, m.ULID.String())
			case m.MaxTime > at.UnixMilli():
				straddling = append(straddling, m.ULID.String())
			}
		}
		return func() error {
			for _, name := range straddling {
				if err := h.cutBlock(name, at.UnixMilli()); err != nil {
					return err
				}
			}
			h.setAside("measurements of a wrong clock", cause, append(append(future, straddling...), headParts...)...)
			return nil
		}, nil
	})
}

// keepBefore writes what the head has from before at into blocks.
func keepBefore(db *tsdb.DB, at int64) error {
	if head := db.Head(); head.MinTime() < at && head.NumSeries() > 0 {
		if err := db.CompactHead(tsdb.NewRangeHead(head, head.MinTime(), at-1)); err != nil {
			return err
		}
	}
	return db.CompactOOOHead(context.Background())
}

// cutBlock writes the part of a block from before at into one of its own.
func (h *History) cutBlock(name string, at int64) error {
	log := slog.New(slog.DiscardHandler)
	b, err := tsdb.OpenBlock(log, filepath.Join(h.dir, name), nil, nil)
	if err != nil {
		return fmt.Errorf("open block %s: %w", name, err)
	}
	defer func() { _ = b.Close() }()
	c, err := tsdb.NewLeveledCompactor(context.Background(), nil, log, []int64{h.o.block.Milliseconds()}, nil, nil)
	if err != nil {
		return fmt.Errorf("cut block %s: %w", name, err)
	}
	if _, err := c.Write(h.dir, b, b.MinTime(), at, nil); err != nil {
		return fmt.Errorf("cut block %s: %w", name, err)
	}
	return nil
}

// replace closes the database and opens it again. prepare is called with the database before, and
// what it returns between the two.
func (h *History) replace(prepare func(*tsdb.DB) (func() error, error)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	db, err := h.usable()
	if err != nil {
		return err
	}
	between, err := prepare(db)
	if err != nil {
		return err
	}
	err = db.Close()
	err = errors.Join(err, between())
	return errors.Join(err, h.reopen())
}

// reopen opens the database; mu is held for writing.
func (h *History) reopen() error {
	h.db, h.away = h.openRepaired()
	h.writing.Lock()
	defer h.writing.Unlock()
	clear(h.series)
	if h.away != nil {
		return fmt.Errorf("open the metric history again: %w", h.away)
	}
	return nil
}

// comeBack tries to open a database again that could not be opened while the history was in use.
func (h *History) comeBack(cause error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.db != nil {
		return cause
	}
	if !h.isBehind(true) {
		return cause
	}
	return h.reopen()
}
