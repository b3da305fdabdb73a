// Package checkpoint keeps hash-listed copies of a component's state, so that a fault can be
// studied and undone, and so that data can be restored from the last healthy copy.
//
// A checkpoint is a folder: the copied files under files/, laid out as on the host, and
// manifest.json, which lists every entry with owner, mode, times and SHA-256. It is built in a
// temporary folder, synced and renamed, so that it is either whole or absent. Copying goes in
// rounds: after each the tree is walked again and what has changed meanwhile is copied anew;
// a round that finds no change proves the copy to be of one instant.
package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/shivx/shivx"
)

// Kind says when a checkpoint was taken.
type Kind string

// The kinds.
const (
	// KindFault is taken before a recovery.
	KindFault Kind = "fault"
	// KindHealthy is taken while all checks passed.
	KindHealthy Kind = "healthy"
)

// FileType is what an entry of a manifest is.
type FileType string

// The types of entries.
const (
	TypeFile    FileType = "file"
	TypeDir     FileType = "dir"
	TypeSymlink FileType = "symlink"
)

// Checkpoint is one copy of a component's state; it is what manifest.json holds.
type Checkpoint struct {
	ID        string    `json:"id"`
	Component string    `json:"component"`
	Kind      Kind      `json:"kind"`
	Key       string    `json:"key"`
	Taken     time.Time `json:"taken"`
	// Dir is where the checkpoint lies now; it is not stored.
	Dir string `json:"-"`
	// Paths are the state paths it covers, cleaned, none inside another.
	Paths []string `json:"paths"`
	// Exclude are the glob patterns that were left out.
	Exclude []string `json:"exclude,omitempty"`
	Files   []File   `json:"files"`
	Bytes   int64    `json:"bytes"`
	// Unstable lists entries that still changed after three tries.
	Unstable []string `json:"unstable,omitempty"`
	// Missing lists state paths that did not exist.
	Missing []string `json:"missing,omitempty"`
	// Skipped lists sockets, pipes and devices.
	Skipped []string `json:"skipped,omitempty"`
}

// File is one entry of a checkpoint.
type File struct {
	// Path is the absolute path on the host, below one of the state paths as configured.
	Path string   `json:"path"`
	Type FileType `json:"type"`
	// Stored is the path of the copy in the checkpoint's folder; only files have one.
	Stored string `json:"stored,omitempty"`
	// Mode holds the twelve permission bits.
	Mode    uint32    `json:"mode"`
	UID     int       `json:"uid"`
	GID     int       `json:"gid"`
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mod_time"`
	// Link is the target of a symbolic link.
	Link   string `json:"link,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	// XAttrs are extended attributes: labels, capabilities, access lists.
	XAttrs map[string][]byte `json:"xattrs,omitempty"`
	// RawPath and RawLink hold names that are not valid UTF-8 and would not survive JSON.
	RawPath []byte `json:"raw_path,omitempty"`
	RawLink []byte `json:"raw_link,omitempty"`
}

// Store holds the checkpoints of one agent: root/<component>/<id>/.
type Store struct{ root string }

// Open opens the store and creates its folder.
func Open(root string) (*Store, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint store: %w", err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("open checkpoint store: %w", err)
	}
	return &Store{root: abs}, nil
}

// ErrDamaged is wrapped by every error that says a checkpoint is not what it was when taken.
var ErrDamaged = fmt.Errorf("checkpoint is damaged")

var componentName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

func checkName(component string, kind Kind) error {
	if !componentName.MatchString(component) {
		return fmt.Errorf("%q cannot be the name of a component; use letters, digits, '-', '_' and '.'", component)
	}
	if kind != KindFault && kind != KindHealthy {
		return fmt.Errorf("unknown kind of checkpoint %q; use %q or %q", kind, KindFault, KindHealthy)
	}
	return nil
}

// damaged makes an error about a checkpoint that must not be used.
func damaged(id, format string, args ...any) error {
	err := fmt.Errorf("%w: %s: %s", ErrDamaged, id, fmt.Sprintf(format, args...))
	return shivx.Hint(err, "restore from another checkpoint; this one was changed on disk after it was taken")
}
