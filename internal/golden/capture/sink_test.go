package capture

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// memory is a sink that keeps everything, for tests to look at.
type memory struct {
	mu      sync.Mutex
	blocks  map[format.Hash][]byte
	used    map[format.Hash]bool
	lanes   int
	closed  int
	entries []format.Entry
	// These are what Put, Entry and Close return.
	putErr, entryErr, closeErr error
}

var _ Sink = (*memory)(nil)

func newMemory() *memory {
	return &memory{blocks: map[format.Hash][]byte{}, used: map[format.Hash]bool{}}
}

// after is a sink whose store has the blocks of m.
func (m *memory) after() *memory {
	n := newMemory()
	maps.Copy(n.blocks, m.blocks)
	return n
}

func (m *memory) Use(h format.Hash) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.blocks[h]
	m.used[h] = m.used[h] || ok
	return ok
}

func (m *memory) Lane() Lane {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lanes++
	return &memoryLane{m: m}
}

func (m *memory) Entry(e *format.Entry) error {
	if m.entryErr != nil {
		return m.entryErr
	}
	m.entries = append(m.entries, clone(e))
	return nil
}

// all yields the entries as a store does: one struct, used again for the next.
func (m *memory) all() iter.Seq2[*format.Entry, error] {
	return func(yield func(*format.Entry, error) bool) {
		var one format.Entry
		for i := range m.entries {
			next := m.entries[i]
			next.Blocks = reuse(one.Blocks, next.Blocks)
			next.Data = reuse(one.Data, next.Data)
			next.Xattrs = reuse(one.Xattrs, next.Xattrs)
			one = next
			if !yield(&one, nil) {
				return
			}
		}
	}
}

func reuse[T any](old, next []T) []T {
	if next == nil || old == nil {
		return slices.Clone(next)
	}
	return append(old[:0], next...)
}

func (m *memory) paths() []string {
	var all []string
	for i := range m.entries {
		all = append(all, m.entries[i].Path)
	}
	return all
}

// entry returns the entry of a path.
func (m *memory) entry(t testing.TB, path string) format.Entry {
	t.Helper()
	for i := range m.entries {
		if m.entries[i].Path == path {
			return m.entries[i]
		}
	}
	require.Failf(t, "no entry", "%q in %q", path, m.paths())
	return format.Entry{}
}

// stored puts together the data of a file from blocks alone.
func (m *memory) stored(t testing.TB, e format.Entry) []byte {
	t.Helper()
	require.Equal(t, format.TypeFile, e.Type)
	stored := []byte{}
	for i := range e.BlockCount() {
		block, ok := m.blocks[e.Block(i)]
		require.True(t, ok, "block %d of %s", i, e.Path)
		require.True(t, m.used[e.Block(i)], "block %d of %s is used", i, e.Path)
		stored = append(stored, block...)
	}
	require.Equal(t, e.Sum, format.Sum(stored), e.Path)
	require.Len(t, stored, int(e.Stored()), e.Path)
	return stored
}

// content is the data of a file with zeros for holes.
func (m *memory) content(t testing.TB, e format.Entry) []byte {
	t.Helper()
	stored := m.stored(t, e)
	if e.Data == nil {
		return stored
	}
	whole := make([]byte, e.Size)
	for _, x := range e.Data {
		copy(whole[x.Offset:x.Offset+x.Length], stored)
		stored = stored[x.Length:]
	}
	return whole
}

type memoryLane struct {
	m      *memory
	closed bool
}

func (l *memoryLane) Put(_ context.Context, h format.Hash, plain []byte) error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.closed || len(plain) == 0 || len(plain) > format.BlockSize || h != format.Sum(plain) {
		return errors.New("put of a wrong block")
	}
	if l.m.putErr != nil {
		return l.m.putErr
	}
	l.m.used[h] = true
	if _, ok := l.m.blocks[h]; !ok {
		l.m.blocks[h] = append([]byte(nil), plain...)
	}
	return nil
}

func (l *memoryLane) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.closed {
		return errors.New("closed twice")
	}
	l.closed = true
	l.m.closed++
	return l.m.closeErr
}

// capture runs and checks what holds of every golden: each entry can be written and read, follows
// the one before, and every block of it is there.
func capture(t testing.TB, m *memory, o Options) Result {
	t.Helper()
	r, err := Run(t.Context(), m, o)
	require.NoError(t, err)
	require.NoError(t, r.PreviousErr)
	checkGolden(t, m, r)
	return r
}

func checkGolden(t testing.TB, m *memory, r Result) {
	t.Helper()
	require.Equal(t, m.lanes, m.closed)
	require.EqualValues(t, len(m.entries), r.Entries)
	seq := format.Sequence{Roots: r.Roots}
	var files, bytes int64
	for i := range m.entries {
		e := &m.entries[i]
		require.NoError(t, seq.Next(e))
		line, err := format.AppendEntry(nil, e)
		require.NoError(t, err, e.Path)
		var again format.Entry
		require.NoError(t, format.ParseEntry(&again, line))
		if e.Type != format.TypeFile {
			continue
		}
		files, bytes = files+1, bytes+e.Size
		m.stored(t, *e)
	}
	require.Equal(t, files, r.Files)
	require.Equal(t, bytes, r.Bytes)
}
