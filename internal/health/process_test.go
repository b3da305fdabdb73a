package health

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
)

// fixture is a tree like /proc.
type fixture string

func (root fixture) add(t *testing.T, pid int, comm, state string, parent int, start uint64, exe string) {
	t.Helper()
	dir := filepath.Join(string(root), strconv.Itoa(pid))
	_ = os.RemoveAll(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	testenv.WriteFile(t, filepath.Join(dir, "stat"), fmt.Sprintf(
		"%d (%s) %s %d 1 1 0 -1 4194560 5 0 0 0 1 2 0 0 20 0 1 0 %d 8192 512 18446744073709551615\n", pid, comm, state, parent, start))
	if exe != "" {
		if err := os.Symlink(exe, filepath.Join(dir, "exe")); err != nil {
			t.Fatal(err)
		}
	}
}

func (root fixture) remove(t *testing.T, pid int) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(string(root), strconv.Itoa(pid))); err != nil {
		t.Fatal(err)
	}
}

func processIn(t *testing.T, root fixture, c config.ProcessCheck) *processProbe {
	t.Helper()
	p, err := newProcessProbe(c, string(root))
	if err != nil {
		t.Fatal(err)
	}
	return p.(*processProbe)
}

func reason(p Probe, t *testing.T) string {
	t.Helper()
	if err := p.Check(t.Context()); err != nil {
		return err.Error()
	}
	return ""
}

func TestParseStat(t *testing.T) {
	s, err := parseStat(7, []byte("7 (a) R (b) S 1 1 1 0 -1 4194560 5 0 0 0 1 2 0 0 20 0 3 0 991 8192 512\n"))
	if err != nil || s.comm != "a) R (b" || s.state != 'S' || s.parent != 1 || s.threads != 3 || s.start != 991 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "7", "7 (a", "7 )a(", "7 (a) S 1", "7 (a) SS 1 1 1 0 -1 0 5 0 0 0 1 2 0 0 20 0 3 0 991",
		"7 (a) S x 1 1 0 -1 0 5 0 0 0 1 2 0 0 20 0 3 0 991", "7 (a) S 1 1 1 0 -1 0 5 0 0 0 1 2 0 0 20 0 3 0 -1"} {
		if s, err := parseStat(7, []byte(bad)); err == nil {
			t.Errorf("%q was read as %+v", bad, s)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7 (a) R (b) S 1 1 1 0 -1 4194560 5 0 0 0 1 2 0 0 20 0 3 0 991 8192 512\n"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = parseStat(1, data) })
}

func TestParseStatReadsThisProcess(t *testing.T) {
	s, err := readStat(defaultProc, os.Getpid())
	if err != nil || s.dead() || s.parent != os.Getppid() || s.start == 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestProcessByName(t *testing.T) {
	root := fixture(t.TempDir())
	testenv.WriteFile(t, filepath.Join(string(root), "uptime"), "1 1\n")
	p := processIn(t, root, config.ProcessCheck{Name: "nginx"})
	expect(t, "none", reason(p, t), "there is no process nginx")
	root.add(t, 50, "nginx", "Z", 1, 10, "")
	expect(t, "zombie", reason(p, t), "no process nginx lives, 1 ended and wait to be reaped")
	root.add(t, 2, "kthreadd", "S", 0, 1, "")
	root.add(t, 3, "nginx", "I", 2, 1, "") // a kernel thread may be named as it likes
	expect(t, "kernel thread", reason(p, t), "no process nginx lives, 1 ended and wait to be reaped")
	root.add(t, 61, "nginx", "S", 70, 20, "") // an old worker, adopted by the new master
	root.add(t, 70, "nginx", "S", 1, 30, "")
	root.add(t, 71, "nginx", "S", 70, 31, "")
	expect(t, "lives", reason(p, t), "")
	if got := p.current(); got.pid != 70 {
		t.Errorf("watches %s, want the master 70", got)
	}
	root.remove(t, 70)
	expect(t, "a worker lives on", reason(p, t), "")
	if got := p.current(); got.pid != 61 {
		t.Errorf("watches %s, want the oldest left, 61", got)
	}
}

func TestProcessByExecutable(t *testing.T) {
	root := fixture(t.TempDir())
	root.add(t, 10, "a-very-long-nam", "S", 1, 1, "/opt/a-very-long-name-indeed")
	root.add(t, 11, "renamed", "S", 1, 1, "/usr/bin/worker (deleted)")
	for name, want := range map[string]string{
		"a-very-long-name-indeed": "", "worker": "", "renamed": "", "work": "there is no process work",
		"a-very-long-name": "there is no process a-very-long-name",
	} {
		expect(t, name, reason(processIn(t, root, config.ProcessCheck{Name: name}), t), want)
	}
}

func TestProcessByPIDFile(t *testing.T) {
	root, file := fixture(t.TempDir()), filepath.Join(t.TempDir(), "redis.pid")
	p := processIn(t, root, config.ProcessCheck{PIDFile: file})
	expect(t, "no file", reason(p, t), "there is no pid file "+file)
	for content, want := range map[string]string{
		"": "pid file " + file + " is empty", " \n": "pid file " + file + " is empty",
		"x": "pid file " + file + " holds no process number", "-1": "pid file " + file + " holds no process number",
		"12\n":                                    "process 12 of " + file + " is gone",
		strings.Repeat("1", maxPIDFile+1):         file + " is not a pid file",
		strings.Repeat("9", 30):                   "pid file " + file + " holds no process number",
		"12\n/var/lib/postgresql\n1700000000\n\n": "process 12 of " + file + " is gone",
	} {
		testenv.WriteFile(t, file, content)
		expect(t, "content "+shorten(content, 10), reason(p, t), want)
	}
	expect(t, "a folder", reason(processIn(t, root, config.ProcessCheck{PIDFile: t.TempDir()}), t), "* is not a pid file")
	testenv.WriteFile(t, file, "12\n")
	root.add(t, 12, "redis-server", "Z", 1, 5, "")
	expect(t, "zombie", reason(p, t), "process 12 (redis-server) of "+file+" has ended and waits to be reaped")
	root.add(t, 12, "redis-server", "S", 1, 5, "")
	expect(t, "lives", reason(p, t), "")
}

func TestProcessNumberTakenOver(t *testing.T) {
	root, file := fixture(t.TempDir()), filepath.Join(t.TempDir(), "redis.pid")
	testenv.WriteFile(t, file, "12\n")
	p := processIn(t, root, config.ProcessCheck{PIDFile: file})
	root.add(t, 12, "redis-server", "S", 1, 5, "")
	expect(t, "lives", reason(p, t), "")
	root.add(t, 12, "sshd", "S", 1, 900, "")
	for range 2 {
		expect(t, "taken over", reason(p, t), "process 12 of "+file+" is gone; its number was taken over by sshd")
	}
	root.add(t, 12, "redis-server", "S", 1, 950, "")
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	expect(t, "a new process wrote the same number", reason(p, t), "")

	byName := processIn(t, root, config.ProcessCheck{Name: "redis-server"})
	expect(t, "by name", reason(byName, t), "")
	root.add(t, 12, "sshd", "S", 1, 990, "")
	expect(t, "by name, taken over", reason(byName, t), "there is no process redis-server")
}
