package host_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

func spec(t testing.TB, kind string) host.Spec {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	sum, err := host.Sum(path)
	require.NoError(t, err)
	return host.Spec{Name: kind, Path: path, Args: []string{"plugin", kind}, SHA256: sum}
}

// leakFree fails the test when processes or goroutines of the plugins outlive the set's Close.
func leakFree(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		var left string
		ok := poll(10*time.Second, func() bool {
			var stacks [1 << 20]byte
			left = string(stacks[:runtime.Stack(stacks[:], true)])
			return runtime.NumGoroutine() <= before && len(children(t)) == 0
		})
		if !ok {
			t.Errorf("left: children %v, %d goroutines, %d before:\n%s", children(t), runtime.NumGoroutine(), before, left)
		}
	})
}

// children lists the processes this one started and has not reaped.
func children(t *testing.T) []string {
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	var all []string
	for _, f := range tasks {
		if data, err := os.ReadFile(f); err == nil {
			all = append(all, strings.Fields(string(data))...)
		}
	}
	return all
}

func poll(limit time.Duration, done func() bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if done() {
			return true
		}
	}
	return done()
}

func alive(pid string) bool {
	n, err := strconv.Atoi(pid)
	if err != nil || syscall.Kill(n, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func newSet(t *testing.T, specs ...host.Spec) *host.Set {
	t.Helper()
	leakFree(t)
	sockets := t.TempDir()
	t.Setenv("TMPDIR", sockets)
	t.Cleanup(func() {
		left, err := os.ReadDir(sockets)
		require.NoError(t, err)
		require.Empty(t, left, "folders of sockets")
	})
	set := host.New(nil, specs, nil)
	t.Cleanup(set.Close)
	return set
}

func get(t *testing.T, kind string) host.Runner {
	t.Helper()
	r, err := newSet(t, spec(t, kind)).Get(t.Context(), kind)
	require.NoError(t, err)
	return r
}

func order(format string, args ...any) sdk.Request {
	return sdk.Request{Key: "k", Component: "redis", Options: fmt.Appendf(nil, format, args...)}
}

func do(what string) sdk.Request { return order(`{"do":%q}`, what) }

func TestExternalGetsCheckpointsAsFolders(t *testing.T) {
	req := do("folders")
	req.CheckpointID, req.HealthyID = "redis.fault/1", "redis.healthy/2"
	req = req.WithFolders(func(_ context.Context, id string) (string, error) {
		if id == "redis.healthy/2" {
			return "", errors.New("the disk is full")
		}
		return "/views/" + id, nil
	})
	var said []string
	req = req.WithProgress(func(s string) { said = append(said, s) })
	reply, err := get(t, "obedient").Run(t.Context(), sdk.StepRecover, req)
	require.NoError(t, err)
	require.Equal(t, []string{"/views/redis.fault/1", ""}, reply.Changes)
	require.Equal(t, []string{"there is no folder of checkpoint redis.healthy/2: the disk is full"}, said)
}

func TestExternalDoesSteps(t *testing.T) {
	r := get(t, "obedient")
	d := r.Describe()
	require.Equal(t, "obedient", d.Name)
	require.True(t, d.Idempotent)
	require.Equal(t, []sdk.Step{"isolate", "recover", "reintegrate", "mark", "done", "check"}, d.Steps)

	reply, err := r.Run(t.Context(), sdk.StepRecover, do("something"))
	require.NoError(t, err)
	require.Equal(t, "did: something\uFFFD[2J", reply.Summary, "terminal control must not pass")
	require.Equal(t, []string{"one line", "redis"}, reply.Changes)

	reply, err = r.Run(t.Context(), sdk.StepMark, sdk.Request{})
	require.NoError(t, err)
	require.Equal(t, "before recover", reply.Mark)
	reply, err = r.Run(t.Context(), sdk.StepDone, sdk.Request{Mark: reply.Mark, Of: sdk.StepRecover})
	require.NoError(t, err)
	require.True(t, reply.Done)
	_, err = r.Run(t.Context(), sdk.StepDone, sdk.Request{})
	require.ErrorIs(t, err, sdk.ErrUnknown)
}

func TestProcessIsKeptBetweenSteps(t *testing.T) {
	r := get(t, "obedient")
	first, err := r.Run(t.Context(), sdk.StepRecover, do("pid"))
	require.NoError(t, err)
	second, err := r.Run(t.Context(), sdk.StepRecover, do("pid"))
	require.NoError(t, err)
	require.Equal(t, first.Summary, second.Summary)
	require.NotEqual(t, strconv.Itoa(os.Getpid()), first.Summary)
}

func TestFailuresCrossTheWire(t *testing.T) {
	r := get(t, "obedient")
	_, err := r.Run(t.Context(), sdk.StepRecover, do("fail"))
	var fail *sdk.Fail
	require.ErrorAs(t, err, &fail)
	require.Equal(t, sdk.Fail{Message: "disk is full", Hint: "free some space", Retryable: true}, *fail)

	_, err = r.Run(t.Context(), sdk.StepCheck, order(`{"dp":"x"}`))
	var option *sdk.OptionError
	require.ErrorAs(t, err, &option)
	require.Equal(t, "dp", option.Option())
	require.ErrorAs(t, err, &fail)
	require.Equal(t, `did you mean "do"?`, fail.Hint)

	_, err = r.Run(t.Context(), "explode", sdk.Request{})
	require.ErrorContains(t, err, `does not implement step "explode"`)
}

func TestProgressArrives(t *testing.T) {
	r := get(t, "obedient")
	var said []string
	_, err := r.Run(t.Context(), sdk.StepRecover, do("progress").WithProgress(func(s string) { said = append(said, s) }))
	require.NoError(t, err)
	require.Equal(t, []string{"half way\uFFFD[31m", "nearly there"}, said)
}

func TestSpecIsChecked(t *testing.T) {
	good := spec(t, "obedient")
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\nexit 1\n"), 0o600))
		require.NoError(t, os.Chmod(path, mode))
		return path
	}
	sum, err := host.Sum(file("sum", 0o755))
	require.NoError(t, err)
	interpreter := filepath.Join(dir, "interpreter")
	require.NoError(t, os.WriteFile(interpreter, []byte("#!/no/such/interpreter\n"), 0o700))
	lost, err := host.Sum(interpreter)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		spec host.Spec
		want string
		hint string
	}{
		"unpinned":       {host.Spec{Path: good.Path}, "not pinned", "pin it: sha256: " + good.SHA256},
		"other":          {host.Spec{Path: good.Path, SHA256: sum}, "not the executable that was pinned", good.SHA256},
		"bad sum":        {host.Spec{Path: good.Path, SHA256: "abc"}, "64 hexadecimal digits", ""},
		"missing":        {host.Spec{Path: "/no/such/file", SHA256: sum}, "no such file", "path"},
		"folder":         {host.Spec{Path: dir, SHA256: sum}, "not a file", ""},
		"relative":       {host.Spec{Path: "bin/x", SHA256: sum}, "not absolute", ""},
		"not executable": {host.Spec{Path: file("flat", 0o644), SHA256: sum}, "not executable", "chmod +x"},
		"writable":       {host.Spec{Path: file("open", 0o757), SHA256: sum}, "written by everybody", "chmod o-w"},
		"no interpreter": {host.Spec{Path: interpreter, SHA256: lost}, "no such file", "interpreter"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.spec.Name = "p"
			_, err := newSet(t, tc.spec).Get(t.Context(), "p")
			var fail *sdk.Fail
			require.ErrorAs(t, err, &fail)
			require.Contains(t, fail.Message, tc.want)
			require.Contains(t, fail.Hint, tc.hint)
		})
	}
}

