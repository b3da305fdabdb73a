package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/internal/config"
)

const tempPrefix = ".tmp-"

// Take copies the state into a new checkpoint. A second call with the same key returns the
// checkpoint of the first; what a crash left half done is removed and done anew. State paths
// that do not exist are recorded as missing. progress, which may be nil, is told bytes.
func (s *Store) Take(ctx context.Context, key, component string, kind Kind, state config.State, progress func(done, total int64)) (Checkpoint, error) {
	c, err := s.take(ctx, key, component, kind, state, progress)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("take a checkpoint of %s: %w", component, err)
	}
	return c, nil
}

func (s *Store) take(ctx context.Context, key, component string, kind Kind, state config.State, progress func(done, total int64)) (Checkpoint, error) {
	if err := checkName(component, kind); err != nil {
		return Checkpoint{}, err
	}
	paths, err := cleanPaths(state.Paths)
	if err != nil {
		return Checkpoint{}, err
	}
	if err := checkPatterns(state.Exclude); err != nil {
		return Checkpoint{}, err
	}
	home := filepath.Join(s.root, component)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return Checkpoint{}, err
	}
	temp, held, err := takeTemp(ctx, home, key)
	if err != nil {
		return Checkpoint{}, err
	}
	defer held.unlock()
	if c, ok, err := s.byKey(component, key); err != nil || ok {
		return c, errors.Join(err, os.RemoveAll(temp))
	}
	sweep(home)
	c := Checkpoint{
		Component: component, Kind: kind, Key: key, Taken: time.Now().UTC(), Dir: temp,
		Paths: paths, Exclude: state.Exclude,
	}
	if err := s.fill(ctx, &c, state.Before, progress); err != nil {
		return Checkpoint{}, errors.Join(err, os.RemoveAll(temp))
	}
	return s.publish(ctx, c, home)
}

// fill runs the command that flushes buffers, then copies.
func (s *Store) fill(ctx context.Context, c *Checkpoint, before *config.Command, progress func(done, total int64)) error {
	if before != nil && len(before.Argv) > 0 {
		spec := command.Spec{Argv: before.Argv, Dir: before.Dir, Env: before.Env, Timeout: before.Timeout}
		if _, err := command.Run(ctx, spec); err != nil {
			return fmt.Errorf("command before the checkpoint: %w", err)
		}
	}
	t := &taking{c: c, have: map[string]taken{}, meter: newMeter(0, progress)}
	if err := t.run(ctx); err != nil {
		return err
	}
	t.meter.finish()
	return nil
}

// publish gives a finished copy its place in the sequence.
func (s *Store) publish(ctx context.Context, c Checkpoint, home string) (Checkpoint, error) {
	sequence, err := lock(ctx, home, unix.LOCK_EX)
	if err != nil {
		return Checkpoint{}, err
	}
	defer sequence.unlock()
	next, err := nextNumber(home)
	if err != nil {
		return Checkpoint{}, err
	}
	c.ID = fmt.Sprintf("%s-%06d-%s-%s-%s", c.Component, next, c.Taken.Format("20060102T150405Z"), c.Kind, keyHash(c.Key))
	if err := saveManifest(c); err != nil {
		return Checkpoint{}, err
	}
	if err := syncTree(c.Dir, len(c.Files)+2); err != nil {
		return Checkpoint{}, fmt.Errorf("sync: %w", err)
	}
	dir := filepath.Join(home, c.ID)
	if err := os.Rename(c.Dir, dir); err != nil {
		return Checkpoint{}, err
	}
	c.Dir = dir
	if err := syncPath(home); err != nil {
		return Checkpoint{}, fmt.Errorf("sync: %w", err)
	}
	return c, nil
}

// takeTemp makes and locks the folder in which the checkpoint of key is built. Of two calls
// with one key the second waits for the first.
func takeTemp(ctx context.Context, home, key string) (string, *folderLock, error) {
	temp := filepath.Join(home, tempPrefix+keyHash(key))
	for {
		if err := os.Mkdir(temp, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", nil, err
		}
		held, err := lock(ctx, temp, unix.LOCK_EX)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		if err := emptyFolder(temp); err != nil {
			held.unlock()
			return "", nil, err
		}
		return temp, held, nil
	}
}

func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes temporary folders of crashed calls; those in use are locked.
func sweep(home string) {
	entries, err := os.ReadDir(home)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		path := filepath.Join(home, e.Name())
		if held, err := tryLock(path, unix.LOCK_EX); err == nil {
			_ = os.RemoveAll(path)
			held.unlock()
		}
	}
}

// keyHash is the part of a checkpoint's name by which its key is found again.
func keyHash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:6])
}

// checkSpace refuses a copy that would fill the disk: that would be a fault of its own.
func checkSpace(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	free := int64(st.Bavail) * st.Bsize //nolint:unconvert // the types differ between architectures
	if need > free {
		err := fmt.Errorf("%d MB are needed in %s and %d MB are free", need>>20, dir, free>>20)
		return shivx.Hint(err, "free some space, move paths.var to a larger disk, lower state.keep, or exclude what need not be kept")
	}
	return nil
}
