package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
)

// tries is how often an entry that keeps changing is copied.
const tries = 3

// tick is longer than the coarsest time stamp of a local file system: a file changed within
// a tick before it was read may change again without a new time stamp.
const tick = 12 * time.Millisecond

// taking is one call of Take under way.
type taking struct {
	c     *Checkpoint
	meter *meter
	mu    sync.Mutex
	have  map[string]taken
}

// taken is an entry copied in some round, with its signature just before.
type taken struct {
	file File
	sign signature
	racy bool
}

// run copies in rounds until a walk finds what was copied.
func (t *taking) run(ctx context.Context) error {
	for round := 0; ; round++ {
		found, err := walk(ctx, t.c.Paths, t.c.Exclude)
		if err != nil {
			return err
		}
		todo := t.changed(found.entries)
		if err := t.forget(found.entries); err != nil {
			return err
		}
		if len(todo) == 0 || round == tries {
			t.conclude(found, todo)
			return nil
		}
		if err := t.copyAll(ctx, todo); err != nil {
			return err
		}
		if t.anyRacy() {
			time.Sleep(tick)
		}
	}
}

// changed returns the entries that were not copied as they are now.
func (t *taking) changed(entries []entry) []entry {
	var todo []entry
	for _, e := range entries {
		if have, ok := t.have[e.path]; !ok || have.sign != e.sign || have.racy {
			todo = append(todo, e)
		}
	}
	return todo
}

// forget drops what is gone or has become something else.
func (t *taking) forget(entries []entry) error {
	now := make(map[string]FileType, len(entries))
	for _, e := range entries {
		now[e.path] = e.typ
	}
	for path, have := range t.have {
		if typ, ok := now[path]; ok && typ == have.file.Type {
			continue
		}
		if err := os.RemoveAll(t.stored(path)); err != nil {
			return err
		}
		delete(t.have, path)
	}
	return nil
}

func (t *taking) stored(path string) string { return filepath.Join(t.c.Dir, storedName(path)) }

func (t *taking) anyRacy() bool {
	for _, have := range t.have {
		if have.racy {
			return true
		}
	}
	return false
}

// copyAll copies folders in order, then files on all cores.
func (t *taking) copyAll(ctx context.Context, todo []entry) error {
	var bytes int64
	for _, e := range todo {
		if e.typ == TypeFile {
			bytes += e.stat.Size
		}
	}
	if err := checkSpace(t.c.Dir, allocated(todo)); err != nil {
		return err
	}
	t.meter.grow(bytes)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for _, e := range todo {
		if e.typ == TypeDir {
			if err := os.MkdirAll(t.stored(e.path), 0o700); err != nil {
				return errors.Join(err, group.Wait())
			}
			t.keep(e, e.file())
			continue
		}
		if err := os.MkdirAll(filepath.Dir(t.stored(e.path)), 0o700); err != nil {
			return errors.Join(err, group.Wait())
		}
		group.Go(func() error { return t.copyOne(ctx, e) })
	}
	return group.Wait()
}

// allocated is what the entries take on disk; holes take nothing.
func allocated(entries []entry) int64 {
	var n int64
	for _, e := range entries {
		if e.typ == TypeFile {
			n += min(e.stat.Blocks*512, e.stat.Size)
		}
	}
	return n
}

// copyOne copies a file or link. What vanished in between is left to the next walk.
func (t *taking) copyOne(ctx context.Context, e entry) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f := e.file()
	if e.typ == TypeSymlink {
		link, err := os.Readlink(e.real)
		if err != nil {
			return vanished(err)
		}
		f.Link = link
		t.keep(e, f)
		return nil
	}
	src, err := openRegular(e.real)
	if err != nil {
		return vanished(err)
	}
	defer func() { _ = src.Close() }()
	// The signature is taken from the open file: the name may mean another file by now.
	info, err := src.Stat()
	if err != nil {
		return err
	}
	e.stat = *info.Sys().(*syscall.Stat_t)
	e.sign = signatureOf(&e.stat)
	f = e.file()
	if err := os.RemoveAll(t.stored(e.path)); err != nil {
		return err
	}
	got, err := copyContent(ctx, src, t.stored(e.path), t.meter)
	if err != nil {
		return fmt.Errorf("copy %s: %w", e.path, err)
	}
	f.Size, f.SHA256 = got.size, got.sum
	t.keep(e, f)
	return nil
}

// vanished hides the errors of an entry that went away or became something else.
func vanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENXIO) {
		return nil
	}
	return err
}

func (t *taking) keep(e entry, f File) {
	f.XAttrs = readXAttrs(e.real)
	// Every change sets the ctime, and unlike the mtime nobody can set it to another time.
	racy := e.typ == TypeFile && time.Since(time.Unix(0, e.sign.ctime)).Abs() < tick
	if !utf8.ValidString(f.Path) {
		f.RawPath = []byte(f.Path)
	}
	if !utf8.ValidString(f.Link) {
		f.RawLink = []byte(f.Link)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.have[e.path] = taken{file: f, sign: e.sign, racy: racy}
}

// conclude writes what was copied into the manifest; todo still changed at the end.
func (t *taking) conclude(found tree, todo []entry) {
	for _, e := range todo {
		t.c.Unstable = append(t.c.Unstable, e.path)
	}
	t.c.Missing, t.c.Skipped = found.missing, found.skipped
	for _, have := range t.have {
		t.c.Files = append(t.c.Files, have.file)
		t.c.Bytes += have.file.Size
	}
	slices.SortFunc(t.c.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
}
