package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/shivx/shivx/internal/golden/format"
)

// content makes n bytes that depend on seed alone; every third is text.
func content(seed uint64, n int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	r := rand.NewChaCha8(key)
	b := make([]byte, n, n+64)
	if seed%3 != 0 {
		_, _ = r.Read(b) // never fails
		return b
	}
	for b = b[:0]; len(b) < n; {
		b = strconv.AppendInt(append(b, "line "...), int64(len(b)), 10)
		b = strconv.AppendUint(append(b, " of a log that says "...), r.Uint64()%1000, 10)
		b = append(b, '\n')
	}
	return b[:n]
}

// tree is what a backup of a test holds: paths and the content of files.
type tree map[string][]byte

func someTree(r *rand.Rand, files int) tree {
	tr := tree{}
	for range files {
		n := r.IntN(64 << 10)
		switch r.IntN(20) {
		case 0:
			n = r.IntN(3 << 20)
		case 1:
			n = 0
		}
		tr[fmt.Sprintf("/tree/%02x/%06x", r.IntN(16), r.IntN(1<<24))] = content(r.Uint64N(1<<40), n)
	}
	return tr
}

func testHeader(set string) format.Header {
	return format.Header{Set: set, Host: "test", Kind: format.KindBackup, Roots: []string{"/tree"}}
}

// backup stores the tree with as many lanes.
func backup(ctx context.Context, s *Store, tr tree, h format.Header, lanes int) (*Golden, error) {
	w, err := s.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	paths := slices.SortedFunc(maps.Keys(tr), format.ComparePaths)
	work := make(chan string)
	done := make(chan error, lanes)
	for range lanes {
		l := w.Lane()
		go func() {
			var err error
			for p := range work {
				err = errors.Join(err, putFile(ctx, w, l, tr[p]))
			}
			done <- errors.Join(err, l.Close())
		}()
	}
	for _, p := range paths {
		work <- p
	}
	close(work)
	for range lanes {
		err = errors.Join(err, <-done)
	}
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		if err := w.Entry(entryOf(p, tr[p])); err != nil {
			return nil, err
		}
	}
	return w.Commit(ctx, h)
}

func blocksOf(data []byte) [][]byte { return slices.Collect(slices.Chunk(data, format.BlockSize)) }

func putFile(ctx context.Context, w *Writer, l *Lane, data []byte) error {
	for _, b := range blocksOf(data) {
		if h := format.Sum(b); !w.Use(h) {
			if err := l.Put(ctx, h, b); err != nil {
				return err
			}
		}
	}
	return nil
}

func entryOf(path string, data []byte) *format.Entry {
	e := &format.Entry{
		Path: path, Type: format.TypeFile, Mode: 0o644, ModTime: time.Unix(1700000000, 123).UTC(),
		Size: int64(len(data)), Sum: format.Sum(data),
	}
	if blocks := blocksOf(data); len(blocks) > 1 {
		for _, b := range blocks {
			e.Blocks = append(e.Blocks, format.Sum(b))
		}
	}
	return e
}

// read returns all that a golden holds.
func read(ctx context.Context, g *Golden) (tree, error) {
	tr := tree{}
	var buf []byte
	for e, err := range g.Entries(ctx) {
		if err != nil {
			return nil, err
		}
		data := []byte{}
		for i := range e.BlockCount() {
			if buf, err = g.Block(ctx, buf, e.Block(i)); err != nil {
				return nil, fmt.Errorf("%s: %w", e.Path, err)
			}
			data = append(data, buf...)
		}
		tr[e.Path] = data
	}
	return tr, nil
}
