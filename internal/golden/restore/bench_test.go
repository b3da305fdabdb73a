package restore

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/store"
)

// bench is a tree of 2 GB and its golden in a real store, made once for all benchmarks.
type bench struct {
	dir    string
	golden *store.Golden
	small  []string
}

var (
	benchOnce sync.Once
	benchTree *bench
)

func benchmark(b *testing.B) *bench {
	b.Helper()
	benchOnce.Do(func() {
		dir, err := os.MkdirTemp("", "restore-bench-") //nolint:usetesting // it outlives the first benchmark
		require.NoError(b, err)
		benchTree = &bench{dir: dir}
		benchTree.grow(b)
		benchTree.golden = stow(b, dir+"/store", dir+"/live/tree")
		h := benchTree.golden.Header()
		b.Logf("%d files, %d MB", h.Files, h.Bytes>>20)
	})
	return benchTree
}

// grow makes 40,000 files of 1 to 64 KB and 200 of 1 to 20 MB, half of them compressible.
func (t *bench) grow(b *testing.B) {
	r := rand.New(rand.NewChaCha8([32]byte{1}))
	src := rand.NewChaCha8([32]byte{2})
	buf := make([]byte, 20<<20)
	fill := func(n int) []byte {
		_, _ = src.Read(buf[:n])
		if r.IntN(2) == 0 {
			for i := range buf[:n] {
				buf[i] = "the quick brown fox "[i%20] + buf[i]&1
			}
		}
		return buf[:n]
	}
	for i := range 40_000 {
		dir := fmt.Sprintf("%s/live/tree/d%02d/e%02d", t.dir, i/1000, i/100%10)
		if i%100 == 0 {
			require.NoError(b, os.MkdirAll(dir, 0o755))
		}
		p := fmt.Sprintf("%s/file%05d.txt", dir, i)
		size := int(1024 * math.Pow(64, r.Float64()))
		require.NoError(b, os.WriteFile(p, fill(size), 0o644))
		t.small = append(t.small, p)
		switch i % 200 {
		case 7:
			require.NoError(b, os.Link(p, p+".link"))
		case 8:
			require.NoError(b, os.Symlink("file", p+".sym"))
		}
	}
	for i := range 200 {
		size := int(float64(1<<20) * math.Pow(20, r.Float64()))
		require.NoError(b, os.WriteFile(fmt.Sprintf("%s/live/tree/d%02d/large%03d", t.dir, i%40, i), fill(size), 0o644))
	}
}

// damage changes one small file of a hundred, with its time as it was.
func (t *bench) damage(b *testing.B) {
	for i := 0; i < len(t.small); i += 100 {
		info, err := os.Stat(t.small[i])
		require.NoError(b, err)
		data, err := os.ReadFile(t.small[i])
		require.NoError(b, err)
		data[len(data)/2]++
		require.NoError(b, os.WriteFile(t.small[i], data, 0o644))
		require.NoError(b, os.Chtimes(t.small[i], info.ModTime(), info.ModTime()))
	}
	unix.Sync()
}

func BenchmarkInPlace(b *testing.B) {
	t := benchmark(b)
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		t.damage(b)
		b.StartTimer()
		start, used := time.Now(), processor(b)
		s, err := Stage(context.Background(), t.golden, Options{Journal: t.dir + "/journal", InPlace: true})
		require.NoError(b, err)
		staged := time.Now()
		c, err := s.Swap(context.Background())
		require.NoError(b, err)
		swapped := time.Now()
		require.NoError(b, s.Finish(context.Background(), false))
		b.Logf("stage %v, swap %v, finish %v; processor %v", staged.Sub(start), swapped.Sub(staged), time.Since(swapped), processor(b)-used)
		require.EqualValues(b, 400, c.Content.Entries)
	}
}

func BenchmarkWhole(b *testing.B) {
	t := benchmark(b)
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		require.NoError(b, os.RemoveAll(t.dir+"/live/tree"))
		unix.Sync()
		b.StartTimer()
		start, used := time.Now(), processor(b)
		s, err := Stage(context.Background(), t.golden, Options{Journal: t.dir + "/journal"})
		require.NoError(b, err)
		staged := time.Now()
		_, err = s.Swap(context.Background())
		require.NoError(b, err)
		swapped := time.Now()
		require.NoError(b, s.Finish(context.Background(), false))
		b.Logf("stage %v, swap %v, finish %v; processor %v", staged.Sub(start), swapped.Sub(staged), time.Since(swapped), processor(b)-used)
	}
}

// BenchmarkCopy is what cp -a and a sync take to write the same tree.
func BenchmarkCopy(b *testing.B) {
	t := benchmark(b)
	for range b.N {
		other(b, t, "cp", "-a", t.dir+"/live/tree", t.dir+"/copy")
	}
}

// BenchmarkRsync is what rsync takes to compare the tree with a copy by content.
func BenchmarkRsync(b *testing.B) {
	if _, err := exec.LookPath("rsync"); err != nil {
		b.Skip("rsync is not installed")
	}
	t := benchmark(b)
	command(b, "cp", "-a", t.dir+"/live/tree", t.dir+"/copy")
	for range b.N {
		t.damage(b)
		b.ResetTimer()
		other(b, t, "rsync", "-aH", "--checksum", t.dir+"/copy/", t.dir+"/live/tree/")
	}
}

// processor is what this process has used: on a busy machine it says more than the clock.
func processor(b *testing.B) time.Duration {
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func other(b *testing.B, t *bench, args ...string) {
	start := time.Now()
	command(b, args...)
	f, err := os.Open(t.dir)
	require.NoError(b, err)
	require.NoError(b, unix.Syncfs(int(f.Fd())))
	require.NoError(b, f.Close())
	b.Logf("%s: %v", filepath.Base(args[0]), time.Since(start))
	b.StopTimer()
	require.NoError(b, os.RemoveAll(t.dir+"/copy"))
	b.StartTimer()
}
