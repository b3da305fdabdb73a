package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// builder makes the new state in the staging folders.
type builder struct {
	r    *run
	crew *crew
	// ctx is for reading blocks.
	ctx  context.Context
	step func(string)
	// live says that hard links may lead to files of the live tree, which have been compared.
	live  bool
	stack []*stageDir
	links []link
	// linked are those files, and when each was given its last name.
	linked map[inode]instant
	// tops are the entries that are put into place each by itself.
	tops []staged
	set  pathSet
	// coming are the open folders of the sites that all is built in.
	coming map[*site]*folder
	euid   uint32
	egid   uint32
}

// staged is a top and where it lies.
type staged struct {
	path string
	site *site
	name string
}

// stageDir is a folder under construction.
type stageDir struct {
	*folder
	path string
}

func (r *run) newBuilder(ctx context.Context, step func(string)) *builder {
	b := &builder{
		r: r, ctx: ctx, step: step, set: pathSet{}, linked: map[inode]instant{}, coming: map[*site]*folder{},
		euid: uint32(os.Geteuid()), egid: uint32(os.Getegid()),
	}
	b.crew = newCrew(ctx, r.o.Workers, b.work)
	return b
}

// close waits for all work; what was built is complete when it returns nil.
func (b *builder) close(err error) error {
	if err == nil {
		err = b.leave("")
	}
	if err == nil {
		err = b.makeLinks()
	}
	if err != nil {
		b.crew.cancel(err)
	}
	closeErr := b.crew.close()
	if err == nil {
		err = closeErr
	}
	if err != nil {
		b.abandon()
	}
	return err
}

// end closes what the tops were built in.
func (b *builder) end() {
	for _, f := range b.coming {
		_ = f.release()
	}
}

// abandon lets go of folders without finishing them.
func (b *builder) abandon() {
	for _, d := range b.stack {
		for f := d.folder; f != nil; f = f.up {
			f.done = nil
		}
	}
	for _, d := range b.stack {
		_ = d.release()
	}
	for _, l := range b.links {
		_ = l.dir.release()
	}
}

// leave lets go of the folders that path does not lie in.
func (b *builder) leave(path string) error {
	for n := len(b.stack); n > 0 && (path == "" || !format.Below(b.stack[n-1].path, path)); n = len(b.stack) {
		d := b.stack[n-1]
		b.stack = b.stack[:n-1]
		if err := d.release(); err != nil {
			return err
		}
	}
	return nil
}

// add makes an entry, or has it made.
func (b *builder) add(it item) error {
	if err := b.crew.failed(); err != nil {
		return err
	}
	if err := b.leave(it.Path); err != nil {
		return err
	}
	dir, base, err := b.place(it)
	if err != nil {
		return err
	}
	switch it.Type {
	case format.TypeDir:
		err = b.makeDir(dir, base, it.Entry)
	case format.TypeFile:
		err = b.makeFile(dir, base, it)
	case format.TypeHardlink:
		dir.hold()
		b.links = append(b.links, link{dir: dir, name: base, entry: cloneEntry(&format.Entry{}, it.Entry)})
		if len(b.links) == mostLinksWaiting {
			err = b.makeLinks()
		}
	case format.TypeSymlink, format.TypeFIFO:
		err = b.makeOther(dir, base, it.Entry)
	}
	if err != nil {
		return b.failure(it.Entry, err)
	}
	return nil
}

// place returns the folder and the name that an entry is made at.
func (b *builder) place(it item) (*folder, string, error) {
	if n := len(b.stack); n > 0 {
		return b.stack[n-1].folder, it.Path[strings.LastIndexByte(it.Path, '/')+1:], nil
	}
	s, rel := b.r.places.at(it.Path)
	f := b.coming[s]
	if f == nil {
		fd, err := openBeneath(s.stage, comingDir, openFolder)
		if err != nil {
			return nil, "", fmt.Errorf("open the staging folder: %w", err)
		}
		f = newFolder(fd, nil, nil)
		b.coming[s] = f
	}
	t := staged{path: it.Path, site: s, name: b.r.seq.next(filepath.Base(rel))}
	b.set[t.path] = len(b.tops)
	b.tops = append(b.tops, t)
	return f, t.name, nil
}

func (b *builder) makeDir(dir *folder, base string, e *format.Entry) error {
	if err := unix.Mkdirat(dir.fd, base, 0o700); err != nil {
		return err
	}
	fd, err := openAt(dir.fd, base, openFolder, 0)
	if err != nil {
		return err
	}
	want, path := metaOf(cloneEntry(&format.Entry{}, e)), e.Path
	f := newFolder(fd, dir, func() error {
		if err := (handle{fd: fd}).dress(want, b.fresh(), false); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		return nil
	})
	b.stack = append(b.stack, &stageDir{f, e.Path})
	b.step("folder")
	return nil
}

// fresh is what a file has that was just made. Its mode is not relied upon.
func (b *builder) fresh() meta { return meta{Mode: ^uint32(0), UID: b.euid, GID: b.egid} }

func (b *builder) makeOther(dir *folder, base string, e *format.Entry) error {
	link := e.Type == format.TypeSymlink
	var err error
	if link {
		err = unix.Symlinkat(e.Link, dir.fd, base)
	} else {
		err = unix.Mknodat(dir.fd, base, unix.S_IFIFO|0o600, 0)
	}
	if err != nil {
		return err
	}
	return handle{at: dir.fd, n: base}.dress(metaOf(e), b.fresh(), link)
}

// failure says what could not be written, and what to do.
func (b *builder) failure(e *format.Entry, err error) error {
	real := b.r.places.real(e.Path)
	hint := ""
	switch {
	case errors.Is(err, unix.EEXIST):
		return collision(e.Path, filepath.Dir(real))
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		hint = "make room on the file system of " + filepath.Dir(real) + "; nothing was changed"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		hint = "restore as root; nothing was changed"
	case errors.Is(err, unix.ENOTSUP):
		hint = "the file system of " + filepath.Dir(real) + " cannot hold it; restore to another one"
	case errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, unix.EINVAL):
		hint = "the file system of " + filepath.Dir(real) + " does not allow such a name or such attributes"
	}
	err = fmt.Errorf("write %s: %w", e.Path, err)
	if hint == "" {
		return err
	}
	return shivx.Hint(err, hint)
}
