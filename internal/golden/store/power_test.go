package store

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var errPower = errors.New("the power is gone")

// disk is a backend that forgets what was not made durable when its power goes. It keeps no promise
// that a file system does not give.
type disk struct {
	mu sync.Mutex
	// names are what a running system sees, kept what is surely there after a power cut.
	names, kept map[string]*diskFile
	files       []*diskFile
	// left is how many operations are done before the power goes.
	left int
}

type diskFile struct {
	d          *disk
	data, kept []byte
}

func newDisk(left int) *disk {
	return &disk{names: map[string]*diskFile{}, kept: map[string]*diskFile{}, left: left}
}

// do counts an operation.
func (d *disk) do(op func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left <= 0 {
		return errPower
	}
	d.left--
	return op()
}

// cut returns the disk as it may be after the power has gone.
func (d *disk) cut(r *rand.Rand) *disk {
	after := newDisk(1 << 30)
	names := maps.Clone(d.kept)
	for n, f := range d.names {
		if r.IntN(2) == 0 {
			names[n] = f
		}
	}
	for n := range names {
		if _, there := d.names[n]; !there && r.IntN(2) == 0 {
			delete(names, n)
		}
	}
	for n, f := range names {
		data := bytes.Clone(f.data)
		switch r.IntN(3) {
		case 0: // only what is durable
			data = bytes.Clone(f.kept)
		case 1: // the length, but not all of the content
			lost := data[min(len(f.kept), len(data)):]
			clear(lost[:r.IntN(len(lost)+1)])
		}
		after.names[n] = &diskFile{d: after, data: data, kept: data}
	}
	after.kept = maps.Clone(after.names)
	return after
}

func (d *disk) Create(context.Context) (File, error) {
	f := &diskFile{d: d}
	return f, d.do(func() error { d.files = append(d.files, f); return nil })
}

func (d *disk) Open(_ context.Context, name string) (Object, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.names[name]
	if f == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return diskObject{bytes.NewReader(f.data)}, nil
}

type diskObject struct{ *bytes.Reader }

func (diskObject) Close() error { return nil }

func (d *disk) List(_ context.Context, prefix string) iter.Seq2[ObjectInfo, error] {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []ObjectInfo
	for _, n := range slices.Sorted(maps.Keys(d.names)) {
		if strings.HasPrefix(n, prefix) {
			all = append(all, ObjectInfo{Name: n, Size: int64(len(d.names[n].data))})
		}
	}
	return func(yield func(ObjectInfo, error) bool) {
		for _, i := range all {
			if !yield(i, nil) {
				return
			}
		}
	}
}

func (d *disk) Remove(_ context.Context, names ...string) error {
	return d.do(func() error {
		for _, n := range names {
			delete(d.names, n)
		}
		return nil
	})
}

func (d *disk) Sync(context.Context) error {
	return d.do(func() error {
		for _, f := range d.files {
			f.kept = f.data // which only grows
		}
		d.kept = maps.Clone(d.names)
		return nil
	})
}

func (f *diskFile) Write(p []byte) (int, error) {
	return len(p), f.d.do(func() error { f.data = append(f.data, p...); return nil })
}

func (f *diskFile) Publish(_ context.Context, name string) error {
	return f.publish(name, strings.HasPrefix(name, goldensDir))
}

func (f *diskFile) Replace(_ context.Context, name string) error { return f.publish(name, true) }

func (f *diskFile) publish(name string, replace bool) error {
	return f.d.do(func() error {
		golden := strings.HasPrefix(name, goldensDir)
		if f.d.names[name] != nil && !replace {
			return fs.ErrExist
		}
		f.d.names[name] = f
		if golden {
			f.d.kept[name] = f
		}
		return nil
	})
}

func (*diskFile) Discard() error { return nil }

var _ Backend = (*disk)(nil)

// TestPowerLoss takes the power away after each operation of creating a store and of two backups.
// Whatever of it is on the disk then, each golden that is there is whole, and one that Commit
// returned is there.
func TestPowerLoss(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	done := false
	for n := 1; !done; n++ {
		d := newDisk(n)
		committed, err := twoBackups(t.Context(), d)
		done = err == nil
		if err != nil {
			require.ErrorIs(t, err, errPower)
		}
		for range 4 {
			after := d.cut(r)
			s, err := Open(t.Context(), after, options())
			if err != nil {
				require.Empty(t, committed, "%d: %v", n, err)
				s, err = Create(t.Context(), after, options())
				require.NoError(t, err)
			}
			all, err := s.List(t.Context(), "")
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(all), len(committed), "%d: a golden is lost", n)
			for _, i := range all {
				require.NoError(t, i.Err, "after %d operations", n)
				g, err := s.Find(t.Context(), i.ID)
				require.NoError(t, err)
				require.NoError(t, g.Check(t.Context(), nil, nil), "after %d operations", n)
			}
			requireTree(t, smallTree(2), mustBackup(t, s, smallTree(2)))
		}
	}
}

// twoBackups returns the ids of those that were done.
func twoBackups(ctx context.Context, d *disk) ([]string, error) {
	s, err := Create(ctx, d, options())
	if err != nil {
		return nil, err
	}
	s.pace = pace{packSize: 30_000} // names are given while others write
	var ids []string
	for i := range uint64(2) {
		g, err := backup(ctx, s, smallTree(i+1), testHeader("web"), 2)
		if err != nil {
			return ids, err
		}
		ids = append(ids, g.Header().ID)
	}
	return ids, nil
}
