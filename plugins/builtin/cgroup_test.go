package builtin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/plugins/sdktest"
)

// cgroups is a tree of cgroups made of plain files, seen through a /proc of its own.
type cgroups struct {
	t     *testing.T
	mount string
	work  string
	p     *Cgroup
}

func newCgroups(t *testing.T) *cgroups {
	t.Helper()
	c := &cgroups{t: t, mount: filepath.Join(t.TempDir(), "cgroup two"), work: t.TempDir()}
	proc := t.TempDir()
	c.file(proc+"/self/mountinfo", "30 23 0:26 / /sys rw - sysfs sysfs rw\n41 31 0:38 / "+
		strings.ReplaceAll(c.mount, " ", `\040`)+" rw,relatime shared:9 - cgroup2 cgroup2 rw\n")
	c.file(proc+"/sys/kernel/random/boot_id", "boot-1\n")
	c.p = &Cgroup{host: newHost(nil)}
	c.p.host.fs.root = proc
	c.file(c.mount+"/cgroup.procs", "1\n")
	return c
}

func (c *cgroups) file(path, text string) {
	c.t.Helper()
	require.NoError(c.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(c.t, os.WriteFile(path, []byte(text), 0o600))
}

// add makes a cgroup with files.
func (c *cgroups) add(name string, files map[string]string) {
	c.t.Helper()
	c.file(filepath.Join(c.mount, name, "cgroup.procs"), "17\n")
	for file, text := range files {
		c.file(filepath.Join(c.mount, name, file), text)
	}
}

func (c *cgroups) read(name string) string {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.mount, name))
	require.NoError(c.t, err)
	return strings.TrimSpace(string(data))
}

func (c *cgroups) request(path string, set map[string]any) sdk.Request {
	return sdk.Request{Key: "k1", Component: "batch", WorkDir: c.work, Options: jsonOf(c.t, map[string]any{"path": path, "set": set})}
}

func planned(req sdk.Request) sdk.Request {
	req.Plan = true
	return req
}

func TestCgroupPutsBackWhatItFound(t *testing.T) {
	c := newCgroups(t)
	c.add("work.slice/batch", map[string]string{"cpu.max": "max 100000\n", "memory.high": "max\n", "io.max": "8:0 rbps=1048576 wbps=max riops=max wiops=max\n"})
	req := c.request("work.slice/batch", map[string]any{"cpu.max": "20000", "memory.high": "512M", "io.max": "8:16 wiops=100"})

	res, err := c.p.Isolate(ctx(t), planned(req))
	require.NoError(t, err)
	want := []string{
		"cpu.max: max 100000 → 20000", "io.max: 8:16 rbps=max wbps=max riops=max wiops=max → 8:16 wiops=100", "memory.high: max → 512M",
	}
	require.Equal(t, want, res.Changes)
	require.Equal(t, "would: "+strings.Join(want, "; "), res.Summary)
	require.Equal(t, "max 100000", c.read("work.slice/batch/cpu.max"))
	entries, err := os.ReadDir(c.work)
	require.NoError(t, err)
	require.Empty(t, entries, "a plan wrote files")

	res, err = c.p.Isolate(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, want, res.Changes)
	c.file(c.mount+"/work.slice/batch/cpu.max", "20000 100000\n") // as the kernel shows it
	c.file(c.mount+"/work.slice/batch/memory.high", "536870912\n")
	req.Key = "k2"
	res, err = c.p.Isolate(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, "cpu.max is 20000 already", res.Changes[0])
	require.Equal(t, "memory.high is 512M already", res.Changes[2])

	res, err = c.p.Reintegrate(ctx(t), planned(req))
	require.NoError(t, err)
	require.Equal(t, "cpu.max: 20000 100000 → max 100000", res.Changes[0])
	require.Equal(t, "20000 100000", c.read("work.slice/batch/cpu.max"))
	_, err = c.p.Reintegrate(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, "max 100000", c.read("work.slice/batch/cpu.max"))
	require.Equal(t, "max", c.read("work.slice/batch/memory.high"))
	require.Equal(t, "8:16 rbps=max wbps=max riops=max wiops=max", c.read("work.slice/batch/io.max"))
	res, err = c.p.Reintegrate(ctx(t), req)
	require.NoError(t, err)
	require.Contains(t, res.Summary, "nothing was shed")
}

