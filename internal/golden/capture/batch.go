package capture

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// A batch is what workers take at a time: enough names that the cost of passing it on does not
// count, few enough that the workers end together. The window is how far they may be ahead of the
// entry that is due; each batch holds few folders, so that window times folders are not too many
// open files.
const (
	batchItems   = 32
	batchFolders = 4
	windowSize   = 96
)

// item is a name on its way to an entry.
type item struct {
	// at is the folder to look in for name; an empty name means the folder itself.
	at   *folder
	name string
	kind uint8
	// path is that of the entry if it is not below at's prefix.
	path string
	// prev is the entry of the same path in the golden before, if known.
	prev  format.Entry
	known bool

	// out is what to store, nil: nothing. It points to prev or entry.
	out   *format.Entry
	entry format.Entry
	// fault is why it could not be read, or not wholly; note a word about it that is no fault.
	fault error
	note  string
	// unstable is how often it was read in vain.
	unstable int
	// links is how many names the file has, and inode which it is; both only if it is linked.
	links uint64
	inode inode
	// claimed: this item is the one that reads the inode. deferred: another one is.
	claimed, deferred bool
}

// inode is a file, whatever its names.
type inode struct{ device, number uint64 }

// logical returns the path of the entry.
func (it *item) logical() string {
	switch {
	case it.path != "":
		return it.path
	case it.known:
		return it.prev.Path
	case it.name == "":
		it.path = it.at.path()
	default:
		it.path = it.at.prefix + it.name
	}
	return it.path
}

// linked says whether it is something that other names may be hard links to. A replacement is not: two
// databases may have the same export, and must not be one file after a restore.
func (it *item) linked(st *unix.Stat_t) bool {
	if st.Nlink < 2 || it.at.fd == unix.AT_FDCWD {
		return false
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFLNK, unix.S_IFIFO:
		return true
	}
	return false
}

// describe fills in the entry what its inode says.
func (it *item) describe(t format.Type, st *unix.Stat_t, racy bool) *format.Entry {
	e := &it.entry
	e.Path, e.Type = it.logical(), t
	e.Mode, e.UID, e.GID, e.ModTime = st.Mode&0o7777, st.Uid, st.Gid, modTime(st)
	if !racy {
		e.Hint = format.Hint{Device: st.Dev, Inode: st.Ino, Changed: st.Ctim.Nano()}
	}
	return e
}

var errOther = errors.New("became something else while the tree was read")

// batch is a run of items in order.
type batch struct {
	items   []item
	folders []*folder
	// done is closed when all items have been worked on.
	done chan struct{}
}

func newBatch() *batch {
	return &batch{items: make([]item, 0, batchItems), folders: make([]*folder, 0, batchFolders)}
}

// holds keeps a folder open until the batch is free again; false: it has too many already.
func (b *batch) holds(f *folder) bool {
	if slices.Contains(b.folders, f) {
		return true
	}
	if len(b.folders) == batchFolders {
		return false
	}
	f.hold()
	b.folders = append(b.folders, f)
	return true
}

// reset lets go of all that the batch refers to.
func (b *batch) reset() {
	for _, f := range b.folders {
		f.release()
	}
	clear(b.items)
	clear(b.folders)
	b.items, b.folders = b.items[:0], b.folders[:0]
}
