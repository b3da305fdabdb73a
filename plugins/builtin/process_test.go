package builtin

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/plugins/sdktest"
)

func process() *Process { return All(Options{})["process"].(*Process) }

func TestProcessRestartsAService(t *testing.T) {
	for _, ways := range [][]string{nil, {"daemon"}, {"closed"}, {"worker"}, {"stubborn"}, {"daemon", "closed", "worker"}} {
		t.Run(strings.Join(ways, "+"), func(t *testing.T) {
			f, p := newFixture(t, ways...), process()
			more := map[string]any{"stop_timeout": "300ms"}
			if slices.Contains(ways, "daemon") {
				more["start_grace"] = "2s"
			}
			old := f.startByHand()
			req := f.request(more)
			plan := req
			plan.Plan = true
			planned, err := p.Recover(ctx(t), plan)
			require.NoError(t, err)
			require.Contains(t, planned.Summary, fmt.Sprintf("would: end pid %d", old))
			require.Equal(t, 1, f.starts(), "a plan started something")

			mark, err := p.Mark(ctx(t), sdk.StepRecover, req)
			require.NoError(t, err)
			require.Contains(t, mark, fmt.Sprint(old))
			req.Mark = mark
			done, err := p.Done(ctx(t), sdk.StepRecover, req)
			require.NoError(t, err)
			require.False(t, done)
			_, err = p.Recover(ctx(t), req)
			require.NoError(t, err)
			now := f.up(2)
			require.NotEqual(t, old, now)
			done, err = p.Done(ctx(t), sdk.StepRecover, req)
			require.NoError(t, err)
			require.True(t, done)
			_, err = p.Recover(ctx(t), req)
			require.NoError(t, err)
			require.Equal(t, 2, f.starts(), "the same key started it twice")
			require.Empty(t, f.read("double"), "two instances at once")

			again := f.request(more)
			_, err = p.Recover(ctx(t), again)
			require.NoError(t, err)
			f.up(3)
			require.Empty(t, f.read("double"), "two instances at once")
			require.Empty(t, f.read("worker/double"), "a worker of the old instance was left")
		})
	}
}

func TestProcessEndsTheWorkersOfAKilledMaster(t *testing.T) {
	f, p := newFixture(t, "worker"), process()
	old := f.startByHand()
	require.Eventually(t, func() bool { return f.read("worker/pid") != "" }, 5*time.Second, time.Millisecond)
	require.NoError(t, syscall.Kill(old, syscall.SIGKILL))
	require.Eventually(t, func() bool { _, ok := p.host.fs.read(old); return !ok }, 5*time.Second, time.Millisecond)
	require.Len(t, f.alive(), 1, "the worker should have outlived its master")
	_, err := p.Recover(ctx(t), f.request(nil))
	require.NoError(t, err)
	f.up(2)
	require.Eventually(t, func() bool { return strings.Count(f.read("worker/starts"), "\n") == 2 }, 5*time.Second, time.Millisecond)
	require.Empty(t, f.read("worker/double"), "the old worker was left")
	require.Len(t, f.alive(), 2)
}

func TestProcessLeavesStrangersAlone(t *testing.T) {
	f, p := newFixture(t), process()
	stranger := exec.Command("sleep", "600")
	stranger.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, stranger.Start())
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })
	// A stale pid file whose number was given to another program since.
	require.NoError(t, os.WriteFile(f.dir+"/pid", fmt.Appendf(nil, "%d\n", stranger.Process.Pid), 0o600))
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(f.dir+"/pid", old, old))
	_, err := p.Recover(ctx(t), f.request(nil))
	require.NoError(t, err)
	f.up(1)
	require.NoError(t, stranger.Process.Signal(syscall.Signal(0)), "a stranger was killed")

	require.NoError(t, os.WriteFile(f.dir+"/pid", fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600))
	future := time.Now().Add(time.Minute)
	require.NoError(t, os.Chtimes(f.dir+"/pid", future, future))
	_, err = p.Recover(ctx(t), f.request(nil))
	require.ErrorContains(t, err, "under which this agent runs")
}