// TestCgroupHooksOfOneCgroupStack: each hook gives back what it found, the last one first.
func TestCgroupHooksOfOneCgroupStack(t *testing.T) {
	c := newCgroups(t)
	c.add("batch", map[string]string{"cpu.weight": "100\n"})
	mild, strict := c.request("batch", map[string]any{"cpu.weight": 50}), c.request("batch", map[string]any{"cpu.weight": 1})
	mild.Component, strict.Component = "mild", "strict"
	for _, req := range []sdk.Request{mild, strict} {
		_, err := c.p.Isolate(ctx(t), req)
		require.NoError(t, err)
	}
	require.Equal(t, "1", c.read("batch/cpu.weight"))
	for _, half := range []struct {
		req  sdk.Request
		want string
	}{{strict, "50"}, {mild, "100"}} {
		_, err := c.p.Reintegrate(ctx(t), half.req)
		require.NoError(t, err)
		require.Equal(t, half.want, c.read("batch/cpu.weight"))
	}
}

func TestCgroupThatIsGoneOrNewHasNothingToPutBack(t *testing.T) {
	c := newCgroups(t)
	c.add("batch", map[string]string{"cpu.weight": "100\n"})
	req := c.request("batch", map[string]any{"cpu.weight": 1})
	_, err := c.p.Isolate(ctx(t), req)
	require.NoError(t, err)
	require.NoError(t, os.Rename(c.mount+"/batch", c.mount+"/removed"))
	res, err := c.p.Reintegrate(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, "cgroup "+c.mount+"/batch is gone; there is nothing to put back", res.Summary)
	_, err = c.p.Isolate(ctx(t), req)
	require.ErrorContains(t, err, "there is no such cgroup: "+c.mount+"/batch")
	require.True(t, failOf(t, err).Retryable)

	c.add("batch", map[string]string{"cpu.weight": "100\n"})
	_, err = c.p.Isolate(ctx(t), req)
	require.NoError(t, err)
	require.NoError(t, os.Rename(c.mount+"/batch", c.mount+"/removed again"))
	c.add("batch", map[string]string{"cpu.weight": "300\n"})
	res, err = c.p.Reintegrate(ctx(t), planned(req))
	require.NoError(t, err)
	require.Contains(t, res.Summary, "has been made anew since")
	_, err = c.p.Isolate(ctx(t), req) // the kept 100 was another cgroup's
	require.NoError(t, err)
	require.Equal(t, "1", c.read("batch/cpu.weight"))
	require.NoError(t, os.Remove(c.mount+"/batch/cpu.weight"))
	res, err = c.p.Reintegrate(ctx(t), req)
	require.NoError(t, err, "the controller was taken away")
	require.Equal(t, []string{"cpu.weight is gone; it is left out"}, res.Changes)
}

// TestCgroupLeavesNothingHalfDone: the weight is written, but the cgroup never stands still.
func TestCgroupLeavesNothingHalfDone(t *testing.T) {
	c := newCgroups(t)
	c.add("batch", map[string]string{"cpu.weight": "100\n", "cgroup.freeze": "0\n", "cgroup.events": "populated 1\nfrozen 0\n"})
	req := c.request("batch", map[string]any{"cpu.weight": 1, "cgroup.freeze": 1})
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.p.Isolate(short, req)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, "100", c.read("batch/cpu.weight"))
	require.Equal(t, "0", c.read("batch/cgroup.freeze"))
	entries, err := os.ReadDir(c.work)
	require.NoError(t, err)
	require.Empty(t, entries)

	// What was shed before stays shed when it fails the next time.
	c.file(c.mount+"/batch/cgroup.events", "frozen 1\n")
	_, err = c.p.Isolate(ctx(t), req)
	require.NoError(t, err)
	require.NoError(t, os.Remove(c.mount+"/batch/cpu.weight"))
	_, err = c.p.Isolate(ctx(t), req)
	require.ErrorContains(t, err, "has no file cpu.weight")
	require.Equal(t, "the controller cpu must be on: echo +cpu > "+c.mount+"/cgroup.subtree_control", failOf(t, err).Hint)
	require.Equal(t, "1", c.read("batch/cgroup.freeze"))
}

