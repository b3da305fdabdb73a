package restore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// instant is a time of a file.
type instant struct {
	Sec  int64 `json:"sec"`
	Nsec int64 `json:"nsec"`
}

// meta is all about a file but its content.
type meta struct {
	Mode   uint32  `json:"mode"`
	UID    uint32  `json:"uid"`
	GID    uint32  `json:"gid"`
	Time   instant `json:"mtime"`
	Xattrs []xattr `json:"xattrs,omitempty"`
}

type xattr struct {
	Name  name   `json:"name"`
	Value []byte `json:"value"`
}

// metaOf returns what an entry asks for.
func metaOf(e *format.Entry) meta {
	m := meta{Mode: e.Mode, UID: e.UID, GID: e.GID, Time: instant{e.ModTime.Unix(), int64(e.ModTime.Nanosecond())}}
	for _, x := range e.Xattrs {
		m.Xattrs = append(m.Xattrs, xattr{name(x.Name), x.Value})
	}
	return m
}

// liveMeta returns what a file has.
func liveMeta(st *unix.Stat_t, xattrs []xattr) meta {
	return meta{
		Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
		Time: instant{st.Mtim.Sec, st.Mtim.Nsec}, Xattrs: xattrs,
	}
}

// differs says in words how a file differs from an entry in all but content, and what it is to become, or "".
func differs(e *format.Entry, st *unix.Stat_t, xattrs []xattr) string {
	mode := st.Mode & 0o7777
	switch {
	case st.Uid != e.UID || st.Gid != e.GID:
		return fmt.Sprintf("owner %d:%d → %d:%d", st.Uid, st.Gid, e.UID, e.GID)
	case e.Type != format.TypeSymlink && mode != e.Mode:
		return fmt.Sprintf("mode %04o → %04o", mode, e.Mode)
	case !sameXattrs(e.Xattrs, xattrs):
		return "attributes differ"
	case st.Mtim.Sec != e.ModTime.Unix() || st.Mtim.Nsec != int64(e.ModTime.Nanosecond()):
		return "time differs"
	}
	return ""
}

func sameXattrs(want []format.Xattr, have []xattr) bool {
	if len(want) != len(have) {
		return false
	}
	for i, x := range want {
		if string(have[i].Name) != x.Name || !bytes.Equal(have[i].Value, x.Value) {
			return false
		}
	}
	return true
}

// changedAt returns when the kernel last noted a change of a file, of its content or of anything else.
func changedAt(st *unix.Stat_t) *instant { return &instant{st.Ctim.Sec, st.Ctim.Nsec} }

// setID are the mode bits that lend the rights of a file's owner and group to whoever runs it.
const setID = unix.S_ISUID | unix.S_ISGID

// otherRights says whether a file lends or has other rights than an entry.
func otherRights(e *format.Entry, st *unix.Stat_t, xattrs []xattr) bool {
	var want []xattr
	for _, x := range e.Xattrs {
		want = append(want, xattr{name(x.Name), x.Value})
	}
	same := slices.EqualFunc(trustedXattrs(want), trustedXattrs(xattrs), func(a, b xattr) bool {
		return a.Name == b.Name && bytes.Equal(a.Value, b.Value)
	})
	return st.Uid != e.UID || st.Gid != e.GID || (st.Mode^e.Mode)&setID != 0 || !same
}

// privileged says whether giving a file the metadata of an entry may lend rights to its content.
func privileged(e *format.Entry, st *unix.Stat_t, xattrs []xattr) bool {
	return otherRights(e, st, xattrs) || e.Mode&setID != 0 || len(trustedXattrs(xattrs)) > 0
}

// trustedXattrs are those that only the system may set, such as capabilities.
func trustedXattrs(list []xattr) []xattr {
	return slices.DeleteFunc(slices.Clone(list), func(x xattr) bool {
		return !strings.HasPrefix(string(x.Name), "security.") && !strings.HasPrefix(string(x.Name), "trusted.")
	})
}

// handle is a file to read or set metadata of: by fd, or, where that is not open for it (a link, a
// pipe), by its name in an open folder.
type handle struct {
	fd int
	at int
	n  string
}

// path names the file for calls that take no file descriptor. The way to the folder is the kernel's,
// and the name itself is not followed.
func (h handle) path() string {
	if h.n == "" {
		return "/proc/self/fd/" + strconv.Itoa(h.fd)
	}
	return "/proc/self/fd/" + strconv.Itoa(h.at) + "/" + h.n
}

func (h handle) list(buf []byte) (int, error) {
	if h.n == "" {
		return unix.Flistxattr(h.fd, buf)
	}
	return unix.Llistxattr(h.path(), buf)
}

