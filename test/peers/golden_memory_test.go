package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/shivx/shivx/internal/testenv"
)

// goldenMemory is the most that a step may have resident, in MB.
const goldenMemory = 200

// TestBenchGoldenMemory has a golden of a million files, each with a content of its own, taken, taken again,
// verified and restored whole and in place, and says how much memory each step had resident at most.
func TestBenchGoldenMemory(t *testing.T) {
	files := 1_000_000
	if testing.Short() {
		files = 20_000
	}
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk") // in memory, as it is not the disk that is measured
	testenv.Tmpfs(t, disk, fmt.Sprintf("size=14g,nr_inodes=%d", 4*files+100_000))
	tree := filepath.Join(disk, "tree")
	for i := range files {
		if i%1000 == 0 {
			must(t, os.MkdirAll(filepath.Join(tree, strconv.Itoa(i/1000)), 0o755))
		}
		must(t, os.WriteFile(filepath.Join(tree, strconv.Itoa(i/1000), strconv.Itoa(i)), fmt.Appendf(nil, "the content of the file %d\n", i), 0o644))
	}
	shivx, err := filepath.Abs("../../bin/shivx")
	must(t, err)
	conf := filepath.Join(disk, "shivx.yaml")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, "version: 1\nhost: bench\npaths: {var: %s/var}\ngolden:\n  store: {path: %s/store}\n  sets:\n    - name: tree\n      paths: [%s]\n",
		disk, disk, tree), 0o600))
	for _, step := range [][]string{
		{"backup", "tree"}, {"backup", "tree"}, {"verify", "tree"},
		{"restore", "tree", "--yes"}, {"restore", "tree", "--yes", "--in-place"},
	} {
		began := time.Now()
		kB := runGolden(t, append(append([]string{shivx, "golden"}, step...), "--local", "--config", conf), disk)
		t.Logf("%-32v %d files in %6.1f s, at most %d MB resident", step, files, time.Since(began).Seconds(), kB>>10)
		if kB>>10 > goldenMemory {
			t.Errorf("%v: more than %d MB", step, goldenMemory)
		}
	}
}
