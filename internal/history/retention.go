package history

import (
	"cmp"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"slices"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
)

// releaseAfterCompaction gives the memory back that writing a block has taken, some 30 MB of
// buffers each two hours, as soon as the set of blocks has changed. The collector would keep it
// for minutes, and an idle agent would look four times its size.
func (h *History) releaseAfterCompaction(blocks []*tsdb.Block) {
	if n := int64(len(blocks)); h.blocks.Swap(n) != n {
		go debug.FreeOSMemory()
	}
}

// expired picks the blocks to delete, each time they are read: those too old and those too much.
//
// The database's own rule drops all that is older than the retention before the newest block, so
// that a clock wrong by a month for three hours would cost the whole history. Here the newer
// blocks must hold enough measurements first.
func (h *History) expired(blocks []*tsdb.Block) map[ulid.ULID]struct{} {
	h.releaseAfterCompaction(blocks)
	drop := map[ulid.ULID]struct{}{}
	slices.SortFunc(blocks, func(a, b *tsdb.Block) int { return cmp.Compare(b.Meta().MaxTime, a.Meta().MaxTime) })
	retention := h.o.Retention.Milliseconds()
	enough := min(retention, h.o.settled.Milliseconds())
	var covered, bytes int64
	for _, part := range headParts {
		bytes += sizeOf(filepath.Join(h.dir, part))
	}
	for _, b := range blocks {
		m := b.Meta()
		if m.Compaction.Deletable {
			drop[m.ULID] = struct{}{}
			continue
		}
		bytes += b.Size()
		tooOld := blocks[0].Meta().MaxTime-m.MaxTime >= retention
		if tooOld && covered >= enough || bytes > h.o.MaxBytes {
			drop[m.ULID] = struct{}{}
		}
		if !tooOld {
			covered += m.MaxTime - m.MinTime
		}
	}
	return drop
}

// sizeOf is the size of all files below dir; what vanishes meanwhile does not count.
func sizeOf(dir string) int64 {
	var total int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}
