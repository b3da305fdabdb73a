package builtin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/plugins/sdktest"
)

// bin is a folder of files that may go.
type bin struct {
	t    *testing.T
	dir  string
	keys int
	d    *Disk
}

func newBin(t *testing.T) *bin {
	t.Helper()
	return &bin{t: t, dir: t.TempDir(), d: &Disk{host: newHost(nil)}}
}

// put makes a file that was not changed for a while.
func (b *bin) put(name string, size int, old time.Duration) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	require.NoError(b.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(b.t, os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o600))
	when := time.Now().Add(-old)
	require.NoError(b.t, os.Chtimes(path, when, when))
	return path
}

// names lists the files that are there.
func (b *bin) names() (list []string) {
	b.t.Helper()
	require.NoError(b.t, filepath.WalkDir(b.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(b.dir, path)
			list = append(list, rel)
		}
		return err
	}))
	return list
}

func (b *bin) request(options map[string]any) sdk.Request {
	b.keys++
	return sdk.Request{Key: fmt.Sprint("k", b.keys), Component: "host", WorkDir: b.t.TempDir(), Options: jsonOf(b.t, options)}
}

// old is a rule for files older than a week.
func (b *bin) old(more map[string]any) map[string]any {
	rule := map[string]any{"path": b.dir, "match": "*", "older_than": "168h"}
	maps.Copy(rule, more)
	return map[string]any{"old_files": rule}
}

func (b *bin) do(options map[string]any) (sdk.Result, error) {
	return b.d.Recover(ctx(b.t), b.request(options))
}

const week = 7 * 24 * time.Hour

func TestDiskRemovesOldFilesAlone(t *testing.T) {
	b := newBin(t)
	b.put("a.tmp", 10_000, 3*week)
	b.put("b.tmp", 10_000, 2*week)
	b.put("c.tmp", 10_000, 2*week+time.Hour)
	b.put("young.tmp", 10_000, time.Hour)
	b.put("other", 10_000, 3*week)
	b.put("deep/d.tmp", 10_000, 3*week)
	options := map[string]any{"rules": []any{b.old(map[string]any{"match": "*.tmp", "keep": 2})}}

	before := b.names()
	plan, err := b.d.Recover(ctx(t), planned(b.request(options)))
	require.NoError(t, err)
	require.Equal(t, before, b.names())
	require.Len(t, plan.Changes, 2)
	require.Contains(t, plan.Changes[0], "remove "+b.dir+"/a.tmp (12.3 kB, not changed for 504h")
	require.Contains(t, plan.Summary, "would free 24.6 kB in 2 files")

	res, err := b.do(options)
	require.NoError(t, err)
	require.Equal(t, []string{"b.tmp", "deep/d.tmp", "other", "young.tmp"}, b.names(), "the newest two of the pattern stay, and what it does not match")
	require.Contains(t, res.Summary, "freed 24.6 kB in 2 files")

	_, err = b.do(map[string]any{"rules": []any{b.old(map[string]any{"match": "**/*.tmp"})}})
	require.NoError(t, err)
	require.Equal(t, []string{"other", "young.tmp"}, b.names())
}