func TestProcessSaysWhyAStartFailed(t *testing.T) {
	f, p := newFixture(t), process()
	for name, tc := range map[string]struct {
		more map[string]any
		want string
	}{
		"exit":       {map[string]any{"start": []string{"sh", "-c", "echo bad port >&2; exit 7"}}, `exit status 7; it said "bad port"`},
		"no process": {map[string]any{"start": []string{"true"}, "start_grace": "1s"}, "left no process"},
		"no program": {map[string]any{"start": []string{"/no/such/program"}}, "no such file"},
		"no folder":  {map[string]any{"dir": "/no/such/folder"}, "no such file"},
	} {
		_, err := p.Recover(ctx(t), f.request(tc.more))
		require.ErrorContains(t, err, tc.want, name)
		var fail *sdk.Fail
		require.ErrorAs(t, err, &fail, name)
		require.NotEmpty(t, fail.Hint, name)
	}
}

func TestProcessHandsNoSecretsOn(t *testing.T) {
	t.Setenv("TEMPORAL_API_KEY", "hush")
	t.Setenv("WANTED", "yes")
	f, p := newFixture(t), process()
	_, err := p.Recover(ctx(t), f.request(map[string]any{"pass_env": []string{"WANTED"}, "env": map[string]string{"PORT": "1"}, "user": "nobody", "start": append([]string{"sh", "-c", `id -un; exec "$@"`, "-"}, "sleep", "600")}))
	require.NoError(t, err)
	rec, ok := service{req: sdk.Request{WorkDir: f.work, Component: f.request(nil).Component}}.readRecord()
	require.True(t, ok)
	t.Cleanup(func() { _ = syscall.Kill(rec.PID, syscall.SIGKILL) })
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", rec.PID))
	require.NoError(t, err)
	require.NotContains(t, string(env), "hush")
	for _, want := range []string{"WANTED=yes", "PORT=1", "USER=nobody", effectVar, componentVar} {
		require.Contains(t, string(env), want)
	}
	require.Eventually(t, func() bool { return strings.HasPrefix(f.read("log"), "nobody") }, 5*time.Second, time.Millisecond)
}

func TestProcessReapsItsChildren(t *testing.T) {
	f, p := newFixture(t), process()
	_, err := p.Recover(ctx(t), f.request(nil))
	require.NoError(t, err)
	pid := f.up(1)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.Eventually(t, func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
		return os.IsNotExist(err)
	}, 5*time.Second, time.Millisecond, "a zombie is left")
}

