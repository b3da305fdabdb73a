// Package capture reads the state of a host: it walks roots, folders or single files, in the order
// of format.ComparePaths and gives their entries and blocks to a Sink.
//
// One goroutine walks. It takes the names of each folder, which others list ahead of it, joins them
// with the entries of the golden before, and puts them in batches. The workers take batches, look at
// each name, and read what has changed; Run passes on the entries of the batches in order. The number
// of batches is fixed, so memory does not grow with the tree; of a folder under way its names are
// held, and of a file with several names one of its paths until all of them were met.
//
// Folders that a restore has made, staging folders and old states, are left out wherever they lie, but
// for one that is a root itself: they are no part of the state, and outlive a restore.
//
// Nothing here stops a program from writing. A file that changes while it is read is read again, and
// reported if it never holds still; what has to be of one instant is exported first and captured
// through Options.Overlays. Writes through a shared memory mapping may go unnoticed: the kernel
// stamps the first of them only.
package capture

import (
	"context"
	"iter"
	"time"

	"github.com/shivx/shivx/internal/golden/format"
)

// Sink takes what is captured.
type Sink interface {
	// Use says whether a block is stored already, and that the golden needs it if so. Workers call
	// it at the same time.
	Use(h format.Hash) bool
	// Lane returns a way to store blocks, for one goroutine alone.
	Lane() Lane
	// Entry takes the next entry in order. It must not keep e nor its slices.
	Entry(e *format.Entry) error
}

// Lane stores blocks.
type Lane interface {
	// Put stores a block whose hash is h unless it is stored already; plain is used again afterwards.
	Put(ctx context.Context, h format.Hash, plain []byte) error
	// Close ends the lane; it is called once, after a failure too.
	Close() error
}

// Options say what to capture.
type Options struct {
	// Roots are absolute paths of folders and files. One below another is part of it.
	Roots []string
	// Exclude are absolute glob patterns in which ** stands for any folders; a folder that matches
	// is not entered.
	Exclude []string
	// Overlays name, by the path of an entry, an absolute path of what is captured in its place with
	// content and metadata: a file, or a folder and all below it. The entry itself need not exist,
	// but its folder must. No pattern excludes it, nor what lies in it: it is of use as a whole only.
	Overlays map[string]string
	// Live are those paths of Overlays in whose place other live state is captured, such as what a link
	// leads to: patterns hold for what lies in it, by its path in the golden.
	Live []string
	// Absent are absolute paths that are taken for not existing, with all below them.
	Absent []string
	// Previous are the entries of the golden before in order, or nil. Slices of an entry may be used
	// again for the next one, strings may not. If it fails, the rest is read as if it were new.
	Previous iter.Seq2[*format.Entry, error]
	// OneFileSystem keeps to the file systems that Roots lie on.
	OneFileSystem bool
	// Workers is how many files are read at a time; 0: one for each core, at least two.
	Workers int
	// Rounds is how often a file that changes while it is read is read again; 0: three times.
	Rounds int
	// Progress is called ten times a second and at the end, from one goroutine.
	Progress func(Progress)

	// trace is told of the steps of a file's way, by tests that interfere.
	trace tracer
	// now is the clock; nil: the system's.
	now func() time.Time
}

// Progress is how far a capture has come.
type Progress struct {
	// Entries and Files were given to the sink; Bytes are the sizes of these files.
	Entries, Files, Bytes int64
	// Read are the bytes read from files so far, also of files that are not done.
	Read int64
}

// Result is what a capture came to. The lists name at most MaxNotes paths each; the counts are whole.
type Result struct {
	// Roots are those captured: clean, none below another, in order, the missing ones among them.
	Roots []string
	// Missing are roots that do not exist.
	Missing []string
	// Unstable are files that changed during each reading; the last one is stored.
	Unstable []format.Note
	// Skipped are devices, sockets, file systems that were not entered, and what could not be read.
	Skipped []format.Note
	// Faults are those of Skipped that should have been captured, wholly, but could not be read.
	Faults []format.Note
	// Unreadable counts the faults. If it is not 0, the golden lacks something.
	Unreadable int64
	// UnstableCount and SkippedCount are the lengths that the lists would have without their limit.
	UnstableCount, SkippedCount int64
	// Entries counts all of them, Files those of type file, Bytes their sizes.
	Entries, Files, Bytes int64
	// Unchanged counts the files that were taken over from Previous without being read.
	Unchanged int64
	// Read is how many bytes were read from files, each reading counted.
	Read int64
	// PreviousErr is why Previous was not used to its end.
	PreviousErr error
}

// The words about what is never captured. Whoever makes one makes it anew.
const (
	Socket = "a socket"
	Device = "a device"
)

// MaxNotes is how many paths a list of a Result holds.
const MaxNotes = 10_000

// tracer is told of steps: "opened" once a file is open and its state known, "read" after its
// content, "listed" after the names of a folder.
type tracer interface {
	reached(step, path string)
}

// Run captures. It returns an error if the options are wrong, the sink fails, ctx ends, an overlay is
// missing, or the process lacks files or memory; what a single entry suffers is in the Result.
func Run(ctx context.Context, sink Sink, o Options) (Result, error) {
	r, err := newRun(sink, o)
	if err != nil {
		return Result{}, err
	}
	return r.run(ctx)
}
