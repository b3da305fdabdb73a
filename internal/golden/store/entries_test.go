package store

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// hole is a file without data, but with an attribute that cannot be compressed.
func hole(i, attribute int) *format.Entry {
	return &format.Entry{
		Path: fmt.Sprintf("/tree/%06d", i), Type: format.TypeFile, ModTime: entryOf("", nil).ModTime,
		Size: 5, Data: []format.Extent{}, Sum: format.Sum(nil),
		Xattrs: []format.Xattr{{Name: "user.a", Value: content(uint64(3*i+1), attribute)}},
	}
}

// So many entries that segments are put aside, and one line that is longer than a segment.
func TestManyEntries(t *testing.T) {
	for name, o := range map[string]Options{"plain": options(), "encrypted": sealedOptions(t)} {
		t.Run(name, func(t *testing.T) { manyEntries(t, o) })
	}
}

func manyEntries(t *testing.T, o Options) {
	const n = 2_500
	s, _ := newStore(t, o)
	w, err := s.Begin(t.Context())
	require.NoError(t, err)
	defer w.Abort()
	for i := range n {
		e := hole(i, 10_000)
		if i == n/2 {
			e.Xattrs, e.Data = nil, nil
			e.Size = 20_000 * format.BlockSize
			for b := range 20_000 {
				e.Blocks = append(e.Blocks, numbered(b))
			}
		}
		if err := w.Entry(e); err != nil {
			t.Fatal(err)
		}
	}
	require.NotNil(t, w.entries.spool, "nothing was put aside")
	g, err := w.Commit(t.Context(), testHeader("web"))
	require.NoError(t, err)
	require.Equal(t, int64(n), g.Header().Entries)
	require.Greater(t, len(g.Header().Segments), 20)
	i := 0
	for e, err := range g.Entries(t.Context()) {
		require.NoError(t, err)
		if want := fmt.Sprintf("/tree/%06d", i); e.Path != want {
			t.Fatal(e.Path, want)
		}
		if i == n/2 {
			require.Len(t, e.Blocks, 20_000)
		}
		i++
	}
	require.Equal(t, n, i)
	found, ok := errors.AsType[*DamageError](g.Check(t.Context(), nil, nil))
	require.True(t, ok, "blocks that nobody stored")
	require.Len(t, found.Damages, 20_000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range g.Entries(ctx) {
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			return
		}
	}
	t.Error("the end of the context was not seen")
}

// The header counts files and bytes as well as entries, and a list that differs is damaged.
func TestEntriesAreCounted(t *testing.T) {
	for name, miscount := range map[string]func(*segmentWriter){
		"entries": func(w *segmentWriter) { w.entries++ },
		"files":   func(w *segmentWriter) { w.files-- },
		"bytes":   func(w *segmentWriter) { w.bytes++ },
		"none":    func(*segmentWriter) {},
	} {
		s, _ := newStore(t, options())
		w, err := s.Begin(t.Context())
		require.NoError(t, err)
		require.NoError(t, w.Entry(hole(1, 10)))
		miscount(w.entries)
		g, err := w.Commit(t.Context(), testHeader("web"))
		require.NoError(t, err)
		_, err = read(t.Context(), g)
		if name == "none" {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, format.ErrDamaged, name)
		require.ErrorIs(t, g.Check(t.Context(), nil, nil), format.ErrDamaged, name)
	}
}