func TestProcessAwaitsASupervisor(t *testing.T) {
	f, p := newFixture(t), process()
	script := fmt.Sprintf("while :; do %q serve %q; done", os.Args[0], f.dir)
	supervisor := exec.Command("sh", "-c", script)
	supervisor.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, supervisor.Start())
	t.Cleanup(func() { _ = syscall.Kill(-supervisor.Process.Pid, syscall.SIGKILL); _ = supervisor.Wait() })
	old := f.up(1)
	more := map[string]any{"start": nil, "log": nil, "await_restart": true, "restart_timeout": "10s"}
	req := f.request(more)
	var err error
	req.Mark, err = p.Mark(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	_, err = p.Recover(ctx(t), req)
	require.NoError(t, err)
	require.NotEqual(t, old, f.up(2))
	done, err := p.Done(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	require.True(t, done)
	res, err := p.Recover(ctx(t), req)
	require.NoError(t, err)
	require.Contains(t, res.Changes[0], "already restarted")
	require.Equal(t, 2, f.starts())

	require.NoError(t, syscall.Kill(-supervisor.Process.Pid, syscall.SIGKILL))
	f.killAll()
	more["restart_timeout"] = "100ms"
	_, err = p.Recover(ctx(t), f.request(more))
	require.ErrorContains(t, err, "no new process")
}

// TestProcessTellsAgentsOnOneMachineApart: two agents may have a component of the same name.
func TestProcessTellsAgentsOnOneMachineApart(t *testing.T) {
	mine, other, p := newFixture(t), newFixture(t), process()
	theirs := other.request(nil)
	theirs.Component, theirs.Key = "redis", "same"
	_, err := p.Recover(ctx(t), theirs)
	require.NoError(t, err)
	pid := other.up(1)
	req := mine.request(nil)
	req.Component, req.Key = "redis", "same"
	done, err := p.Done(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	require.False(t, done)
	_, err = p.Recover(ctx(t), req)
	require.NoError(t, err)
	mine.up(1)
	require.Equal(t, []int{pid}, other.alive(), "the service of another agent was ended")
}

// TestProcessExactlyOnceOverAgentCrashes kills the agent at random points of a recovery.
func TestProcessExactlyOnceOverAgentCrashes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	f, p := newFixture(t), process()
	f.startByHand()
	var before, after, whole int
	span := time.Minute // of the first run, which is left alone
	for i := range 25 {
		req := f.request(map[string]any{"start_grace": "20ms"})
		starts := f.starts()
		cmd := exec.Command(os.Args[0], "agent", string(jsonOf(t, map[string]any{"Plugin": "process", "Request": req})))
		began := time.Now()
		require.NoError(t, cmd.Start())
		delay := span
		if i > 0 {
			delay = span/3 + time.Duration(r.Int64N(int64(span)*2/3))
		}
		timer := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if i == 0 {
			span = time.Since(began)
		}
		done, doneErr := p.Done(ctx(t), sdk.StepRecover, req)
		require.NoError(t, doneErr)
		switch {
		case err == nil:
			whole++
			require.True(t, done, "a recovery that ended was not done")
		case done:
			after++
		default:
			before++
		}
		_, err = p.Recover(ctx(t), req)
		require.NoError(t, err)
		f.up(starts + 1)
		require.Equal(t, starts+1, f.starts(), "run %d started the service more or less than once", i)
		require.Len(t, f.alive(), 1)
		require.Empty(t, f.read("double"), "two instances at once")
	}
	t.Logf("agent killed %d times before the start and %d times after it; %d runs ended by themselves", before, after, whole)
	require.Positive(t, before)
	require.Positive(t, after)
}

func TestProcessConformance(t *testing.T) {
	f := newFixture(t)
	sdktest.Run(t, sdktest.Suite{
		Plugin:     process(),
		Options:    f.options(map[string]any{"stop_timeout": "1s"}),
		BadOptions: []any{map[string]any{"start": []string{"a b"}}, map[string]any{}, map[string]any{"start": []string{"x"}, "unit": "y"}, map[string]any{"await_restart": true}},
		Break: func() error {
			f.killAll()
			return nil
		},
		Healthy: func() error {
			if n := len(f.alive()); n != 1 {
				return fmt.Errorf("%d instances", n)
			}
			return nil
		},
		State: func() string { return f.read("starts") },
	})
}

// TestProcessRestartsRedis: Redis overwrites its environment, so that only the lock and the record tell.
func TestProcessRestartsRedis(t *testing.T) {
	redis := testenv.Redis(t)
	p := process()
	redis.Kill(t)
	req := sdk.Request{Key: "k1", Component: "redis", WorkDir: t.TempDir(), Options: jsonOf(t, map[string]any{"start": redis.Argv, "pid_file": redis.PIDFile})}
	_, err := p.Recover(ctx(t), req)
	require.NoError(t, err)
	require.NoError(t, redis.Ready(nil))
	require.NoError(t, os.Remove(workFile(req, "started.json")))
	done, err := p.Done(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	require.True(t, done, "the start lock is not seen")
	first := redis.FilePID()
	req.Key = "k2"
	_, err = p.Recover(ctx(t), req)
	require.NoError(t, err)
	require.NoError(t, redis.Ready(nil))
	require.Eventually(t, func() bool { return redis.FilePID() != first && redis.FilePID() != 0 }, 5*time.Second, time.Millisecond)
}

func TestProcessRestartsNginxWhoseMasterWasKilled(t *testing.T) {
	nginx := testenv.Nginx(t)
	require.NoError(t, syscall.Kill(nginx.PID(), syscall.SIGKILL)) // the worker stays and holds the port
	p := process()
	req := sdk.Request{Key: "k", Component: "nginx", WorkDir: t.TempDir(), Options: jsonOf(t, map[string]any{"start": nginx.Argv, "pid_file": nginx.PIDFile, "start_grace": "300ms"})}
	require.Eventually(t, func() bool { _, ok := p.host.fs.read(nginx.PID()); return !ok }, 5*time.Second, time.Millisecond)
	res, err := p.Recover(ctx(t), req)
	require.NoError(t, err)
	require.NoError(t, nginx.Ready(nil))
	require.Contains(t, strings.Join(res.Changes, "\n"), "started")
}
