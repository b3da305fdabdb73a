package restore

import (
	"context"
	"fmt"
	"iter"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/testenv"
)

// myriad is a golden of very many files, none of which is in memory.
type myriad struct {
	*memory
	files int
	mtime time.Time
}

const perFolder = 1000

func (m *myriad) Entries(context.Context) iter.Seq2[*format.Entry, error] {
	return func(yield func(*format.Entry, error) bool) {
		root := m.h.Roots[0]
		if !yield(&format.Entry{Path: root, Type: format.TypeDir, Mode: 0o755, ModTime: m.mtime}, nil) {
			return
		}
		var dir string
		for i := range m.files {
			if i%perFolder == 0 {
				dir = fmt.Sprintf("%s/d%05d", root, i/perFolder)
				if !yield(&format.Entry{Path: dir, Type: format.TypeDir, Mode: 0o755, ModTime: m.mtime}, nil) {
					return
				}
			}
			e := format.Entry{
				Path: dir + "/file-of-an-ordinary-length-" + strconv.Itoa(perFolder+i%perFolder), Type: format.TypeFile,
				Mode: 0o644, ModTime: m.mtime, Sum: format.Sum(nil),
			}
			if !yield(&e, nil) {
				return
			}
		}
	}
}

// peak returns the most memory that this process had, in MB, since it was last reset.
func peak(t *testing.T) int {
	data, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(t, err)
	return kb >> 10
}

func resetPeak(t *testing.T) {
	runtime.GC()
	require.NoError(t, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o200))
}

// A million files, or MYRIAD of them: absent, then there but all with another time, then all the same.
func TestMemoryAtAMillionFiles(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("MYRIAD"))
	if err != nil {
		n = 50_000
	}
	dir := t.TempDir() + "/fs"
	testenv.Tmpfs(t, dir, "size=4g,nr_inodes=4m")
	m := &myriad{memory: &memory{}, files: n, mtime: time.Unix(1e9, 1).UTC()}
	m.h = format.Header{ID: "many", Roots: []string{dir + "/tree"}}
	for _, step := range []struct {
		name    string
		inPlace bool
		mtime   int64
		written int64
	}{{"in place, absent", true, 1, int64(n)}, {"whole", false, 2, int64(n)}, {"in place, all times differ", true, 3, 0}, {"in place, same", true, 3, 0}} {
		resetPeak(t)
		start := time.Now()
		m.mtime = time.Unix(step.mtime, 0).UTC()
		c := restoreAll(t, m, Options{Journal: dir + "/journal", InPlace: step.inPlace})
		require.Equal(t, step.written, c.Written.Entries)
		t.Logf("%s: %v, at most %d MB", step.name, time.Since(start), peak(t))
		require.Less(t, peak(t), 200)
	}
}
