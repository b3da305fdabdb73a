package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"

	"github.com/klauspost/reedsolomon"
	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx"
)

// parityBatch is how many sidecars are written before one Sync lets them be named.
const parityBatch = 128

// ParityOptions say how much damage can be repaired.
type ParityOptions struct {
	// Data and Parity are the numbers of shards. The parity of an object needs Parity/Data of its
	// length, and repairs as much damage. Zero: 20 and 2.
	Data, Parity int
	// Progress, if not nil, is told of bytes that were read, by one goroutine at a time.
	Progress func(bytes int64)
}

func (o ParityOptions) normal() (ParityOptions, error) {
	if o.Data == 0 {
		o.Data = 20
	}
	if o.Parity == 0 {
		o.Parity = 2
	}
	if o.Data < 1 || o.Parity < 1 || o.Data+o.Parity > parityMost {
		return o, shivx.Hint(fmt.Errorf("parity of %d data and %d parity shards", o.Data, o.Parity),
			"at least one of each, and no more than 256 together; 20 and 2 repair a tenth")
	}
	return o, nil
}

// ParityResult is what Protect has done.
type ParityResult struct {
	// Objects have got parity, of which Bytes were read; Parity is the length of the sidecars.
	Objects       int
	Bytes, Parity int64
	// Damaged objects have got none: it would keep the damage.
	Damaged []Damage
}

// Protect gives parity to every object of the store that has none. It locks the store as readers do.
func (s *Store) Protect(ctx context.Context, o ParityOptions) (ParityResult, error) {
	var result ParityResult
	o, err := o.normal()
	if err != nil {
		return result, err
	}
	release, err := s.Lock(ctx, Shared)
	if err != nil {
		return result, err
	}
	err = s.protect(ctx, o, &result)
	return result, errors.Join(err, release())
}

// protect is Protect for one who has a lock.
func (s *Store) protect(ctx context.Context, o ParityOptions, result *ParityResult) error {
	have := make(map[string]bool)
	for info, err := range s.backend.List(ctx, parityDir) {
		if err != nil {
			return fmt.Errorf("list the parity: %w", err)
		}
		have[info.Name] = true
	}
	var names []ObjectInfo
	flush := func() error {
		err := s.protectBatch(ctx, names, o, result)
		names = names[:0]
		return err
	}
	for info, err := range s.backend.List(ctx, "") {
		if err != nil {
			return fmt.Errorf("list the store: %w", err)
		}
		if !protectable(info.Name) || have[parityName(info.Name)] || info.Size == 0 {
			continue
		}
		if names = append(names, info); len(names) == parityBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// sidecar is one that is written and has no name yet.
type sidecar struct {
	file File
	name string
}

// protectBatch writes the sidecars of objects, and names them when all of them are durable.
func (s *Store) protectBatch(ctx context.Context, objects []ObjectInfo, o ParityOptions, result *ParityResult) (err error) {
	if len(objects) == 0 {
		return nil
	}
	var mu sync.Mutex
	var ready []sidecar
	defer func() {
		for _, r := range ready {
			err = errors.Join(err, r.file.Discard())
		}
	}()
	group, all := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, info := range objects {
		group.Go(func() error {
			file, length, damages, err := s.encodeOne(all, info, o)
			mu.Lock()
			defer mu.Unlock()
			result.Damaged = append(result.Damaged, damages...)
			if file == nil || err != nil {
				return err
			}
			ready = append(ready, sidecar{file, parityName(info.Name)})
			result.Objects++
			result.Bytes += info.Size
			result.Parity += length
			if o.Progress != nil {
				o.Progress(info.Size)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := s.backend.Sync(ctx); err != nil {
		return err
	}
	for _, r := range ready {
		if err := r.file.Publish(ctx, r.name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// asWritten is checkObject without the ids of blocks, which takes half of its time.
func (s *Store) asWritten(ctx context.Context, name string) ([]Damage, error) {
	if h, ok := parsePackName(name); ok {
		return s.checkPack(ctx, h, nil, nil, func(int64) {})
	}
	return s.checkObject(ctx, name, func(int64) {})
}

// encodeOne writes the sidecar of an object, after it has seen that the object is whole.
func (s *Store) encodeOne(ctx context.Context, info ObjectInfo, o ParityOptions) (File, int64, []Damage, error) {
	if damages, err := s.asWritten(ctx, info.Name); err != nil || len(damages) > 0 {
		return nil, 0, damages, err
	}
	object, err := s.backend.Open(ctx, info.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil, nil
	}
	if err != nil {
		return nil, 0, nil, err
	}
	defer object.Close()
	h := planParity(info.Name, object.Size(), o)
	shards, err := h.encode(ctx, object)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("parity of %s: %w", info.Name, err)
	}
	file, err := s.writeSidecar(ctx, h, shards)
	return file, 2*int64(h.length()) + h.body() + int64(parityTrailer), nil, err
}

func (s *Store) writeSidecar(ctx context.Context, h *parityHead, shards [][]byte) (File, error) {
	file, err := s.backend.Create(ctx)
	if err != nil {
		return nil, err
	}
	head := h.bytes()
	pieces := append([][]byte{head}, shards...)
	for _, p := range append(pieces, head, h.trailer()) {
		if _, err := file.Write(p); err != nil {
			return nil, errors.Join(err, file.Discard())
		}
	}
	return file, nil
}

// encode reads the object once, from its begin to its end, fills the sums and returns the parity shards.
func (h *parityHead) encode(ctx context.Context, object Object) ([][]byte, error) {
	code, err := reedsolomon.New(h.data, h.parity, reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		return nil, err
	}
	shards := make([][]byte, h.parity)
	for i := range shards {
		shards[i] = make([]byte, h.rows*h.chunk)
	}
	chunk, row := make([]byte, h.chunk), make([][]byte, h.parity)
	for shard := range h.data {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for r := range h.rows {
			if err := h.read(object, chunk, shard, r); err != nil {
				return nil, err
			}
			*h.sum(shard, r) = sha256.Sum256(chunk)
			for i := range row {
				row[i] = shards[i][r*h.chunk:][:h.chunk]
			}
			if err := code.EncodeIdx(chunk, shard, row); err != nil {
				return nil, err
			}
		}
	}
	for i := range shards {
		for r := range h.rows {
			*h.sum(h.data+i, r) = sha256.Sum256(shards[i][r*h.chunk:][:h.chunk])
		}
	}
	return shards, nil
}

// read fills chunk with that of the data shard; behind the object's end are zeros.
func (h *parityHead) read(object Object, chunk []byte, shard, row int) error {
	at := h.at(shard, row)
	n := max(0, min(int64(len(chunk)), h.size-at))
	for i := range chunk[n:] {
		chunk[n+int64(i)] = 0
	}
	if n == 0 {
		return nil
	}
	return readAt(object, chunk[:n], at)
}
