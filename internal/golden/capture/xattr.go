package capture

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// maxAttrs is the kernel's limit for the list of names and for one value, in bytes.
const maxAttrs = 64 << 10

// attributes returns the extended attributes of what fd is open on, POSIX ACLs among them.
func (w *worker) attributes(fd int, d *device) ([]format.Xattr, error) {
	return w.collect(d,
		func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) },
		func(name string, buf []byte) (int, error) { return unix.Fgetxattr(fd, name, buf) })
}

// attributesAt returns those of a link or a pipe, which cannot be opened for that. The kernel knows
// no call relative to a folder before version 6.13; the name of the descriptor in /proc stands in.
func (w *worker) attributesAt(at *folder, name string, d *device) ([]format.Xattr, error) {
	path := name
	if at.fd >= 0 {
		path = "/proc/self/fd/" + strconv.Itoa(at.fd) + "/" + name
	}
	return w.collect(d,
		func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) },
		func(name string, buf []byte) (int, error) { return unix.Lgetxattr(path, name, buf) })
}

func (w *worker) collect(d *device, list func([]byte) (int, error), get func(string, []byte) (int, error)) ([]format.Xattr, error) {
	if d.plain.Load() {
		return nil, nil
	}
	n, err := list(w.attrs)
	if errors.Is(err, unix.EOPNOTSUPP) {
		d.plain.Store(true)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list extended attributes: %w", err)
	}
	if n == 0 {
		return nil, nil
	}
	var all []format.Xattr
	for name := range strings.SplitSeq(strings.TrimRight(string(w.attrs[:n]), "\x00"), "\x00") {
		n, err := get(name, w.value)
		if errors.Is(err, unix.ENODATA) {
			continue // removed meanwhile
		}
		if err != nil {
			return all, fmt.Errorf("extended attribute %s: %w", name, err)
		}
		all = append(all, format.Xattr{Name: name, Value: slices.Clone(w.value[:n])})
	}
	slices.SortFunc(all, func(a, b format.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}
