package integrity

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// lowPriority is how nice the thread of a verification is: whoever else needs the core comes first,
// and the disk, whose priority follows from it.
const lowPriority = 10

// aside runs f on a thread of its own, so much nicer than others.
func aside(nice int, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread, which stays nice, ends with the goroutine
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, nice)
		f()
	}()
	<-done
}

// walk looks at the entry where it starts and, deep, at all below it, folders before what is in them.
func (r *reader) walk(ctx context.Context, s *scope, from start, deep bool, emit func(seen)) error {
	at, name, err := openAbove(from.path, from.root)
	if err != nil {
		emit(failed(from.path, err))
		return ctx.Err()
	}
	defer func() { _ = unix.Close(at) }()
	r.root = from.root
	return r.visit(ctx, s, from, at, item{name: name}, deep, emit)
}

// visit looks at one entry of the opened folder, and at those below.
func (r *reader) visit(ctx context.Context, s *scope, from start, at int, it item, deep bool, emit func(seen)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e, fd := r.observeAt(at, it.name, from.path, it.file)
	if fd >= 0 {
		defer func() { _ = unix.Close(fd) }()
	}
	var below []item
	if fd >= 0 && deep {
		if r.folder != nil {
			r.folder(fd, from.path) // before it is listed: nothing can come in between
		}
		var err error
		if below, err = r.list(fd); err != nil {
			e.trouble = "list the folder: " + err.Error()
		}
	}
	if s.holds(from.path, from.root) {
		emit(e)
	}
	for _, it := range below {
		next := start{root: from.root, path: join(from.path, it.name)}
		if !s.nested && !s.holds(next.path, next.root) || s.nested && s.excluded(next.path, next.root) {
			continue
		}
		if err := r.visit(ctx, s, next, fd, it, deep, emit); err != nil {
			return err
		}
	}
	return nil
}

// item is an entry of a folder's list.
type item struct {
	name string
	// file is true when the list has it as a file.
	file bool
}

// list returns what is in an opened folder, sorted by name.
func (r *reader) list(fd int) ([]item, error) {
	var items []item
	buf := r.room()
	for {
		n, err := unix.ReadDirent(fd, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOENT): // so says a folder that was removed after it was opened
			return nil, nil
		case err != nil || n <= 0:
			slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.name, b.name) })
			return items, err
		}
		items = parseItems(items, buf[:n])
	}
}

// parseItems reads a run of struct linux_dirent64: inode, offset, length of the record, type, name.
func parseItems(items []item, buf []byte) []item {
	const lengthAt, typeAt, nameAt = 16, 18, 19
	for len(buf) > nameAt {
		record := buf[:binary.NativeEndian.Uint16(buf[lengthAt:])]
		buf = buf[len(record):]
		name, _, _ := bytes.Cut(record[nameAt:], []byte{0})
		if text := string(name); text != "." && text != ".." {
			items = append(items, item{name: text, file: record[typeAt] == unix.DT_REG})
		}
	}
	return items
}
