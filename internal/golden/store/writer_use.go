package store

import (
	"errors"

	"github.com/shivx/shivx/internal/golden/format"
)

// Use says whether the store has the block already, or a lane stores it; then the golden needs it.
func (w *Writer) Use(h format.Hash) bool {
	id := w.s.blockID(h)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.use(&id) || w.prove(&id, h)
}

func (w *Writer) use(id *format.Hash) bool {
	r := w.index.find(id)
	if r == nil || w.packs[r.packNumber()].foreign {
		return false
	}
	w.packs[r.packNumber()].used = true
	return true
}

// prove is use for a block of a pack that no trusted golden names: it reads the block. The caller holds mu,
// which is free meanwhile.
func (w *Writer) prove(id *format.Hash, h format.Hash) bool {
	r := w.index.find(id)
	if r == nil {
		return false
	}
	seen, pack := *r, w.packs[r.packNumber()].name
	w.mu.Unlock()
	buf := w.s.buffers.Get().(*[]byte)
	plain, err := w.s.block(w.ctx, *buf, pack, &seen, h)
	if err == nil {
		*buf = plain
	}
	w.s.buffers.Put(buf)
	w.mu.Lock()
	if r = w.index.find(id); w.packs[r.packNumber()].foreign { // still
		p := &w.packs[r.packNumber()]
		if err != nil {
			if !p.doubted && errors.Is(err, format.ErrDamaged) {
				p.doubted = true
				w.s.log.Warn("a pack that no golden needs has blocks that are not what it says; they are stored anew", "pack", packName(pack), "error", err)
			}
			return false
		}
		if p.vouched == 0 {
			p.vouched = len(w.packs)
			w.packs = append(w.packs, packState{name: pack})
			p = &w.packs[r.packNumber()]
		}
		r.pack = uint32(p.vouched)<<1 | r.pack&1
	}
	return w.use(id)
}

// claim says that the caller is to store the block, in its pack.
func (w *Writer) claim(id *format.Hash, h format.Hash, pack int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || w.use(id) || w.prove(id, h) {
		return false
	}
	if r := w.index.find(id); r != nil {
		r.pack = uint32(pack) << 1
	} else {
		w.index.add(&record{id: *id, pack: uint32(pack) << 1})
	}
	w.packs[pack].used = true
	return true
}