func TestCgroupStaysInsideTheMount(t *testing.T) {
	c := newCgroups(t)
	outside := t.TempDir()
	c.file(outside+"/cpu.weight", "100\n")
	require.NoError(t, os.Symlink(outside, c.mount+"/link"))
	set := map[string]any{"cpu.weight": 1}
	for path, want := range map[string]string{
		"link":             "escapes",
		outside:            "is not below",
		"/batch":           "is not below",
		c.mount:            "the root cgroup",
		c.mount + "/a/../": "leads upwards",
		c.mount + "x/a":    "is not below",
	} {
		_, err := c.p.Isolate(ctx(t), c.request(path, set))
		require.ErrorContains(t, err, want, path)
	}
	data, err := os.ReadFile(outside + "/cpu.weight")
	require.NoError(t, err)
	require.Equal(t, "100\n", string(data))
	req := c.request("batch", set)
	req.WorkDir = ""
	_, err = c.p.Isolate(ctx(t), req)
	require.ErrorContains(t, err, "nowhere to keep")
}

func TestCgroupDoesNotFreezeTheAgent(t *testing.T) {
	c := newCgroups(t)
	c.add("agents", map[string]string{"cgroup.freeze": "0\n", "cpu.weight": "100\n"})
	c.add("agents/shivx", nil)
	c.file(c.mount+"/agents/shivx/cgroup.procs", "5\n"+strconv.Itoa(os.Getpid())+"\n")
	for _, path := range []string{"agents", "agents/shivx"} {
		_, err := c.p.Isolate(ctx(t), planned(c.request(path, map[string]any{"cgroup.freeze": 1})))
		require.ErrorContains(t, err, "holds the agent itself")
	}
	require.Equal(t, "0", c.read("agents/cgroup.freeze"))
	_, err := c.p.Isolate(ctx(t), c.request("agents", map[string]any{"cpu.weight": 10}))
	require.NoError(t, err, "limits are no freezer")
}

// TestCgroupSparesWhatTheHostNeeds: neither the first process nor the agent is stopped or starved.
func TestCgroupSparesWhatTheHostNeeds(t *testing.T) {
	c := newCgroups(t)
	files := map[string]string{
		"cgroup.freeze": "0\n", "cpu.weight": "100\n", "memory.max": "max\n", "pids.max": "max\n", "cpu.max": "max 100000\n", "cpuset.cpus": "\n",
	}
	for path, member := range map[string]string{"first/init.scope": "1", "agents/shivx": strconv.Itoa(os.Getpid())} {
		top, _, _ := strings.Cut(path, "/")
		c.add(top, files)
		c.add(path, files)
		c.file(filepath.Join(c.mount, path, "cgroup.procs"), "5\n"+member+"\n")
		for _, p := range []string{top, path} {
			for knob, value := range map[string]any{"cgroup.freeze": 1, "memory.max": "1M", "pids.max": 1, "cpu.max": "1000", "cpuset.cpus": "0"} {
				req := c.request(p, map[string]any{knob: value, "cpu.weight": 1})
				_, err := c.p.Isolate(ctx(t), req)
				var bad *sdk.OptionError
				require.ErrorAs(t, err, &bad, "%s of %s", knob, p)
				require.Equal(t, "path", bad.Option())
				require.Equal(t, strings.TrimSpace(files[knob]), c.read(p+"/"+knob))
				require.Equal(t, "100", c.read(p+"/cpu.weight"))
			}
			_, err := c.p.Isolate(ctx(t), c.request(p, map[string]any{"cpu.weight": 50, "memory.max": "max", "cpu.max": "max 200000"}))
			require.NoError(t, err)
		}
	}
	err := c.p.CheckOptions(jsonOf(t, map[string]any{"path": "/sys/fs/cgroup/init.scope", "set": map[string]any{"cgroup.freeze": 1}}))
	require.ErrorContains(t, err, "holds the first process")
}

