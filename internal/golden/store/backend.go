// Package store keeps goldens: the content of their files as blocks in packs, each block once, and a
// signed file for each golden. Whatever has a name in a store is complete and never changes; packs
// are durable before the golden that needs them has a name. So a process may be killed and a disk
// may fill at any instant. docs/GOLDEN-FORMAT.md describes the bytes.
package store

import (
	"context"
	"io"
	"iter"
)

// Backend is where the bytes of a store are. Names are slash-separated and made of letters, digits,
// '.', '-' and '_'. An object is complete as soon as it has a name, and never changes afterwards.
type Backend interface {
	// Create begins an unfinished file, which has no name yet.
	Create(ctx context.Context) (File, error)
	// Open returns the object of the name; the error is fs.ErrNotExist when there is none.
	Open(ctx context.Context, name string) (Object, error)
	// List yields the objects whose names begin with prefix, sorted by name. It ends at the first error.
	List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error]
	// Remove removes objects; one that does not exist is no error. It is durable after the next Sync.
	Remove(ctx context.Context, names ...string) error
	// Sync makes every file written so far durable. A file is published only after it.
	Sync(ctx context.Context) error
}

// File is being written.
type File interface {
	io.Writer
	// Publish gives the file its name and ends it. It replaces a golden of that name; for any other
	// that exists the error is fs.ErrExist, and the file may be published again or discarded. The
	// name of a golden is durable when Publish returns; others are after the backend's next Sync.
	Publish(ctx context.Context, name string) error
	// Replace is Publish for any name, also one that exists: then the name changes from the one to the other
	// at once. It is for objects that are damaged, and durable after the backend's next Sync.
	Replace(ctx context.Context, name string) error
	// Discard ends the file without a name. After Publish has named it, it does nothing.
	Discard() error
}

// Uploader is a backend to whose objects there is a long way, so that several files are published at once, each
// as soon as it is complete.
type Uploader interface {
	// Uploads is how many.
	Uploads() int
}

// Object is open for reading.
type Object interface {
	io.ReaderAt
	Size() int64
	Close() error
}

// ObjectInfo is what a list says of an object.
type ObjectInfo struct {
	Name string
	// Size in bytes.
	Size int64
}

// Mode is how a store is locked.
type Mode int

// Shared locks (backup, verify, restore) exclude only Exclusive ones (prune, repair).
const (
	Shared Mode = iota
	Exclusive
)

// Locker is a backend that can be locked. One that is none is not locked at all.
type Locker interface {
	// Lock waits until it has the lock or ctx ends; that error says who holds it. The lock ends with
	// release, or with the process.
	Lock(ctx context.Context, mode Mode) (release func() error, err error)
}