func TestChangedExecutableIsNotStartedAgain(t *testing.T) {
	good := spec(t, "obedient")
	data, err := os.ReadFile(good.Path)
	require.NoError(t, err)
	good.Path = filepath.Join(t.TempDir(), "plugin")
	require.NoError(t, os.WriteFile(good.Path, data, 0o700))
	r, err := newSet(t, good).Get(t.Context(), "obedient")
	require.NoError(t, err)
	_, err = r.Run(t.Context(), sdk.StepRecover, do("exit"))
	require.ErrorContains(t, err, "crashed")
	require.NoError(t, os.WriteFile(good.Path+".new", append(data, 0), 0o700))
	require.NoError(t, os.Rename(good.Path+".new", good.Path))
	_, err = r.Run(t.Context(), sdk.StepRecover, do("something"))
	require.ErrorContains(t, err, "not the executable that was pinned")
}

func TestSetNamesAndNearest(t *testing.T) {
	leakFree(t)
	twice := spec(t, "obedient")
	twice.Name = "built"
	broken := spec(t, "exits")
	set := host.New(map[string]sdk.Plugin{"process": obedient{}, "built": obedient{}}, []host.Spec{twice, broken, spec(t, "obedient")}, nil)
	t.Cleanup(set.Close)
	_, err := set.Get(t.Context(), "proces")
	var fail *sdk.Fail
	require.ErrorAs(t, err, &fail)
	require.Equal(t, `did you mean "process"?`, fail.Hint)
	_, err = set.Get(t.Context(), "built")
	require.ErrorContains(t, err, `two plugins have the name "built"`)

	infos, err := set.Describe(t.Context())
	require.NoError(t, err)
	require.Len(t, infos, 4)
	require.Equal(t, []string{"built", "process", "exits", "obedient"}, []string{infos[0].Name, infos[1].Name, infos[2].Name, infos[3].Name})
	require.ErrorContains(t, infos[2].Err, "no licence found")
	require.NoError(t, infos[3].Err)
	require.Equal(t, "1.0", infos[3].Description.Version)
	require.NotEmpty(t, infos[3].Path)
}

