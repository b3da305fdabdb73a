package builtin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/plugins/sdk"
)

// TestMain also plays the services and agents that the tests start and kill.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "serve":
			serve(os.Args[2], os.Args[3:])
			os.Exit(0)
		case "agent":
			os.Exit(playAgent(os.Args[2]))
		}
	}
	// Otherwise each process under the race detector takes a second to end.
	if err := os.Setenv("GORACE", quickExit); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

const quickExit = "atexit_sleep_ms=0"

// serve is a service: it writes down each start and notices a second instance. Its ways:
// "daemon" goes to the background, "closed" closes what it inherited, "stubborn" ignores
// TERM, "worker" has a child that outlives it.
func serve(dir string, ways []string) {
	if slices.Contains(ways, "daemon") {
		cmd := exec.Command(os.Args[0], append([]string{"serve", dir}, slices.DeleteFunc(ways, func(w string) bool { return w == "daemon" })...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		for range 500 { // a daemon's parent ends when the daemon is there
			if text, _ := os.ReadFile(dir + "/pid"); strings.TrimSpace(string(text)) == strconv.Itoa(cmd.Process.Pid) {
				return
			}
			time.Sleep(time.Millisecond)
		}
		os.Exit(1)
	}
	if slices.Contains(ways, "closed") {
		_ = syscall.Close(3)
	}
	if slices.Contains(ways, "worker") {
		cmd := exec.Command(os.Args[0], "serve", dir+"/worker")
		if err := cmd.Start(); err != nil {
			panic(err)
		}
	}
	lock, err := os.OpenFile(dir+"/instance", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		panic(err)
	}
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		note(dir+"/double", "a second instance\n")
	}
	stop := make(chan os.Signal, 1)
	if slices.Contains(ways, "stubborn") {
		signal.Ignore(syscall.SIGTERM)
	} else {
		signal.Notify(stop, syscall.SIGTERM)
	}
	note(dir+"/starts", strconv.Itoa(os.Getpid())+"\n")
	if err := os.WriteFile(dir+"/pid", []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		panic(err)
	}
	<-stop
}

func note(path, text string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	if _, err := f.WriteString(text); err != nil {
		panic(err)
	}
	_ = f.Close()
}

// playAgent does one step, a recovery unless the job says otherwise, as an agent that may be killed meanwhile.
func playAgent(text string) int {
	var j struct {
		Plugin, Store string
		Step          sdk.Step
		Request       sdk.Request
	}
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		panic(err)
	}
	var o Options
	if j.Store != "" {
		var err error
		if o.Checkpoints, err = checkpoint.Open(checkpoint.Options{Var: j.Store}); err != nil {
			panic(err)
		}
	}
	if j.Step == "" {
		j.Step = sdk.StepRecover
	}
	if _, err := sdk.Dispatch(context.Background(), All(o)[j.Plugin], j.Step, j.Request); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// fixture is a service of the test's own.
type fixture struct {
	t        *testing.T
	dir      string
	ways     []string
	keys     int
	work     string
	settings map[string]any
}

func newFixture(t *testing.T, ways ...string) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), ways: ways, work: t.TempDir(), settings: map[string]any{}}
	require.NoError(t, os.Mkdir(f.dir+"/worker", 0o755))
	t.Cleanup(f.killAll)
	return f
}

// killAll ends every process started with this fixture's folder in its command line.
func (f *fixture) killAll() {
	for _, pid := range f.alive() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, pid := range f.alive() {
		p, ok := (procfs{root: "/proc"}).read(pid)
		if ok {
			(procfs{root: "/proc"}).awaitExit(context.Background(), p, 5*time.Second)
		}
	}
}

// alive lists the living instances, workers among them.
func (f *fixture) alive() []int {
	list, err := (procfs{root: "/proc"}).all()
	require.NoError(f.t, err)
	var pids []int
	for _, p := range list {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		if strings.Contains(string(line), "serve\x00"+f.dir) {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

func (f *fixture) argv() []string { return append([]string{os.Args[0], "serve", f.dir}, f.ways...) }

func (f *fixture) options(more map[string]any) json.RawMessage {
	all := map[string]any{"start": f.argv(), "pid_file": f.dir + "/pid", "log": f.dir + "/log",
		"env": map[string]string{"GORACE": quickExit}}
	for k, v := range more {
		all[k] = v
		if v == nil {
			delete(all, k)
		}
	}
	text, err := json.Marshal(all)
	require.NoError(f.t, err)
	return text
}

func (f *fixture) request(more map[string]any) sdk.Request {
	f.keys++
	return sdk.Request{
		Key: fmt.Sprintf("run/%s/%d", f.dir, f.keys), Component: "svc-" + filepath.Base(filepath.Dir(f.dir)),
		Options: f.options(more), WorkDir: f.work,
	}
}

func (f *fixture) read(name string) string {
	data, _ := os.ReadFile(filepath.Join(f.dir, name))
	return string(data)
}

func (f *fixture) starts() int { return strings.Count(f.read("starts"), "\n") }

// up waits until the service has written its pid file, and returns the number.
func (f *fixture) up(starts int) int {
	f.t.Helper()
	var pid int
	require.Eventually(f.t, func() bool {
		pid, _ = strconv.Atoi(strings.TrimSpace(f.read("pid")))
		_, ok := (procfs{root: "/proc"}).read(pid)
		return ok && f.starts() >= starts
	}, 10*time.Second, 2*time.Millisecond, "the service does not run; log: %s", f.read("log"))
	return pid
}

// startByHand starts the service the way an init system would.
func (f *fixture) startByHand() int {
	f.t.Helper()
	before := f.starts()
	cmd := exec.Command(f.argv()[0], f.argv()[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(f.t, cmd.Start())
	go func() { _ = cmd.Wait() }()
	return f.up(before + 1)
}

func jsonOf(t testing.TB, v any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return text
}

func ctx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return c
}