func TestDiskStopsWhenEnoughIsFree(t *testing.T) {
	b := newBin(t)
	b.dir = filepath.Join(t.TempDir(), "disk")
	testenv.Tmpfs(t, b.dir, "size=16m")
	for i := range 10 {
		b.put(fmt.Sprintf("cache/%d.tmp", i), 1<<20, 2*week-time.Duration(i)*time.Hour)
	}
	options := map[string]any{"until_free": "60%", "rules": []any{b.old(map[string]any{"path": b.dir + "/cache"})}}
	plan, err := b.d.Recover(ctx(t), planned(b.request(options)))
	require.NoError(t, err)
	require.Len(t, plan.Changes, 4)
	req := b.request(options)
	req.Mark, err = b.d.Mark(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	done, err := b.d.Done(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	require.False(t, done)
	res, err := b.d.Recover(ctx(t), req)
	require.NoError(t, err)
	require.Len(t, b.names(), 6, res.Changes)
	require.Equal(t, "cache/4.tmp", b.names()[0], "the oldest go first")
	require.Contains(t, res.Summary, "10.5 MB (62.5%)")
	done, err = b.d.Done(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	require.True(t, done)

	for i := range 6 { // nothing that may go is left: that is said
		require.NoError(t, os.Chtimes(fmt.Sprintf("%s/cache/%d.tmp", b.dir, i+4), time.Now(), time.Now()))
	}
	options["until_free"] = "15MB"
	_, err = b.do(options)
	require.ErrorContains(t, err, "nothing was found to free")
	require.Len(t, b.names(), 6)
}

func TestDiskFreesNoMoreThanAllowed(t *testing.T) {
	b := newBin(t)
	b.dir = filepath.Join(t.TempDir(), "disk")
	testenv.Tmpfs(t, b.dir, "size=16m")
	for i := range 6 {
		b.put(fmt.Sprintf("cache/%d.tmp", i), 1<<20, 2*week-time.Duration(i)*time.Hour)
	}
	options := map[string]any{"most": "3MiB", "rules": []any{b.old(map[string]any{"path": b.dir + "/cache"})}}
	req := b.request(options)
	var err error
	req.Mark, err = b.d.Mark(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	require.NoError(t, os.Remove(b.dir+"/cache/0.tmp")) // what an earlier try of the step had removed when it was killed
	res, err := b.d.Recover(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, []string{"cache/3.tmp", "cache/4.tmp", "cache/5.tmp"}, b.names(), res.Changes)
	require.Contains(t, strings.Join(res.Changes, "\n"), "one run may free no more than 3.1 MB")
}

func TestDiskLeavesWhatWouldFreeNothing(t *testing.T) {
	b := newBin(t)
	held := b.put("held", 8192, 2*week)
	mapped := b.put("mapped", 8192, 2*week)
	linked := b.put("linked", 8192, 2*week)
	require.NoError(t, os.Link(linked, b.dir+"/another-name"))
	cmd := exec.Command("sleep", "60")
	f, err := os.Open(held)
	require.NoError(t, err)
	cmd.Stdin = f
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	require.NoError(t, f.Close())
	m, err := os.Open(mapped)
	require.NoError(t, err)
	data, err := unix.Mmap(int(m.Fd()), 0, 8192, unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	defer func() { _ = unix.Munmap(data) }()
	require.NoError(t, m.Close())
	old := time.Now().Add(-2 * week)
	require.NoError(t, os.Symlink("/etc/hostname", b.dir+"/link"))
	require.NoError(t, unix.Mkfifo(b.dir+"/pipe", 0o600))
	require.NoError(t, os.Chtimes(b.dir+"/pipe", old, old))
	before := b.names()
	res, err := b.do(map[string]any{"rules": []any{b.old(nil)}})
	require.NoError(t, err)
	require.Equal(t, before, b.names())
	text := strings.Join(res.Changes, "\n")
	require.Contains(t, text, held+" stays: a process has it open")
	require.Contains(t, text, mapped+" stays: a process has it open")
	require.Contains(t, text, linked+" stays: it has 2 names")
}

func TestDiskIsDoneAgainAfterAKill(t *testing.T) {
	b := newBin(t)
	for i := range 3000 {
		b.put(fmt.Sprintf("%d/%d.tmp", i%10, i), 1, 2*week)
	}
	b.put("0/young", 1, 0)
	req := b.request(map[string]any{"rules": []any{b.old(map[string]any{"match": "**"})}})
	cmd := exec.Command(os.Args[0], "agent", string(jsonOf(t, map[string]any{"Plugin": "disk", "Request": req})))
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return len(b.names()) < 2500 }, 20*time.Second, time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	left := len(b.names())
	res, err := b.d.Recover(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, []string{"0/young"}, b.names())
	require.Contains(t, res.Summary, fmt.Sprintf("in %d files", left-1))
	require.LessOrEqual(t, len(res.Changes), mostLines+1)
}

func TestDiskRunsCommands(t *testing.T) {
	b := newBin(t)
	b.put("x", 10, 2*week)
	rule := map[string]any{"command": map[string]any{"argv": []string{"rm", b.dir + "/x"}, "plan": []string{"ls", b.dir}}}
	plan, err := b.d.Recover(ctx(t), planned(b.request(map[string]any{"rules": []any{rule}})))
	require.NoError(t, err)
	require.Equal(t, []string{"run rm " + b.dir + "/x", "  x"}, plan.Changes)
	_, err = b.do(map[string]any{"rules": []any{rule}})
	require.NoError(t, err)
	require.Empty(t, b.names())
	_, err = b.do(map[string]any{"rules": []any{rule}})
	require.ErrorContains(t, err, "No such file")
	b.put("y", 10, 2*week)
	res, err := b.do(map[string]any{"rules": []any{rule, b.old(nil)}})
	require.ErrorContains(t, err, "No such file")
	require.Empty(t, b.names(), "a rule that fails keeps the next from being followed: %v", res)
}

func TestDiskOptions(t *testing.T) {
	b := newBin(t)
	file := map[string]any{"path": "/var/cache/x", "older_than": "1h"}
	for want, options := range map[string]map[string]any{
		"nothing says what may go":                {},
		"says 2 things":                           {"rules": []any{map[string]any{"old_files": file, "packages": true}}},
		"says 0 things":                           {"rules": []any{map[string]any{}}},
		"files in use would go":                   {"rules": []any{map[string]any{"old_files": map[string]any{"path": "/var/cache/x"}}}},
		"is no pattern":                           {"rules": []any{map[string]any{"logs": map[string]any{"path": "/var/log", "match": "../*"}}}},
		"nothing says where until_free":           {"until_free": "20%", "rules": []any{map[string]any{"packages": true}}},
		`write more than 0% and less`:             {"until_free": "120%", "rules": []any{map[string]any{"old_files": file}}},
		`is no target`:                            {"until_free": "much", "rules": []any{map[string]any{"old_files": file}}},
		`"lzma" is none of them`:                  {"rules": []any{map[string]any{"logs": map[string]any{"path": "/var/log", "compress": "lzma"}}}},
		"write it with a unit":                    {"most": "12 apples", "rules": []any{map[string]any{"old_files": file}}},
		`option "rules[0].journal.keep"`:          {"rules": []any{map[string]any{"journal": map[string]any{}}}},
		`unknown option "rules[0].old_files.kep"`: {"rules": []any{map[string]any{"old_files": map[string]any{"kep": 1}}}},
		"there is no shell":                       {"rules": []any{map[string]any{"command": map[string]any{"argv": []string{"rm -rf /x"}}}}},
	} {
		require.ErrorContains(t, b.d.CheckOptions(jsonOf(t, options)), want)
	}
	for text, want := range map[string]int64{"500MB": 500e6, "1.5GiB": 3 << 29, "512M": 512 << 20, "10k": 10 << 10, "7": 7, "1 TB": 1e12} {
		var size byteSize
		require.NoError(t, json.Unmarshal([]byte(`"`+text+`"`), &size), text)
		require.Equal(t, want, int64(size), text)
	}
}

func TestDiskConformance(t *testing.T) {
	b := newBin(t)
	count := func() int { return len(b.names()) }
	sdktest.Run(t, sdktest.Suite{
		Plugin:     All(Options{})["disk"],
		Options:    map[string]any{"rules": []any{b.old(map[string]any{"match": "*.tmp"})}},
		BadOptions: []any{map[string]any{}, map[string]any{"rules": []any{b.old(map[string]any{"path": "/etc"})}}},
		Break: func() error {
			for i := range 20 {
				b.put(fmt.Sprint(i, ".tmp"), 100, 2*week)
			}
			b.put("stays", 1, 2*week)
			return nil
		},
		Healthy: func() error {
			if n := count(); n > 1 {
				return fmt.Errorf("%d files", n)
			}
			return nil
		},
		State: func() string { return strings.Join(b.names(), " ") },
	})
}

// TestDiskCleansByOtherPrograms: programs in the place of journalctl and apt-get write down how they were called.
func TestDiskCleansByOtherPrograms(t *testing.T) {
	b := newBin(t)
	programs, calls := t.TempDir(), filepath.Join(t.TempDir(), "calls")
	for _, name := range []string{"journalctl", "apt-get"} {
		script := "#!/bin/sh\necho \"$0 $*\" >> " + calls + "\necho said by " + name + "\n"
		require.NoError(t, os.WriteFile(filepath.Join(programs, name), []byte(script), 0o755))
	}
	t.Setenv("PATH", programs+":/usr/bin:/bin")
	options := map[string]any{"rules": []any{map[string]any{"journal": map[string]any{"keep": "500MB"}}, map[string]any{"packages": true}}}
	called := func() string { data, _ := os.ReadFile(calls); return string(data) }

	plan, err := b.d.Recover(ctx(t), planned(b.request(options)))
	require.NoError(t, err)
	require.Equal(t, programs+"/journalctl --disk-usage\n", called(), "a plan looks and changes nothing")
	require.Equal(t, "cut the journal to 500.0 MB; said by journalctl", plan.Changes[0])
	require.Contains(t, plan.Changes[1], "run apt-get clean")
	require.NoError(t, os.Remove(calls))

	res, err := b.do(options)
	require.NoError(t, err)
	require.Equal(t, programs+"/journalctl --vacuum-size=500000000\n"+programs+"/apt-get clean\n", called())
	require.Len(t, res.Changes, 2)

	t.Setenv("PATH", t.TempDir())
	res, err = b.do(options)
	require.NoError(t, err)
	require.Equal(t, []string{"note: there is no journal of systemd on this host", "note: there is neither apt-get nor dnf on this host"}, res.Changes)
}
