package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/shivx/shivx"
)

// replace writes an object anew. What was there goes to quarantine first: a process that is killed
// between the removal of the old and the naming of the new leaves what the next repair needs.
func (s *Store) replace(ctx context.Context, name string, m *mended) error {
	file, err := s.backend.Create(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = file.Discard() }()
	if err := copyTo(ctx, file, m); err != nil {
		return fmt.Errorf("repair %s: %w", name, err)
	}
	if strings.HasPrefix(name, goldensDir) { // it is replaced at once
		if err := s.backend.Sync(ctx); err != nil {
			return err
		}
		return file.Publish(ctx, name)
	}
	if err := s.quarantine(ctx, name); err != nil {
		return err
	}
	if err := file.Publish(ctx, name); err != nil {
		return err
	}
	return s.backend.Sync(ctx)
}

// quarantine moves an object away; one that does not exist is no error. All that was written before is
// durable afterwards.
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
	if err := copyTo(ctx, file, readable{object}); err != nil {
		return fmt.Errorf("keep a copy of %s: %w", name, err)
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
	return s.backend.Remove(ctx, name)
}

// readable has zeros where a disk cannot be read.
type readable struct{ Object }

func (r readable) ReadAt(p []byte, at int64) (int, error) {
	const sector = 4096
	n, err := r.Object.ReadAt(p, at)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	for i := 0; i < len(p); i += sector {
		piece := p[i:min(i+sector, len(p))]
		if readAt(r.Object, piece, at+int64(i)) != nil {
			copy(piece, make([]byte, len(piece)))
		}
	}
	return len(p), nil
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
	s := &Store{backend: b, log: slog.New(slog.DiscardHandler)}
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
