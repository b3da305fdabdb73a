package store

import (
	"context"
	"errors"
	"sync"

	"github.com/shivx/shivx/internal/golden/format"
)

// filesMost is how many packs nobody reads from stay open.
const filesMost = 64

// files are the packs that were read from lately.
type files struct {
	backend Backend
	mu      sync.Mutex
	byName  map[format.Hash]*openFile
	// clock counts uses.
	clock uint64
}

type openFile struct {
	object Object
	users  int
	used   uint64
	// gone says that it is closed once nobody reads from it.
	gone bool
}

func newFiles(b Backend) *files { return &files{backend: b, byName: map[format.Hash]*openFile{}} }

// open returns the pack; done is to be called with it afterwards.
func (f *files) open(ctx context.Context, name format.Hash) (*openFile, error) {
	if o := f.get(name, nil); o != nil {
		return o, nil
	}
	object, err := f.backend.Open(ctx, packName(name))
	if err != nil {
		return nil, err
	}
	return f.get(name, object), nil
}

// get returns the open pack of the name, or takes object for it if that is not nil.
func (f *files) get(name format.Hash, object Object) *openFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.byName[name]
	switch {
	case o == nil && object == nil:
		return nil
	case o == nil:
		f.evict()
		o = &openFile{object: object}
		f.byName[name] = o
	case object != nil:
		_ = object.Close() // another goroutine was first
	}
	f.clock++
	o.users++
	o.used = f.clock
	return o
}

// evict closes the pack that nobody has read from for longest.
func (f *files) evict() {
	if len(f.byName) < filesMost {
		return
	}
	var name format.Hash
	var oldest *openFile
	for n, o := range f.byName {
		if o.users == 0 && (oldest == nil || o.used < oldest.used) {
			name, oldest = n, o
		}
	}
	if oldest != nil {
		_ = oldest.object.Close()
		delete(f.byName, name)
	}
}

func (f *files) done(o *openFile) {
	f.mu.Lock()
	if o.users--; o.gone && o.users == 0 {
		_ = o.object.Close()
	}
	f.mu.Unlock()
}

func (f *files) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var err error
	for name, o := range f.byName {
		err = errors.Join(err, o.object.Close())
		delete(f.byName, name)
	}
	return err
}