func TestSecretsOfTheAgentStayWithIt(t *testing.T) {
	t.Setenv("TEMPORAL_API_KEY", "secret")
	t.Setenv("SHIVX_TOKEN", "secret")
	t.Setenv("LANG", "kept")
	reply, err := get(t, "obedient").Run(t.Context(), sdk.StepRecover, do("env"))
	require.NoError(t, err)
	all := strings.Join(reply.Changes, "\n")
	require.NotContains(t, all, "secret")
	require.Contains(t, all, "LANG=kept")
}

func TestFloodedLogIsBounded(t *testing.T) {
	leakFree(t)
	var mu sync.Mutex
	var buf bytes.Buffer
	log := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return buf.Write(p)
	}), nil))
	set := host.New(nil, []host.Spec{spec(t, "obedient")}, log)
	r, err := set.Get(t.Context(), "obedient")
	require.NoError(t, err)
	_, err = r.Run(t.Context(), sdk.StepRecover, do("flood"))
	require.NoError(t, err, "20 MB of log must not hold the step up")
	set.Close()
	mu.Lock()
	defer mu.Unlock()
	require.Less(t, buf.Len(), 300<<10)
	require.LessOrEqual(t, strings.Count(buf.String(), "output dropped"), 2)
	require.Contains(t, buf.String(), "output dropped")
	require.Contains(t, buf.String(), "plugin=obedient")
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestCloseEndsStepsUnderWay(t *testing.T) {
	leakFree(t)
	set := host.New(nil, []host.Spec{spec(t, "obedient")}, nil)
	r, err := set.Get(t.Context(), "obedient")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "pid")
	result := make(chan error, 1)
	go func() {
		_, err := r.Run(t.Context(), sdk.StepRecover, order(`{"do":"ignore","file":%q}`, file))
		result <- err
	}()
	require.True(t, poll(10*time.Second, func() bool { _, err := os.Stat(file); return err == nil }))
	set.Close()
	require.Error(t, <-result)
	_, err = r.Run(t.Context(), sdk.StepRecover, do("something"))
	require.ErrorContains(t, err, "agent is ending")
}

func TestPluginsDieWithTheAgent(t *testing.T) {
	path, err := os.Executable()
	require.NoError(t, err)
	agent := exec.Command(path, "agent")
	agent.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	out, err := agent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, agent.Start())
	pid, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid = strings.TrimSpace(pid)
	require.True(t, alive(pid))
	require.NoError(t, agent.Process.Kill())
	_ = agent.Wait()
	require.True(t, poll(5*time.Second, func() bool { return !alive(pid) }), "the plugin outlived the agent")
}

func TestInProcessPanicAndUnknownErrorBecomeFails(t *testing.T) {
	r := host.InProcess(obedient{})
	_, err := r.Run(t.Context(), sdk.StepRecover, do("panic"))
	var fail *sdk.Fail
	require.ErrorAs(t, err, &fail)
	require.Contains(t, fail.Message, "no such luck")
	_, err = r.Run(t.Context(), sdk.StepDone, sdk.Request{})
	require.ErrorAs(t, err, &fail)
	require.ErrorIs(t, err, sdk.ErrUnknown)
	var option interface{ Option() string }
	_, err = r.Run(t.Context(), sdk.StepCheck, order(`{"fro":"x"}`))
	require.ErrorAs(t, err, &option)
	require.Equal(t, "fro", option.Option())
}
