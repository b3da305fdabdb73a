package peers

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// goldenRounds of all programs, in turn; medians count.
const goldenRounds = 3

// goldenSteps are what is measured, each with a sync at its end, and the aims: in seconds on a quiet
// machine, and as a ratio to restic in the same run.
var goldenSteps = []struct {
	name     string
	aim, rel float64
}{
	{"backup", 6, 0.45}, {"1 % changed", 0.45, 0.3}, {"verify all", 0.9, 0.2}, {"restore", 5.5, 0.5}, {"1 % damaged in place", 1.1, 0.12},
}

// goldenProgram backs a tree up and restores it; each function is one of goldenSteps. A nil function:
// the program has no such thing.
type goldenProgram struct {
	name  string
	steps [5][]string
	// copied is where the restored tree lies, and damaged what is restored in place; repo is removed
	// before each round.
	copied, damaged, repo string
}

// TestBenchGolden measures the golden store beside other programs that do the same, on the same tree
// in the same run. Everything is in the page cache. Every restore is compared with the tree.
func TestBenchGolden(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("owners are restored by root alone")
	}
	small, big := 40_000, 220
	if testing.Short() {
		small, big = 2000, 11
	}
	dir := t.TempDir()
	spread(t, dir)
	tree := growGoldenTree(t, filepath.Join(dir, "tree"), small, big)
	t.Logf("%d files, %d MB", len(tree.files), tree.bytes/1e6)
	programs := goldenPrograms(t, dir, tree)
	took := make([][5][]float64, len(programs))
	memory := make([]int64, len(programs))
	var hash, write []float64
	for range goldenRounds {
		h, w := goldenFloor(t, tree, filepath.Join(dir, "floor"))
		hash, write = append(hash, h), append(write, w)
		for i := range programs {
			p := &programs[i]
			makeFar(t, p.repo)
			makeFar(t, filepath.Join(dir, "out"))
			p.prepare(t)
			for s := range p.steps {
				memory[i] = max(memory[i], p.step(t, tree, s, &took[i][s]))
			}
		}
	}
	report(t, programs, took, memory)
	t.Logf("the machine alone: SHA-256 of all files %.2f s, writing and syncing as much %.2f s", median(hash), median(write))
}

// spread has ext4 put each folder in dir into another group of blocks, see makeFar. For minutes ext4 does not use the inodes of
// removed files again, and looks at each of them for every new file of the group: a restore into the group of the
// round before would take three times as long, whatever program does it.
func spread(t *testing.T, dir string) {
	if out, err := exec.Command("chattr", "+T", dir).CombinedOutput(); err != nil {
		t.Logf("%s: %v: %s", dir, err, out)
	}
}

// makeFar makes a folder anew, where ext4 has not put it before: it goes by the name.
func makeFar(t *testing.T, path string) {
	must(t, os.RemoveAll(path))
	first := filepath.Join(filepath.Dir(path), rand.Text())
	must(t, os.Mkdir(first, 0o700))
	must(t, os.Rename(first, path))
}

// prepare makes the repository of a program that wants one made, and has ShivX forget the one of the round before.
func (p *goldenProgram) prepare(t *testing.T) {
	must(t, os.RemoveAll(p.repo+"-var"))
	if p.name == "restic" {
		runGolden(t, []string{"restic", "init", "-q"}, p.repo)
	}
}

// step runs one step and returns the greatest resident size in kB.
func (p *goldenProgram) step(t *testing.T, tree *goldenTree, s int, took *[]float64) int64 {
	switch s {
	case 1:
		tree.change(t)
	case 3:
		syncFiles(t, tree.dir)
	case 4:
		if p.steps[s] != nil {
			tree.damage(t, p.damaged)
		}

	}
	if p.steps[s] == nil {
		return 0
	}
	began := time.Now()
	rss := runGolden(t, p.steps[s], p.repo)
	syncFiles(t, tree.dir)
	*took = append(*took, time.Since(began).Seconds())
	if s >= 3 {
		if err := tree.same(p.copied); err != nil {
			complain := t.Errorf
			if p.name != "ShivX" { // what a peer leaves undone is worth knowing beside its time
				complain = t.Logf
			}
			complain("%s, %s: not restored as it was: %v", p.name, goldenSteps[s].name, err)
		}
	}
	return rss
}

func runGolden(t *testing.T, argv []string, repo string) int64 {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = repo
	cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+repo, "RESTIC_PASSWORD=bench", "RESTIC_CACHE_DIR="+repo+"-cache", "RESTIC_PROGRESS_FPS=0.01")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
}

