package ingest

import (
	"crypto/sha256"
	"encoding/hex"
)

// Position is how far a log was read. The zero Position means a log that was never opened.
type Position struct {
	// Device and Inode of the file; both 0 when no byte of any file was read yet.
	Device uint64 `json:"device,omitempty"`
	Inode  uint64 `json:"inode,omitempty"`
	// Offset of the first byte that was not read.
	Offset int64 `json:"offset,omitempty"`
	// Skip is set when Offset stands within a line that is too long: its rest is left out.
	Skip bool `json:"skip,omitempty"`
	// Head is the hash of the file's first bytes, up to 1024, and Tail that of up to 256 bytes before
	// Offset: they tell whether it still is that file, and which one is a copy of it.
	Head string `json:"head,omitempty"`
	Tail string `json:"tail,omitempty"`
	// Modified is when the file was written last by then, in nanoseconds since 1970.
	Modified int64 `json:"modified,omitempty"`
	// Older is the file before it, as long as that may still be written to.
	Older *Position `json:"older,omitempty"`
	// Opened is set for each log that was opened: what appears at its path later is read from its start.
	Opened bool `json:"opened,omitempty"`
	// Cursor of the journal's last entry; before the first one Since says, in microseconds since 1970,
	// from when entries are wanted.
	Cursor string `json:"cursor,omitempty"`
	Since  int64  `json:"since,omitempty"`
	// Held is what the parser holds back of the lines before.
	Held string `json:"held,omitempty"`
}

const (
	headSize = 1024
	tailSize = 256
)

// digest of what stands in a file; 64 bits are plenty beside device, inode and length.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
