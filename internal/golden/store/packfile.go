package store

import (
	"context"
	"fmt"
	"io"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx/internal/golden/format"
)

// indexTail is how many bytes of a pack's end are read at first: mostly the index is in it.
const indexTail = 64 << 10

// loaders is how many indexes are read at a time, which also hides the delay of a remote store.
const loaders = 8

// packIndex is the index of a pack, checked against the pack's name.
type packIndex struct {
	// raw is the index as it stands in the pack, at the byte at.
	raw    []byte
	at     int64
	blocks iter.Seq2[int64, format.PackBlock]
}

// readIndex reads the index of a pack from o. The error is ErrDamaged, or that of reading.
func readIndex(o Object, name format.Hash) (packIndex, error) {
	size := o.Size()
	if size < int64(len(format.PackMagic)+format.PackTrailer) {
		return packIndex{}, fmt.Errorf("%w: the pack has only %d bytes", format.ErrDamaged, size)
	}
	tail := make([]byte, min(size, indexTail))
	if err := readAt(o, tail, size-int64(len(tail))); err != nil {
		return packIndex{}, err
	}
	at, err := format.ParsePackTrailer(tail[len(tail)-format.PackTrailer:], size)
	if err != nil {
		return packIndex{}, err
	}
	begin := size - int64(len(tail))
	if at < begin {
		whole := make([]byte, size-at)
		copy(whole[begin-at:], tail)
		if err := readAt(o, whole[:begin-at], at); err != nil {
			return packIndex{}, err
		}
		tail, begin = whole, at
	}
	raw := tail[at-begin : len(tail)-format.PackTrailer]
	if format.PackName(raw) != name {
		return packIndex{}, fmt.Errorf("%w: the pack's index is not that of its name", format.ErrDamaged)
	}
	blocks, err := format.ParsePackIndex(raw, at)
	return packIndex{raw: raw, at: at, blocks: blocks}, err
}

// readAt fills p; a file that has become shorter is an error.
func readAt(o io.ReaderAt, p []byte, at int64) error {
	n, err := o.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// packIndex reads the index of a pack.
func (s *Store) packIndex(ctx context.Context, name format.Hash) (packIndex, error) {
	o, err := s.backend.Open(ctx, packName(name))
	if err != nil {
		return packIndex{}, err
	}
	defer func() { _ = o.Close() }()
	return readIndex(o, name)
}

// loadIndex adds the blocks of the packs to x; the number of a pack is its place in names, counted from
// first. What bad returns for a pack that cannot be read ends the loading.
func (s *Store) loadIndex(ctx context.Context, x *index, first int, names []format.Hash, bad func(format.Hash, error) error) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(loaders)
	for i, name := range names {
		group.Go(func() error {
			p, err := s.packIndex(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				return bad(name, fmt.Errorf("read the index of %s: %w", packName(name), err))
			}
			for at, b := range p.blocks {
				if x.copies || x.find(&b.ID) == nil {
					r := newRecord(at, &b, first+i)
					x.add(&r)
				}
			}
			return nil
		})
	}
	return group.Wait()
}