func TestCgroupOptions(t *testing.T) {
	good := []string{
		`{"path":"a","set":{"cpu.weight":10,"cpu.max":"max","cgroup.freeze":"1"}}`,
		`{"path":"/sys/fs/cgroup/a","set":{"memory.swap.max":"0","pids.max":100,"cpuset.cpus":"0-1,3"}}`,
		`{"path":"a","set":{"io.weight":"50","io.max":"8:0 rbps=1\n8:16 wbps=2 riops=max"}}`,
	}
	for _, o := range good {
		require.NoError(t, (&Cgroup{}).CheckOptions(json.RawMessage(o)), o)
	}
	for o, want := range map[string]struct{ option, message, hint string }{
		`{}`:                                              {"path", "is missing", "system.slice/batch.service"},
		`{"path":"a"}`:                                    {"set", "nothing says what to write", ""},
		`{"path":"/","set":{}}`:                           {"path", "the whole machine", ""},
		`{"path":"a/../b","set":{}}`:                      {"path", "leads upwards", ""},
		`{"path":"a","set":{"cpu.wieght":1}}`:             {"set.cpu.wieght", "may be set", `"cpu.weight"`},
		`{"path":"a","set":{"cgroup.procs":1}}`:           {"set.cgroup.procs", "may be set", "these can be set"},
		`{"path":"a","set":{"../cpu.max":1}}`:             {"set.../cpu.max", "may be set", ""},
		`{"path":"a","set":{"cpu.weight":0}}`:             {"set.cpu.weight", `"0" cannot be written`, "1 to 10000"},
		`{"path":"a","set":{"cpu.weight":10001}}`:         {"set.cpu.weight", "cannot be written", ""},
		`{"path":"a","set":{"cpu.weight":1.5}}`:           {"set.cpu.weight", "whole number", ""},
		`{"path":"a","set":{"cgroup.freeze":true}}`:       {"set.cgroup.freeze", "whole number", "write 1"},
		`{"path":"a","set":{"memory.high":"20%"}}`:        {"set.memory.high", "cannot be written", "512M"},
		`{"path":"a","set":{"io.max":"8:0 a=1"}}`:         {"set.io.max", "cannot be written", ""},
		`{"path":"a","set":{"io.weight":"1\ndefault 2"}}`: {"set.io.weight", "two lines for default", ""},
	} {
		err := (&Cgroup{}).CheckOptions(json.RawMessage(o))
		require.ErrorContains(t, err, want.message, o)
		var bad *sdk.OptionError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, want.option, bad.Option())
		require.Contains(t, bad.Fail.Hint, want.hint)
	}
}

func failOf(t *testing.T, err error) *sdk.Fail {
	t.Helper()
	var fail *sdk.Fail
	require.ErrorAs(t, err, &fail)
	return fail
}

// realCgroup makes a cgroup of the kernel and returns its path below the mount.
func realCgroup(t *testing.T) (path, rel string) {
	t.Helper()
	mount, err := newHost(nil).fs.cgroupMount()
	if err != nil {
		testenv.Missing(t, "needs cgroup2: "+err.Error())
	}
	rel = fmt.Sprintf("shivx-test-%d-%d", os.Getpid(), rand.Uint32())
	path = filepath.Join(string(mount), rel)
	if err := os.Mkdir(path, 0o755); err != nil {
		testenv.Missing(t, "needs to make cgroups: "+err.Error())
	}
	t.Cleanup(func() {
		_ = os.WriteFile(path+"/cgroup.kill", []byte("1"), 0)
		require.Eventually(t, func() bool { return os.Remove(path) == nil }, 10*time.Second, 5*time.Millisecond)
	})
	return path, rel
}

// busy starts a process that uses a processor, inside a cgroup.
func busy(t *testing.T, cgroup string) (pid int) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	require.NoError(t, os.WriteFile(cgroup+"/cgroup.procs", []byte(strconv.Itoa(cmd.Process.Pid)), 0))
	return cmd.Process.Pid
}

// ticks is the processor time of a process, in clock ticks.
func ticks(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	require.NoError(t, err)
	system, err := strconv.Atoi(fields[12])
	require.NoError(t, err)
	return user + system
}

func TestCgroupFreezesARealProcess(t *testing.T) {
	path, rel := realCgroup(t)
	pid := busy(t, path)
	runs := func() bool { before := ticks(t, pid); time.Sleep(5 * time.Millisecond); return ticks(t, pid) > before }
	require.Eventually(t, runs, 10*time.Second, time.Millisecond)
	p := All(Options{})["cgroup"].(*Cgroup)
	req := sdk.Request{Key: "k", Component: "workers", WorkDir: t.TempDir(), Options: jsonOf(t, map[string]any{"path": rel, "set": map[string]any{"cgroup.freeze": 1}})}

	res, err := p.Isolate(ctx(t), planned(req))
	require.NoError(t, err)
	require.Equal(t, []string{"cgroup.freeze: 0 → 1"}, res.Changes)
	require.Eventually(t, runs, 10*time.Second, time.Millisecond, "a plan froze it")
	for _, key := range []string{"k", "k", "another"} {
		req.Key = key
		_, err = p.Isolate(ctx(t), req)
		require.NoError(t, err)
	}
	events, err := os.ReadFile(path + "/cgroup.events")
	require.NoError(t, err)
	require.Contains(t, string(events), "frozen 1")
	before := ticks(t, pid)
	time.Sleep(300 * time.Millisecond) // 30 ticks of a process that runs
	require.Equal(t, before, ticks(t, pid), "a frozen process used the processor")

	_, err = p.Reintegrate(ctx(t), req)
	require.NoError(t, err)
	require.Eventually(t, runs, 10*time.Second, time.Millisecond, "it was not thawed")
}

