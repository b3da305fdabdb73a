package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// load is what benchmarks store.
type load struct {
	name  string
	data  []byte
	block int
}

func loads() []load {
	const n = 128 << 20
	random, text := content(1, n), make([]byte, 0, n+(1<<20))
	for len(text) < n {
		text = append(text, content(uint64(3*len(text)), 1<<20)...)
	}
	mixed := make([]byte, 0, n)
	for i := 0; len(mixed) < n; i++ {
		mixed = append(mixed, [][]byte{random, text}[i%2][len(mixed):][:16<<10]...)
	}
	return []load{{"random-1M", random, 1 << 20}, {"text-1M", text[:n], 1 << 20}, {"half-16K", mixed, 16 << 10}}
}

// perCPU reports how many MB of n were worked off in a second of one processor, the kernel's work
// included.
func perCPU(b *testing.B, n int, work func()) {
	var before, after unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &before))
	for b.Loop() {
		work()
	}
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &after))
	spent := after.Utime.Nano() - before.Utime.Nano() + after.Stime.Nano() - before.Stime.Nano()
	b.SetBytes(int64(n))
	b.ReportMetric(float64(n)*float64(b.N)/1e6/(float64(spent)/1e9), "MB/CPU-s")
}

// inLanes hands out the blocks to two goroutines.
func inLanes(l load, w *Writer) error {
	const lanes = 2
	var all sync.WaitGroup
	errs := make(chan error, lanes)
	share := len(l.data) / lanes
	for i := range lanes {
		lane := w.Lane()
		all.Go(func() {
			err := putBlocks(l.data[i*share:][:share], l.block, w, lane)
			if e := lane.Close(); err == nil {
				err = e
			}
			errs <- err
		})
	}
	all.Wait()
	for range lanes {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

func putBlocks(data []byte, block int, w *Writer, lane *Lane) error {
	for ; len(data) > 0; data = data[block:] {
		if h := format.Sum(data[:block]); !w.Use(h) {
			if err := lane.Put(context.Background(), h, data[:block]); err != nil {
				return err
			}
		}
	}
	return nil
}

// stampBlocks makes blocks that are in no store yet.
func stampBlocks(l load, n uint64) {
	for i := 0; i < len(l.data); i += l.block {
		binary.LittleEndian.PutUint64(l.data[i:], n<<32+uint64(i))
	}
}

func BenchmarkBackup(b *testing.B) {
	for _, l := range loads() {
		b.Run("sha256/"+l.name, func(b *testing.B) {
			perCPU(b, len(l.data), func() {
				for i := 0; i < len(l.data); i += l.block {
					format.Sum(l.data[i:][:l.block])
				}
			})
		})
		b.Run("zstd/"+l.name, func(b *testing.B) {
			enc, err := newEncoder(1)
			require.NoError(b, err)
			var buf []byte
			perCPU(b, len(l.data), func() {
				for i := 0; i < len(l.data); i += l.block {
					buf = enc.EncodeAll(l.data[i:][:l.block], buf[:0])
				}
			})
		})
		for name, o := range map[string]Options{"store": options(), "encrypted": sealedOptions(b)} {
			b.Run(name+"/"+l.name, func(b *testing.B) {
				s, _ := newStore(b, o)
				n := uint64(0)
				perCPU(b, len(l.data), func() {
					n++
					stampBlocks(l, n)
					w, err := s.Begin(context.Background())
					require.NoError(b, err)
					require.NoError(b, inLanes(l, w))
					_, err = w.Commit(context.Background(), testHeader("web"))
					require.NoError(b, err)
				})
			})
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, l := range loads() {
		s, _ := newStore(b, options())
		w, err := s.Begin(b.Context())
		require.NoError(b, err)
		require.NoError(b, inLanes(l, w))
		g, err := w.Commit(b.Context(), testHeader("web"))
		require.NoError(b, err)
		var stored int64
		require.NoError(b, g.Check(b.Context(), nil, func(n int64) { stored += n }))
		b.Run(l.name, func(b *testing.B) {
			perCPU(b, int(stored), func() { require.NoError(b, g.Check(context.Background(), nil, nil)) })
		})
		b.Run("sha256/"+l.name, func(b *testing.B) {
			perCPU(b, len(l.data), func() {
				for part := range len(l.data) >> 20 {
					format.Sum(l.data[part<<20:][:1<<20])
				}
			})
		})
		b.Run("block/"+l.name, func(b *testing.B) {
			var buf []byte
			perCPU(b, len(l.data), func() {
				for i := 0; i < len(l.data); i += l.block {
					buf, err = g.Block(context.Background(), buf, format.Sum(l.data[i:][:l.block]))
					require.NoError(b, err)
				}
			})
		})
	}
}

func BenchmarkEntries(b *testing.B) {
	s, _ := newStore(b, options())
	const n = 100_000
	entries := make([]*format.Entry, n)
	for i := range entries {
		entries[i] = entryOf(fmt.Sprintf("/tree/of/some/depth/%02d/%06d", i/5000, i), nil)
		entries[i].Size, entries[i].Sum = 1000, numbered(i)
		entries[i].Hint = format.Hint{Device: 64769, Inode: uint64(10_000_000 + i), Changed: 1700000000123456789}
	}
	var g *Golden
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			w, err := s.Begin(context.Background())
			require.NoError(b, err)
			for _, e := range entries {
				if err := w.Entry(e); err != nil {
					b.Fatal(err)
				}
			}
			g, err = w.Commit(context.Background(), testHeader("web"))
			require.NoError(b, err)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
		b.ReportMetric(float64(g.head.size)/n, "bytes/entry")
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			for _, err := range g.Entries(context.Background()) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
	})
}

// BenchmarkBegin begins a backup in a store of a million blocks.
func BenchmarkBegin(b *testing.B) {
	s, _ := newStore(b, options())
	w, err := s.Begin(context.Background())
	require.NoError(b, err)
	l := w.Lane()
	var data [100]byte
	for i := range 1_000_000 {
		binary.LittleEndian.PutUint64(data[:], uint64(i))
		if err := l.Put(context.Background(), format.Sum(data[:]), data[:]); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, l.Close())
	_, err = w.Commit(context.Background(), testHeader("web"))
	require.NoError(b, err)
	w, l = nil, nil
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		if w != nil {
			w.Abort()
		}
		w, err = s.Begin(context.Background())
		require.NoError(b, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB-kept")
	b.ReportMetric(float64(after.Sys)/1e6, "MB-of-system")
	w.Abort()
}

func BenchmarkIndex(b *testing.B) {
	x := fill(1_000_000)
	i := 0
	b.Run("find", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			i++
			h := x.at(i * 7919 % x.count).id
			if x.find(&h) == nil {
				b.Fatal("not found")
			}
		}
	})
}
