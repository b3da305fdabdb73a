package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// replace writes an object anew, in place of what is there. It is only called with one that was compared
// with what its name or its signature stands for, and each chunk is compared once more while it is written.
func (s *Store) replace(ctx context.Context, name string, m *mended) error {
	file, err := s.backend.Create(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = file.Discard() }()
	if err := m.copyTo(ctx, file); err != nil {
		return fmt.Errorf("repair %s: %w", name, err)
	}
	if err := s.backend.Sync(ctx); err != nil {
		return err
	}
	if pack, ok := parsePackName(name); ok {
		defer s.files.forget([]format.Hash{pack})
	}
	if err := file.Replace(ctx, name); err != nil {
		return err
	}
	return s.backend.Sync(ctx)
}

// copyTo writes the mended object.
func (m *mended) copyTo(ctx context.Context, w io.Writer) error {
	buf := make([]byte, m.h.chunk)
	for i := range m.from {
		if err := ctx.Err(); err != nil {
			return err
		}
		shard, row := i/m.h.rows, i%m.h.rows
		n := min(int64(m.h.chunk), m.h.size-m.h.at(shard, row))
		if n <= 0 {
			break
		}
		chunk, ok := m.chunks[i]
		if !ok {
			if err := m.h.read(m.sources[m.from[i]], buf, shard, row); err != nil {
				return err
			}
			if sha256.Sum256(buf) != *m.h.sum(shard, row) {
				return errors.New("what was whole a moment ago reads otherwise now: nothing is changed")
			}
			chunk = buf
		}
		if _, err := w.Write(chunk[:n]); err != nil {
			return err
		}
	}
	return nil
}

// quarantine moves an object away; one that does not exist is no error. One that cannot be read to its end
// stays where it is: another time it may be. All that was written before is durable afterwards.
func (s *Store) quarantine(ctx context.Context, name string) error {
	object, err := s.backend.Open(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return s.backend.Sync(ctx)
	}
	if err != nil {
		return err
	}
	defer object.Close()
	file, err := s.backend.Create(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = file.Discard() }()
	if err := copyTo(ctx, file, object); err != nil {
		return fmt.Errorf("keep a copy of %s, which stays: %w", name, err)
	}
	if err := s.backend.Sync(ctx); err != nil {
		return err
	}
	for n := 1; ; n++ {
		err := file.Publish(ctx, fmt.Sprintf("%s%s.%d", quarantineDir, name, n))
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := s.backend.Sync(ctx); err != nil {
		return err
	}
	if pack, ok := parsePackName(name); ok {
		s.files.forget([]format.Hash{pack})
	}
	return s.backend.Remove(ctx, name)
}

func copyTo(ctx context.Context, w io.Writer, o Object) error {
	buf := make([]byte, min(o.Size(), flushSize))
	for at := int64(0); at < o.Size(); at += int64(len(buf)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf = buf[:min(int64(len(buf)), o.Size()-at)]
		if err := readAt(o, buf, at); err != nil {
			return err
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// RepairIdentity repairs the two small files without which a store cannot be opened, where they are
// damaged and have parity. It returns the names of those that it has repaired.
func RepairIdentity(ctx context.Context, b Backend) (names []string, err error) {
	release, err := lock(ctx, b, Exclusive)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	s := &Store{backend: b, log: slog.New(slog.DiscardHandler), files: newFiles(b)}
	for _, name := range []string{identityName, keyName} {
		damaged, err := s.differs(ctx, name)
		if err != nil {
			return names, err
		}
		if !damaged {
			continue
		}
		if err := s.repair(ctx, name); err != nil {
			return names, shivx.Hint(err, "put "+name+" back from a copy of the store")
		}
		names = append(names, name)
	}
	return names, nil
}
