package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/restore"
	"github.com/shivx/shivx/internal/golden/store"
)

// stateOf is the state that a checkpoint was taken of; what it excludes is known to the checkpoint.
func stateOf(c Checkpoint) config.State { return config.State{Paths: c.Paths} }

// Verify reads all that is stored of a checkpoint and compares it with its hashes.
func (s *Store) Verify(ctx context.Context, c Checkpoint) error {
	g, _, release, err := s.use(ctx, c.ID)
	if err != nil {
		return err
	}
	defer release()
	if err := g.Check(ctx, nil, func(int64) {}); err != nil {
		return fmt.Errorf("verify checkpoint %s: %w", c.ID, hinted(err))
	}
	return nil
}

// File is one file of a checkpoint.
type File struct {
	// Path is that on the host.
	Path string
	// Mode holds the twelve permission bits.
	Mode     uint32
	UID, GID int
	Size     int64
	ModTime  time.Time
}

// mostRead is how long a file may be that ReadFile returns.
const mostRead = 256 << 20

// ReadFile returns the content of one file of a checkpoint. The error wraps os.ErrNotExist when the checkpoint
// does not hold it. Links that lead to what it holds are followed.
func (s *Store) ReadFile(ctx context.Context, c Checkpoint, path string) ([]byte, File, error) {
	g, c, release, err := s.use(ctx, c.ID)
	if err != nil {
		return nil, File{}, err
	}
	defer release()
	e, err := fileOf(ctx, g, c.named(filepath.Clean(path)).name)
	if err != nil {
		return nil, File{}, fmt.Errorf("checkpoint %s: %w", c.ID, hinted(err))
	}
	data, err := content(ctx, g, e)
	if err != nil {
		return nil, File{}, fmt.Errorf("read %s of checkpoint %s: %w", path, c.ID, hinted(err))
	}
	return data, File{Path: e.Path, Mode: e.Mode, UID: int(e.UID), GID: int(e.GID), Size: e.Size, ModTime: e.ModTime}, nil
}

// fileOf finds the entry of a file, whatever name of it is asked for.
func fileOf(ctx context.Context, g *store.Golden, path string) (*format.Entry, error) {
	for e, err := range g.Entries(ctx) {
		switch {
		case err != nil:
			return nil, err
		case e.Path != path:
			continue
		case e.Type == format.TypeHardlink:
			return fileOf(ctx, g, e.Link) // which stands before it, and is a file
		case e.Type != format.TypeFile:
			return nil, fmt.Errorf("%s is a %s", path, e.Type)
		}
		c := *e
		c.Blocks, c.Data = slices.Clone(e.Blocks), slices.Clone(e.Data)
		return &c, nil
	}
	return nil, fmt.Errorf("it does not hold the file %s: %w", path, os.ErrNotExist)
}

// content reads the blocks of a file, and puts them where its data is.
func content(ctx context.Context, g *store.Golden, e *format.Entry) ([]byte, error) {
	if e.Size > mostRead {
		return nil, shivx.Hint(fmt.Errorf("it has %d MB", e.Size>>20), "restore it instead: shivx golden restore --store")
	}
	data := make([]byte, 0, e.Stored())
	var block []byte
	for i := range e.BlockCount() {
		var err error
		if block, err = g.Block(ctx, block, e.Block(i)); err != nil {
			return nil, err
		}
		data = append(data, block...)
	}
	if e.Data == nil {
		return data, nil
	}
	whole := make([]byte, e.Size)
	for _, x := range e.Data {
		data = data[copy(whole[x.Offset:x.Offset+x.Length], data):]
	}
	return whole, nil
}

// Folder returns a folder that holds the files of a checkpoint, laid out as on the host below files/. It is made
// when it is first asked for, of as many bytes as the checkpoint has, and goes with the checkpoint. The error wraps
// unix.ENOSPC when the disk would have too little room left. Of one that ctx has cut off nothing is left.
func (s *Store) Folder(ctx context.Context, id string) (string, error) {
	dir, err := s.folder(ctx, id)
	if err != nil {
		return "", fmt.Errorf("lay out checkpoint %s as a folder: %w", id, hinted(err))
	}
	return dir, nil
}

func (s *Store) folder(ctx context.Context, id string) (string, error) {
	g, c, release, err := s.use(ctx, id)
	if err != nil {
		return "", err
	}
	defer release()
	unlock, err := s.lock(ctx, restoreLock+c.Component)
	if err != nil {
		return "", err
	}
	defer unlock()
	journal := filepath.Join(s.home, journalDir, c.Component)
	if _, err := settle(ctx, journal); err != nil {
		return "", err
	}
	dir := filepath.Join(s.home, viewDir, filepath.FromSlash(id))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil // it is whole, as it has its name
	}
	need, err := stored(ctx, g)
	if err != nil {
		return "", err
	}
	if _, err := checkRoom(s.home, need); err != nil {
		return "", err
	}
	making := dir + makingSuffix
	if err := os.RemoveAll(making); err != nil {
		return "", err
	}
	if err := os.MkdirAll(making, 0o700); err != nil {
		return "", err
	}
	if err := layOut(ctx, g, restore.Options{Journal: journal, To: filepath.Join(making, "files"), Checked: true}); err != nil {
		_ = os.Remove(making) // which is empty, unless what is in it is to be looked at by the next one
		return "", err
	}
	return dir, os.Rename(making, dir)
}

// stored is how many bytes the files of a golden have, without their holes.
func stored(ctx context.Context, g *store.Golden) (n int64, err error) {
	for e, err := range g.Entries(ctx) {
		if err != nil {
			return 0, err
		}
		if e.Type == format.TypeFile {
			n += e.Stored()
		}
	}
	return n, nil
}

func layOut(ctx context.Context, g *store.Golden, o restore.Options) error {
	st, err := restore.Stage(ctx, g, o)
	if err != nil {
		return err
	}
	if _, err := st.Swap(ctx); err != nil {
		return errors.Join(err, st.Undo(ctx), st.Close())
	}
	if err := st.Finish(ctx, false); err != nil {
		return errors.Join(err, st.Close())
	}
	return nil
}

// makingSuffix ends the name of a folder that is not whole yet.
const makingSuffix = ".making"

// dropViews removes the folders of checkpoints of a set that are there no more, and says whether one went.
func (s *Store) dropViews(ctx context.Context, g opened, set string) (dropped bool, err error) {
	home := filepath.Join(s.home, viewDir, set)
	views, err := os.ReadDir(home)
	if os.IsNotExist(err) || err == nil && len(views) == 0 {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// What is being made has its checkpoint for itself: the lock of the store says so no more, that of the
	// component does.
	component, _, err := parseSet(set)
	if err != nil {
		return false, err
	}
	unlock, err := s.tryLock(restoreLock + component)
	if err != nil {
		return false, nil // the next time
	}
	defer unlock()
	all, err := g.List(ctx, set)
	if err != nil {
		return false, err
	}
	for _, v := range views {
		if slices.ContainsFunc(all, func(i store.Info) bool { return i.ID == v.Name() }) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(home, v.Name())); err != nil {
			return dropped, fmt.Errorf("remove the folder of a checkpoint: %w", err)
		}
		dropped = true
	}
	return dropped, nil
}