// TestCgroupDoesNotFreezeARealAgent: an agent in the cgroup refuses and goes on.
func TestCgroupDoesNotFreezeARealAgent(t *testing.T) {
	path, rel := realCgroup(t)
	require.NoError(t, os.Mkdir(path+"/below", 0o755))
	t.Cleanup(func() { _ = os.Remove(path + "/below") })
	req := sdk.Request{Key: "k", Component: "workers", WorkDir: t.TempDir(), Options: jsonOf(t, map[string]any{"path": rel, "set": map[string]any{"cgroup.freeze": 1}})}
	job := string(jsonOf(t, map[string]any{"Plugin": "cgroup", "Step": "isolate", "Request": req}))
	cmd := exec.Command("sh", "-c", `read go; exec "$0" agent "$1"`, os.Args[0], job)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	said, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, os.WriteFile(path+"/below/cgroup.procs", []byte(strconv.Itoa(cmd.Process.Pid)), 0))
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_, err = io.WriteString(in, "go\n")
	require.NoError(t, err)
	text, err := io.ReadAll(bufio.NewReader(said))
	require.NoError(t, err)
	require.Error(t, cmd.Wait())
	require.Contains(t, string(text), "holds the agent itself")
}

// TestCgroupUndoSurvivesAgentCrashes kills the agent at random points of isolating a real
// cgroup; whatever was written by then, the cgroup runs again in the end.
func TestCgroupUndoSurvivesAgentCrashes(t *testing.T) {
	path, rel := realCgroup(t)
	pid := busy(t, path)
	r, p := rand.New(rand.NewPCG(7, 8)), All(Options{})["cgroup"].(*Cgroup)
	freeze := func() string {
		data, err := os.ReadFile(path + "/cgroup.freeze")
		require.NoError(t, err)
		return strings.TrimSpace(string(data))
	}
	span, cut, shed := time.Minute, 0, 0
	for i := range 25 {
		req := sdk.Request{Key: "first", Component: "workers", WorkDir: t.TempDir(), Options: jsonOf(t, map[string]any{"path": rel, "set": map[string]any{"cgroup.freeze": "1"}})}
		cmd := exec.Command(os.Args[0], "agent", string(jsonOf(t, map[string]any{"Plugin": "cgroup", "Step": "isolate", "Request": req})))
		began := time.Now()
		require.NoError(t, cmd.Start())
		delay := span
		if i > 0 {
			delay = span/3 + time.Duration(r.Int64N(int64(span)*2/3))
		}
		timer := time.AfterFunc(delay, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
		if cmd.Wait() != nil {
			cut++
		}
		timer.Stop()
		if i == 0 {
			span = time.Since(began)
		}
		if freeze() == "1" {
			shed++
		}
		if i%2 == 0 {
			req.Key = "second" // the agent is back and sheds again
			_, err := p.Isolate(ctx(t), req)
			require.NoError(t, err)
			require.Equal(t, "1", freeze())
		}
		_, err := p.Reintegrate(ctx(t), req)
		require.NoError(t, err)
		require.Equal(t, "0", freeze(), "run %d: the shed value was taken for the original", i)
	}
	t.Logf("agent killed %d times; load was shed %d times by then", cut, shed)
	require.Positive(t, cut)
	require.Positive(t, shed)
	require.NotZero(t, ticks(t, pid))
}

func TestCgroupConformance(t *testing.T) {
	path, rel := realCgroup(t)
	busy(t, path)
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(path, name))
		require.NoError(t, err)
		return string(data)
	}
	sdktest.Run(t, sdktest.Suite{
		Plugin:     All(Options{})["cgroup"],
		Options:    map[string]any{"path": rel, "set": map[string]any{"cgroup.freeze": 1}},
		BadOptions: []any{map[string]any{}, map[string]any{"path": "/", "set": map[string]any{"cgroup.freeze": 1}}, map[string]any{"path": rel, "set": map[string]any{"cgroup.procs": 1}}},
		State:      func() string { return read("cgroup.freeze") + read("cgroup.events") },
		Isolated:   func() (bool, error) { return strings.Contains(read("cgroup.events"), "frozen 1"), nil },
	})
}
