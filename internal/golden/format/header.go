package format

import "time"

// Header is the first line of a golden file, a JSON object. The signature below it is over the line,
// and the line names the hash of all else: so one signature stands for the whole state.
type Header struct {
	// Format is Version at the time of writing.
	Format int `json:"shivx_golden"`
	// Store is the id of the store that the golden lies in.
	Store string `json:"store"`
	// ID is the golden's, unique within the store, such as 20261123-135531-7f3a9c.
	ID string `json:"id"`
	// Set is the name of what was backed up, Host where.
	Set  string `json:"set"`
	Host string `json:"host"`
	// Name is one given by people; not unique.
	Name string `json:"name,omitempty"`
	// Run names the run that took the golden, so that one that is repeated finds it.
	Run string `json:"run,omitempty"`
	// Kind is "backup" or "snapshot".
	Kind    Kind      `json:"kind"`
	Created time.Time `json:"created"`
	// Taken is how long the capture took, in seconds.
	Taken float64 `json:"taken_seconds"`
	// Until is the time before which the golden must not be removed; zero: it may.
	Until time.Time `json:"keep_until,omitzero"`
	// Roots are the paths that the set names, clean, none below another, in the order of ComparePaths.
	Roots []string `json:"roots"`
	// Missing are roots that did not exist.
	Missing []string `json:"missing,omitempty"`
	// Exclude are the glob patterns that were left out.
	Exclude []string `json:"exclude,omitempty"`
	// Unstable are paths that kept changing while they were read: stored, but of no one instant.
	Unstable []Note `json:"unstable,omitempty"`
	// Skipped are devices, sockets and what could not be read.
	Skipped []Note `json:"skipped,omitempty"`
	// Sources are the exports of databases among the entries.
	Sources []Source `json:"sources,omitempty"`
	// Entries counts all of them, Files those of type file, Bytes their sizes.
	Entries int64 `json:"entries"`
	Files   int64 `json:"files"`
	Bytes   int64 `json:"bytes"`
	// Segments are the pieces of the list of entries, which follow the signature one after another.
	Segments []Segment `json:"segments"`
	// Packs are the names of the packs that hold the blocks of the entries, each once, sorted.
	Packs []Hash `json:"packs"`
}

// Kind says why a golden was taken.
type Kind string

// The kinds.
const (
	KindBackup   Kind = "backup"
	KindSnapshot Kind = "snapshot"
)

// Note is a path and a word about it.
type Note struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// Source is an export of a database that is stored in place of its files.
type Source struct {
	// Name and Type are the configuration's, such as "shop" and "postgres".
	Name string `json:"name"`
	Type string `json:"type"`
	// Path is that of the entry that holds the export.
	Path string `json:"path"`
}

// Segment is a piece of the list of entries: at most SegmentSize bytes of lines, compressed with
// zstd as one frame, and sealed where the store is encrypted.
type Segment struct {
	// Stored and Plain are its lengths in the file and as lines, in bytes.
	Stored int64 `json:"stored"`
	Plain  int64 `json:"plain"`
	// Sum is the hash of the stored bytes.
	Sum Hash `json:"sha256"`
}

// SegmentSize is the most bytes of lines in a segment, unless one line is longer.
const SegmentSize = 1 << 20