func (h handle) get(attr string, buf []byte) (int, error) {
	if h.n == "" {
		return unix.Fgetxattr(h.fd, attr, buf)
	}
	return unix.Lgetxattr(h.path(), attr, buf)
}

// xattrs reads the attributes by name, those left out that belong to the system's labelling and that
// the golden does not name: they are the host's, not the state's.
func (h handle) xattrs(buf []byte, want []format.Xattr) ([]xattr, error) {
	n, err := h.list(buf)
	if errors.Is(err, unix.ENOTSUP) || err == nil && n == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := string(buf[:n])
	var list []xattr
	for attr := range strings.SplitSeq(strings.TrimSuffix(names, "\x00"), "\x00") {
		if hostLabel(attr) && !slices.ContainsFunc(want, func(x format.Xattr) bool { return x.Name == attr }) {
			continue
		}
		size, err := h.get(attr, buf)
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, xattr{name(attr), bytes.Clone(buf[:size])})
	}
	slices.SortFunc(list, func(a, b xattr) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return list, nil
}

func hostLabel(attr string) bool {
	return strings.HasPrefix(attr, "security.") && attr != "security.capability"
}

// dress gives a file its metadata. have is what it has; the owner comes first, because a change of
// owner clears the set-user-id bit and the capabilities, and the mode after the ACL, whose mask it is.
func (h handle) dress(want, have meta, link bool) error {
	if want.UID != have.UID || want.GID != have.GID {
		if err := h.chown(int(want.UID), int(want.GID)); err != nil {
			return fmt.Errorf("set the owner: %w", err)
		}
		have.Xattrs = afterChown(have.Xattrs)
	}
	if err := h.setXattrs(want.Xattrs, have.Xattrs); err != nil {
		return err
	}
	// A change of owner or ACL may have changed the mode, so what it was says nothing.
	if !link && (want.Mode != have.Mode || want.UID != have.UID || want.GID != have.GID || len(want.Xattrs)+len(have.Xattrs) > 0) {
		if err := h.chmod(want.Mode); err != nil {
			return fmt.Errorf("set the mode: %w", err)
		}
	}
	if err := h.touch(want.Time); err != nil {
		return fmt.Errorf("set the time: %w", err)
	}
	return nil
}

// afterChown is what is known of attributes once the owner has changed: the capabilities, which the
// kernel clears, may be there or not.
func afterChown(xattrs []xattr) []xattr {
	xattrs = slices.Clone(xattrs)
	for i := range xattrs {
		if xattrs[i].Name == "security.capability" {
			xattrs[i].Value = nil
		}
	}
	return xattrs
}

func (h handle) chown(uid, gid int) error {
	if h.n == "" {
		return unix.Fchown(h.fd, uid, gid)
	}
	return unix.Fchownat(h.at, h.n, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

func (h handle) chmod(mode uint32) error {
	if h.n == "" {
		return unix.Fchmod(h.fd, mode)
	}
	return unix.Fchmodat(h.at, h.n, mode, 0)
}

func (h handle) touch(t instant) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: t.Sec, Nsec: t.Nsec}}
	if h.n != "" {
		return unix.UtimesNanoAt(h.at, h.n, times, unix.AT_SYMLINK_NOFOLLOW)
	}
	err := unix.UtimesNanoAt(h.fd, "", times, unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.EINVAL) { // before Linux 5.8
		return unix.UtimesNanoAt(unix.AT_FDCWD, h.path(), times, 0)
	}
	return err
}

func (h handle) setXattrs(want, have []xattr) error {
	for _, x := range have {
		if slices.ContainsFunc(want, func(w xattr) bool { return w.Name == x.Name }) {
			continue
		}
		if err := h.removeXattr(string(x.Name)); err != nil && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("remove attribute %s: %w", x.Name, err)
		}
	}
	for _, x := range want {
		if slices.ContainsFunc(have, func(w xattr) bool { return w.Name == x.Name && bytes.Equal(w.Value, x.Value) }) {
			continue
		}
		if err := h.setXattr(string(x.Name), x.Value); err != nil {
			return fmt.Errorf("set attribute %s: %w", x.Name, err)
		}
	}
	return nil
}

func (h handle) setXattr(attr string, value []byte) error {
	if h.n == "" {
		return unix.Fsetxattr(h.fd, attr, value, 0)
	}
	return unix.Lsetxattr(h.path(), attr, value, 0)
}

func (h handle) removeXattr(attr string) error {
	if h.n == "" {
		return unix.Fremovexattr(h.fd, attr)
	}
	return unix.Lremovexattr(h.path(), attr)
}
