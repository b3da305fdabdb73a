package format

import "time"

// Type is what an entry is.
type Type string

// The types. Devices and sockets are never stored.
const (
	TypeFile     Type = "file"
	TypeDir      Type = "dir"
	TypeSymlink  Type = "symlink"
	TypeHardlink Type = "hardlink"
	TypeFIFO     Type = "fifo"
)

// Entry is one line of the list of a golden: a file, a folder, or a link.
type Entry struct {
	// Path is absolute and clean: the root it lies below and the way from there. Any byte but NUL.
	Path string
	Type Type
	// Mode holds the twelve permission bits; a hard link has none.
	Mode     uint32
	UID, GID uint32
	// ModTime is in UTC, to the nanosecond.
	ModTime time.Time
	// Size of a file in bytes, holes included.
	Size int64
	// Sum is the hash of a file's data: of all its bytes, or of a sparse file those in Data only.
	Sum Hash
	// Blocks are the hashes of the data in blocks of BlockSize. Data of at most one block has none
	// here: its block is Sum. Empty data has no block.
	Blocks []Hash
	// Data are the places of a sparse file where it has data, in order, apart from one another;
	// empty but not nil: the file is one hole. Nil: the file is not sparse.
	Data []Extent
	// Link is the target of a symbolic link as it was read, or the path of the entry before this one
	// that a hard link is another name of.
	Link string
	// Xattrs are the extended attributes, POSIX ACLs among them, sorted by name.
	Xattrs []Xattr
	// Hint tells the next backup that a file is unchanged; a restore ignores it.
	Hint Hint
}

// Extent is a piece of a sparse file in bytes.
type Extent struct{ Offset, Length int64 }

// Xattr is one extended attribute.
type Xattr struct {
	Name  string
	Value []byte
}

// Hint is what stays the same as long as nobody touches a file.
type Hint struct {
	Device, Inode uint64
	// Changed is the time of the last change of the inode (ctime), in nanoseconds since 1970.
	Changed int64
}

// Stored is how many bytes of data the entry has: Size without holes.
func (e *Entry) Stored() int64 {
	if e.Data == nil {
		return e.Size
	}
	var n int64
	for _, x := range e.Data {
		n += x.Length
	}
	return n
}

// BlockCount is how many blocks the entry's data has.
func (e *Entry) BlockCount() int {
	if e.Type != TypeFile {
		return 0
	}
	n := e.Stored()
	count := n / BlockSize
	if n%BlockSize > 0 {
		count++
	}
	return int(count)
}

// Block returns the hash of block i of the entry's data, below BlockCount.
func (e *Entry) Block(i int) Hash {
	if len(e.Blocks) == 0 {
		return e.Sum
	}
	return e.Blocks[i]
}

// ComparePaths orders paths as a walk meets them: a folder, all below it, then its next sibling by
// the bytes of its name. It returns -1, 0 or 1.
func ComparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		case a[i] < b[i]:
			return -1
		default:
			return 1
		}
	}
	switch {
	case len(a) < len(b):
		return -1
	case len(a) > len(b):
		return 1
	}
	return 0
}
