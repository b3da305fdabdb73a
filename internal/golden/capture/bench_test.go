package capture

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/testenv"
)

// counter is a sink that hashes nothing more than a capture does and forgets everything.
type counter struct {
	keep    bool
	entries []format.Entry
	stored  atomic.Int64
}

func (*counter) Use(format.Hash) bool { return true }
func (c *counter) Lane() Lane         { return c }
func (*counter) Close() error         { return nil }

func (c *counter) Put(_ context.Context, _ format.Hash, plain []byte) error {
	c.stored.Add(int64(len(plain)))
	return nil
}

func (c *counter) Entry(e *format.Entry) error {
	if c.keep {
		c.entries = append(c.entries, clone(e))
	}
	return nil
}

func (c *counter) all(yield func(*format.Entry, error) bool) {
	for i := range c.entries {
		if !yield(&c.entries[i], nil) {
			return
		}
	}
}

// benchTree makes 10,000 files of 1 to 64 KB and 20 of 1 to 20 MB.
func benchTree(b *testing.B) (string, int64) {
	b.Helper()
	dir := b.TempDir()
	data := noise(7, 20<<20)
	var total int64
	file := func(path string, n int) {
		write(b, path, data[n%1000:n])
		total += int64(n - n%1000)
	}
	for i := range 10_000 {
		file(filepath.Join(dir, fmt.Sprintf("%02d", i%97), fmt.Sprintf("file-%05d", i)), 1024+i*6421%(63<<10))
	}
	for i := range 20 {
		file(filepath.Join(dir, "big", fmt.Sprintf("%02d", i)), (i+1)<<20)
	}
	return dir, total
}

// cpu reports the processor time for each of n things: other load on the machine changes it less.
func cpu(b *testing.B, n float64, unit string, run func()) {
	b.Helper()
	used := func() int64 {
		var self, children unix.Rusage
		require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &self))
		require.NoError(b, unix.Getrusage(unix.RUSAGE_CHILDREN, &children))
		return self.Utime.Nano() + self.Stime.Nano() + children.Utime.Nano() + children.Stime.Nano()
	}
	before := used()
	run()
	b.ReportMetric(float64(used()-before)/float64(b.N)/n, unit)
}

const entries = 10_020 + 98 + 1

func BenchmarkFirst(b *testing.B) {
	dir, total := benchTree(b)
	b.SetBytes(total)
	b.ReportAllocs()
	cpu(b, float64(total)/1e6, "cpu-ns/MB", func() {
		for b.Loop() {
			r, err := Run(b.Context(), &counter{}, Options{Roots: []string{dir}})
			require.NoError(b, err)
			require.Equal(b, total, r.Read)
		}
	})
}

func BenchmarkUnchanged(b *testing.B) {
	dir, _ := benchTree(b)
	first := &counter{keep: true}
	_, err := Run(b.Context(), first, Options{Roots: []string{dir}, now: later})
	require.NoError(b, err)
	b.ReportAllocs()
	cpu(b, entries, "cpu-ns/entry", func() {
		for b.Loop() {
			r, err := Run(b.Context(), &counter{}, Options{Roots: []string{dir}, Previous: first.all})
			require.NoError(b, err)
			require.Zero(b, r.Read)
			require.EqualValues(b, entries, r.Entries)
		}
	})
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/entries, "ns/entry")
}

// BenchmarkOpenSSL hashes the same files with two processes of openssl.
func BenchmarkOpenSSL(b *testing.B) {
	openssl := testenv.Need(b, "openssl")[0]
	dir, total := benchTree(b)
	b.SetBytes(total)
	cpu(b, float64(total)/1e6, "cpu-ns/MB", func() {
		for b.Loop() {
			cmd := exec.Command("sh", "-c", "find \"$0\" -type f -print0 | xargs -0 -P2 -n 1000 "+openssl+" dgst -sha256", dir)
			out, err := cmd.Output()
			require.NoError(b, err)
			require.Equal(b, 10_020, strings.Count(string(out), "\n"))
		}
	})
}

// BenchmarkHash is the floor: the same number of bytes, in memory, on two cores.
func BenchmarkHash(b *testing.B) {
	data := []byte(noise(9, 64<<20))
	b.SetBytes(int64(len(data)))
	cpu(b, float64(len(data))/1e6, "cpu-ns/MB", func() {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_ = sha256.Sum256(data)
			}
		})
	})
}
