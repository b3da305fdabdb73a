package store

import (
	"context"
	"encoding/binary"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

func numbered(i int) format.Hash {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(i))
	return format.Sum(b[:])
}

// fill makes an index of n blocks.
func fill(n int) *index {
	x := new(index)
	for i := range n {
		x.add(&record{id: numbered(i), pack: uint32(i)})
	}
	return x
}

func TestIndexOfAMillionBlocks(t *testing.T) {
	const n = 1_000_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := fill(n)
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := after.HeapAlloc - before.HeapAlloc
	t.Logf("%.1f MB in memory, %.1f MB allocated in all", float64(used)/1e6, float64(after.TotalAlloc-before.TotalAlloc)/1e6)
	require.Less(t, used, uint64(70_000_000))
	for i := range n {
		h := numbered(i)
		if r := x.find(&h); r == nil || r.pack != uint32(i) {
			t.Fatal(i)
		}
	}
	for i := range 1000 {
		h := numbered(n + i)
		require.Nil(t, x.find(&h))
	}
	require.Nil(t, new(index).find(&format.Hash{}))
}

// raced says whether the race detector is on, with which pools forget on purpose.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// In the steady state a block costs no memory.
func TestPutAllocatesNothing(t *testing.T) {
	if raced() {
		t.Skip("the race detector makes pools allocate")
	}
	for name, o := range map[string]Options{"plain": options(), "encrypted": sealedOptions(t)} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t, o)
			w, err := s.Begin(t.Context())
			require.NoError(t, err)
			defer w.Abort()
			l := w.Lane()
			ctx := context.Background()
			data := append(content(0, 8<<10), content(1, 8<<10)...)
			n := 0
			put := func() {
				binary.LittleEndian.PutUint64(data, uint64(n))
				n++
				h := format.Sum(data)
				if w.Use(h) || l.Put(ctx, h, data) != nil || !w.Use(h) {
					t.Error("not stored")
				}
			}
			for range 3000 { // fills all buffers once
				put()
			}
			allocs := testing.AllocsPerRun(1000, put)
			require.Less(t, allocs, 0.1, "each chunk of the index, and each pack, costs some")
			e := entryOf("/tree/", data)
			i, names := 0, entryNames()
			allocs = testing.AllocsPerRun(1000, func() {
				e.Path = names[i]
				i++
				if w.Entry(e) != nil {
					t.Error("no entry")
				}
			})
			require.Less(t, allocs, 0.1)
		})
	}
}

// entryNames are of 2000 entries in order.
func entryNames() []string {
	all := make([]string, 2000)
	for i := range all {
		b := binary.BigEndian.AppendUint32(nil, uint32(i))
		all[i] = "/tree/" + string([]byte{'a' + b[2]>>4, 'a' + b[2]&15, 'a' + b[3]>>4, 'a' + b[3]&15})
	}
	return all
}
