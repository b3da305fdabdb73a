package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// readableMeta says what is wrong with the description of a block. The database leaves such a
// block where it is and complains of it each minute.
func readableMeta(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil {
		return err
	}
	var meta tsdb.BlockMeta
	if err := json.Unmarshal(b, &meta); err != nil {
		return fmt.Errorf("read meta.json: %w", err)
	}
	if meta.Version != 1 || meta.ULID.String() != filepath.Base(dir) || meta.MinTime >= meta.MaxTime {
		return errors.New("meta.json is not that of this block")
	}
	return nil
}

// opens says why a block cannot be opened.
func (h *History) opens(dir string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("open the block: %v", p)
		}
	}()
	b, err := tsdb.OpenBlock(slog.New(slog.DiscardHandler), dir, nil, nil)
	if err != nil {
		return err
	}
	return b.Close()
}

// setAsideBlocks sets those blocks aside that check finds bad, and says whether there were any.
func (h *History) setAsideBlocks(check func(dir string) error) bool {
	found := false
	for _, dir := range blockDirs(h.dir) {
		if err := check(dir); err != nil && !notDamage(err) {
			found = h.setAside("a block", err, filepath.Base(dir)) || found
		}
	}
	return found
}

// betweenChecks is the least time between two searches for damaged blocks.
const betweenChecks = time.Minute

// setAsideDamaged reads all blocks and sets those aside that cannot be read. Opening a block does
// not read its measurements, so that damage shows in a query.
func (h *History) setAsideDamaged(ctx context.Context) bool {
	h.checking.Lock()
	defer h.checking.Unlock()
	if now := h.o.now(); !h.lastCheck.IsZero() && now.Sub(h.lastCheck) < betweenChecks {
		return false
	}
	h.lastCheck = h.o.now()
	bad := map[string]error{}
	for _, dir := range blockDirs(h.dir) {
		if err := readBlock(ctx, dir); err != nil && ctx.Err() == nil && !notDamage(err) {
			bad[filepath.Base(dir)] = err
		}
	}
	if len(bad) == 0 {
		return false
	}
	moved := false
	err := h.replace(func(*tsdb.DB) (func() error, error) {
		return func() error {
			for name, cause := range bad {
				moved = h.setAside("a block", cause, name) || moved
			}
			return nil
		}, nil
	})
	if err != nil {
		h.log.Error("the metric history could not be repaired", "error", err)
	}
	return moved && err == nil
}

// readBlock reads all measurements of a block.
func readBlock(ctx context.Context, dir string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read the block: %v", p)
		}
	}()
	b, err := tsdb.OpenBlock(slog.New(slog.DiscardHandler), dir, nil, nil)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	q, err := tsdb.NewBlockQuerier(b, math.MinInt64/2, math.MaxInt64/2)
	if err != nil {
		return err
	}
	defer func() { _ = q.Close() }()
	set := q.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchNotEqual, model.MetricNameLabel, ""))
	return readAll(ctx, set)
}

func readAll(ctx context.Context, set storage.SeriesSet) error {
	var it chunkenc.Iterator
	for set.Next() {
		it = set.At().Iterator(it)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		}
		if err := errors.Join(it.Err(), ctx.Err()); err != nil {
			return err
		}
	}
	return set.Err()
}
