package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Verify hashes every stored file and compares it with the manifest.
func (s *Store) Verify(ctx context.Context, c Checkpoint) error {
	if err := c.check(); err != nil {
		return err
	}
	inUse, err := lock(ctx, c.Dir, unix.LOCK_SH)
	if err != nil {
		return fmt.Errorf("verify checkpoint: %w", err)
	}
	defer inUse.unlock()
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return fmt.Errorf("verify checkpoint: %w", err)
	}
	defer func() { _ = root.Close() }()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for _, f := range c.Files {
		if f.Type == TypeFile {
			group.Go(func() error { return verifyFile(ctx, c, root, f) })
		}
	}
	return group.Wait()
}

func verifyFile(ctx context.Context, c Checkpoint, root *os.Root, f File) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	src, err := openStored(c, root, f)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	got, err := hashFile(ctx, src, nil)
	if err != nil {
		return fmt.Errorf("verify %s: %w", f.Path, err)
	}
	return matches(c, f, got)
}

// openStored opens the copy of f; neither it nor a folder above it may be a link out of the checkpoint.
func openStored(c Checkpoint, root *os.Root, f File) (*os.File, error) {
	src, err := root.OpenFile(f.Stored, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, damaged(c.ID, "the copy of %s cannot be opened: %v", f.Path, err)
	}
	if info, err := src.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(damaged(c.ID, "the copy of %s is not a regular file", f.Path), src.Close())
	}
	return src, nil
}

func matches(c Checkpoint, f File, got copied) error {
	if got.size != f.Size || got.sum != f.SHA256 {
		return damaged(c.ID, "the copy of %s has another hash than when it was taken", f.Path)
	}
	return nil
}
