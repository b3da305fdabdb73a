package peers

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/integrity"
)

const (
	// integrityRounds of each program, in turn; the best counts, as the machine does other things, too.
	integrityRounds = 3
	// integrityAim is how many times the speed of openssl dgst a verification is to have; a tenth less
	// may be the machine.
	integrityAim, integrityFloor = 1.0, 0.9
)

// integrityTree is a set of files that is hashed.
type integrityTree struct {
	name  string
	files []string
	bytes int64
}

// TestBenchIntegrity measures a verification of everything, which also compares modes, owners and
// links, beside programs that hash the same files, by the time they have a CPU. All files are in the
// page cache.
func TestBenchIntegrity(t *testing.T) {
	for _, tree := range []integrityTree{
		growTree(t, "4 files of 64 MB", 4, 64<<20),
		growTree(t, "10,000 files of 16 kB", 10_000, 16<<10),
	} {
		rows := integrityRows(t, tree)
		best := make([]time.Duration, len(rows))
		for range integrityRounds {
			for i, r := range rows {
				if cpu := r.run(); best[i] == 0 || cpu < best[i] {
					best[i] = cpu
				}
			}
		}
		t.Logf("%s, %d MB; the best of %d rounds", tree.name, tree.bytes/1e6, integrityRounds)
		for i, r := range rows {
			ratio := best[1].Seconds() / best[i].Seconds()
			t.Logf("  %-34s %8.0f MB per CPU-second   %5.2f times openssl dgst", r.name, float64(tree.bytes)/1e6/best[i].Seconds(), ratio)
			if i == 0 && ratio < integrityFloor {
				t.Errorf("a verification has %.2f times the speed of openssl dgst, aim %.1f", ratio, integrityAim)
			}
		}
	}
}

func growTree(t *testing.T, name string, files int, size int64) integrityTree {
	tree := integrityTree{name: name, bytes: int64(files) * size}
	dir, content := t.TempDir(), make([]byte, size)
	source := rand.NewChaCha8([32]byte{4})
	for i := range files {
		_, _ = source.Read(content[:min(size, 64<<10)])
		folder := filepath.Join(dir, fmt.Sprintf("d%d", i%100))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, fmt.Sprintf("f%d", i))
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		tree.files = append(tree.files, path)
	}
	syncFiles(t, dir) // AIDE takes the blocks that a file is given later for a change
	return tree
}

func syncFiles(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	if err == nil {
		defer f.Close()
		err = unix.Syncfs(int(f.Fd()))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// integrityRow is one program; run returns the time it had a CPU.
type integrityRow struct {
	name string
	run  func() time.Duration
}

func integrityRows(t *testing.T, tree integrityTree) []integrityRow {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("needs openssl to compare with")
	}
	rows := []integrityRow{
		{"ShivX, everything verified", verification(t, tree)},
		{"openssl dgst -sha256", func() time.Duration { return cpuOfRun(t, openssl, append([]string{"dgst", "-sha256"}, tree.files...)) }},
	}
	if path, err := exec.LookPath("sha256sum"); err == nil {
		rows = append(rows, integrityRow{"sha256sum", func() time.Duration { return cpuOfRun(t, path, tree.files) }})
	}
	if path, err := exec.LookPath("aide"); err == nil {
		rows = append(rows, integrityRow{"aide --check, SHA-256 alone", aide(t, path, tree)})
	} else {
		t.Log("aide is not installed: left out")
	}
	return rows
}

// verification returns what verifies the tree against its baseline.
func verification(t *testing.T, tree integrityTree) func() time.Duration {
	t.Helper()
	root := filepath.Dir(filepath.Dir(tree.files[0]))
	w, err := integrity.Open(integrity.Options{
		Rules: config.Integrity{Paths: []string{root}, Every: time.Hour}, Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler),
		Found:  func(_ context.Context, f integrity.Finding) { t.Errorf("found %s %s", f.Kind, f.Path) },
		Record: func(context.Context, string, any) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	verify := func() time.Duration {
		before := ownCPU(t)
		r, err := w.Verify(context.Background())
		if err != nil || r.Bytes != tree.bytes {
			t.Fatalf("%d bytes were hashed, not %d: %v", r.Bytes, tree.bytes, err)
		}
		return ownCPU(t) - before
	}
	verify() // makes the baseline
	return verify
}

func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func cpuOfRun(t *testing.T, path string, args []string) time.Duration {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// aide returns what checks the tree against AIDE's own database, by one worker.
func aide(t *testing.T, path string, tree integrityTree) func() time.Duration {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "aide.conf")
	text := fmt.Sprintf("database_in=file:%[1]s/db\ndatabase_out=file:%[1]s/db\nnum_workers=1\nreport_level=minimal\n%[2]s p+u+g+s+m+l+sha256\n",
		dir, filepath.Dir(filepath.Dir(tree.files[0])))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cpuOfRun(t, path, []string{"--config", conf, "--init"})
	return func() time.Duration { return cpuOfRun(t, path, []string{"--config", conf, "--check"}) }
}
