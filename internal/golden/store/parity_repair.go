package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/reedsolomon"

	"github.com/shivx/shivx/internal/golden/format"
)

// ErrUnrepairable says that the damage is more than the parity bears, or that there is no parity.
var ErrUnrepairable = errors.New("cannot be repaired")

// quarantineDir keeps what was damaged, or did not belong where it was. Nothing there is part of the
// store; a copy in it may help a repair.
const quarantineDir = "quarantine/"

// mended is an object with the chunks that had to be rebuilt.
type mended struct {
	h *parityHead
	// sources are the damaged object and copies of it, as far as there are any.
	sources []Object
	// from is the source of each good chunk of data; chunks are those that were rebuilt.
	from   []int
	chunks map[int][]byte
}

var _ Object = (*mended)(nil)

func (m *mended) Size() int64 { return m.h.size }

// Close closes the sources.
func (m *mended) Close() error {
	var errs []error
	for _, s := range m.sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

func (m *mended) ReadAt(p []byte, at int64) (int, error) {
	n := 0
	for n < len(p) && at < m.h.size {
		i := at / int64(m.h.chunk)
		begin := i * int64(m.h.chunk)
		piece := p[n:min(int64(len(p)), int64(n)+min(begin+int64(m.h.chunk), m.h.size)-at)]
		if chunk, ok := m.chunks[int(i)]; ok {
			copy(piece, chunk[at-begin:])
		} else if err := readAt(m.sources[m.from[i]], piece, at); err != nil {
			return n, err
		}
		n, at = n+len(piece), at+int64(len(piece))
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// repair replaces an object by what its parity makes of it, after that has been compared with what the
// object's name or signature stands for. Whoever calls it holds the exclusive lock. The error is
// ErrUnrepairable where the parity does not suffice; then nothing has changed.
func (s *Store) repair(ctx context.Context, name string) error {
	sidecar, h, at, err := s.openParity(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: it has no parity", name, ErrUnrepairable)
	}
	if errors.Is(err, format.ErrDamaged) {
		return fmt.Errorf("%w: %w", ErrUnrepairable, err)
	}
	if err != nil {
		return err
	}
	defer sidecar.Close()
	m := &mended{h: h, chunks: make(map[int][]byte)}
	defer m.Close()
	if m.sources, err = s.sources(ctx, name); err != nil {
		return err
	}
	if err := m.rebuild(ctx, sidecar, at); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	v := s.view(overlay{Backend: s.backend, name: name, object: m}, nil)
	damages, err := v.checkObject(ctx, name, func(int64) {})
	if err != nil {
		return err
	}
	if len(damages) > 0 {
		return fmt.Errorf("%s: %w: what its parity gives is not what it should be either: %w", name, ErrUnrepairable, damages[0].Err)
	}
	return s.replace(ctx, name, m)
}

// overlay is a backend with another object under one name. It lends the object: Close leaves it open.
type overlay struct {
	Backend
	name   string
	object Object
}

type lent struct{ Object }

func (lent) Close() error { return nil }

// Open returns the other object for its name.
func (o overlay) Open(ctx context.Context, name string) (Object, error) {
	if name == o.name {
		return lent{o.object}, nil
	}
	return o.Backend.Open(ctx, name)
}

// sources opens an object and the copies of it in quarantine.
func (s *Store) sources(ctx context.Context, name string) ([]Object, error) {
	names := []string{name}
	for info, err := range s.backend.List(ctx, quarantineDir+name) {
		if err != nil {
			return nil, err
		}
		names = append(names, info.Name)
	}
	var all []Object
	for _, n := range names {
		o, err := s.backend.Open(ctx, n)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			for _, o := range all {
				_ = o.Close()
			}
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// rebuild finds a good source for each chunk and computes those that have none, row after row.
func (m *mended) rebuild(ctx context.Context, sidecar Object, at int64) error {
	h := m.h
	m.from = make([]int, h.data*h.rows)
	buf := make([]byte, h.chunk)
	var bad []int
	for i := range m.from {
		if err := ctx.Err(); err != nil {
			return err
		}
		if m.from[i] = m.good(buf, i/h.rows, i%h.rows); m.from[i] < 0 {
			bad = append(bad, i)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	code, err := reedsolomon.New(h.data, h.parity)
	if err != nil {
		return err
	}
	rows := make(map[int]bool)
	lost := 0
	for _, i := range bad {
		row := i % h.rows
		if rows[row] {
			continue
		}
		rows[row] = true
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := m.rebuildRow(code, sidecar, at, row)
		if err != nil {
			return err
		}
		lost += n
	}
	if lost > 0 {
		return fmt.Errorf("%w: %d of its %d chunks of %d bytes are lost, more than the parity bears", ErrUnrepairable, lost, len(m.from), h.chunk)
	}
	return nil
}

// good returns the first source that has the chunk of data as it was, and -1 if none has. A failing
// disk is as bad as a wrong byte.
func (m *mended) good(buf []byte, shard, row int) int {
	for i, source := range m.sources {
		if m.h.read(source, buf, shard, row) == nil && sha256.Sum256(buf) == *m.h.sum(shard, row) {
			return i
		}
	}
	if len(m.sources) == 0 && m.h.at(shard, row) >= m.h.size {
		return 0 // only zeros, which nobody will read
	}
	return -1
}

// rebuildRow computes the bad chunks of data in a row, or says how many of them are lost.
func (m *mended) rebuildRow(code reedsolomon.Encoder, sidecar Object, at int64, row int) (int, error) {
	h := m.h
	shards := make([][]byte, h.data+h.parity)
	var bad []int
	whole := 0
	for i := range shards {
		chunk := make([]byte, h.chunk)
		ok := false
		if i < h.data {
			ok = m.from[i*h.rows+row] >= 0 && (h.at(i, row) >= h.size || h.read(m.sources[m.from[i*h.rows+row]], chunk, i, row) == nil)
			if !ok {
				bad = append(bad, i)
			}
		} else {
			ok = readAt(sidecar, chunk, at+h.at(i, row)) == nil && sha256.Sum256(chunk) == *h.sum(i, row)
		}
		if ok {
			shards[i] = chunk
			whole++
		}
	}
	if whole < h.data {
		return len(bad), nil
	}
	if err := code.ReconstructData(shards); err != nil {
		return 0, err
	}
	for _, i := range bad {
		if sha256.Sum256(shards[i]) != *h.sum(i, row) {
			return 0, fmt.Errorf("%w: a chunk that its parity gives has not the hash that it should have", ErrUnrepairable)
		}
		m.chunks[i*h.rows+row] = shards[i]
	}
	return 0, nil
}