func goldenPrograms(t *testing.T, dir string, tree *goldenTree) []goldenProgram {
	t.Helper()
	shivx, err := filepath.Abs("../../bin/shivx")
	must(t, err)
	conf := filepath.Join(dir, "shivx.yaml")
	repo := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.WriteFile(conf, fmt.Appendf(nil, "version: 1\nhost: bench\npaths: {var: %s}\ngolden:\n  store: {path: %s}\n  sets:\n    - name: tree\n      paths: [%s]\n",
		repo("shivx-var"), repo("shivx"), tree.dir), 0o600))
	golden := func(args ...string) []string {
		return append([]string{shivx, "golden"}, append(args, "--local", "--config", conf)...)
	}
	out := filepath.Join(dir, "out")
	below := filepath.Join(out, tree.dir)
	all := []goldenProgram{
		{"ShivX", [5][]string{
			golden("backup", "tree"), golden("backup", "tree"), golden("verify", "tree/latest"),
			golden("restore", "tree/latest", "--to", out), golden("restore", "tree/latest", "--yes", "--in-place"),
		}, below, tree.dir, repo("shivx")}, // it restores in place where the files came from
		{"restic", [5][]string{
			{"restic", "backup", "-q", tree.dir}, {"restic", "backup", "-q", tree.dir}, {"restic", "check", "-q", "--read-data"},
			{"restic", "restore", "-q", "latest", "--target", out},
			sh("restic restore -q latest --target %q || true", out), // version 0.14 complains of links that are there
		}, below, below, repo("restic")},
		{"tar + zstd -1", [5][]string{
			sh("tar -C %q --format=pax -S -cf - . | zstd -1 -T2 -q > a.tar.zst", tree.dir), sh("tar -C %q --format=pax -S -cf - . | zstd -1 -T2 -q > b.tar.zst", tree.dir),
			sh("zstd -t -q b.tar.zst"), sh("mkdir %[1]q; zstd -dc -q b.tar.zst | tar -C %[1]q -xpf -", out+"/tar"), sh("zstd -dc -q b.tar.zst | tar -C %q -xpf -", out+"/tar"),
		}, out + "/tar", out + "/tar", repo("tar")},
		{"cp -a; rsync --checksum", [5][]string{
			{"cp", "-a", tree.dir, "copy"}, {"rsync", "-aHS", "--checksum", tree.dir + "/", "copy/"},
			sh("find copy -type f -print0 | xargs -0 -P2 -n500 openssl dgst -sha256 >/dev/null"),
			sh("cp -a copy %q", out+"/copy"), {"rsync", "-aHS", "--checksum", "copy/", out + "/copy/"},
		}, out + "/copy", out + "/copy", repo("cp")},
	}
	return slices.DeleteFunc(all, func(p goldenProgram) bool {
		name := strings.TrimSuffix(strings.Fields(p.name)[0], ";")
		if _, err := exec.LookPath(name); p.name != "ShivX" && err != nil {
			t.Logf("%s is not installed: left out", name)
			return true
		}
		return false
	})
}

func sh(format string, args ...any) []string {
	return []string{"bash", "-o", "pipefail", "-c", fmt.Sprintf(format, args...)}
}

func report(t *testing.T, programs []goldenProgram, took [][5][]float64, memory []int64) {
	var lines strings.Builder
	fmt.Fprintf(&lines, "seconds, medians of %d rounds\n%-26s", goldenRounds, "")
	for _, s := range goldenSteps {
		fmt.Fprintf(&lines, "%22s", s.name)
	}
	medians := make([][5]float64, len(programs))
	for i, p := range programs {
		fmt.Fprintf(&lines, "\n%-26s", p.name)
		for s := range p.steps {
			medians[i][s] = median(took[i][s])
			fmt.Fprintf(&lines, "%22.2f", medians[i][s])
		}
		fmt.Fprintf(&lines, "   at most %d MB resident", memory[i]>>10)
	}
	fmt.Fprintf(&lines, "\n%-26s", "aim")
	for _, s := range goldenSteps {
		fmt.Fprintf(&lines, "%22.2f", s.aim)
	}
	restic := slices.IndexFunc(programs, func(p goldenProgram) bool { return p.name == "restic" })
	if restic >= 0 {
		fmt.Fprintf(&lines, "\n%-26s", "ShivX to restic (aim)")
		for s := range goldenSteps {
			fmt.Fprintf(&lines, "%15.2f (%.2f)", medians[0][s]/medians[restic][s], goldenSteps[s].rel)
		}
	}
	t.Log(lines.String())
}

func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(of), cmp.Compare[float64])
	return sorted[len(sorted)/2]
}
