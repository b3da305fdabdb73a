package builtin

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/plugins/sdk"
)

func TestProcessStopsAndStarts(t *testing.T) {
	for _, ways := range [][]string{nil, {"daemon"}, {"worker"}} {
		f, p := newFixture(t, ways...), process()
		more := map[string]any{"start_grace": "2s"}
		old := f.startByHand()
		plan := f.request(more)
		plan.Plan = true
		planned, err := p.Stop(ctx(t), plan)
		require.NoError(t, err)
		require.Contains(t, planned.Summary, "would: end pid")
		require.Contains(t, f.alive(), old)

		for range 2 {
			_, err = p.Stop(ctx(t), f.request(more))
			require.NoError(t, err)
			require.Empty(t, f.alive())
		}
		planned, err = p.Start(ctx(t), plan)
		require.NoError(t, err)
		require.Contains(t, planned.Summary, "would: start")
		require.Empty(t, f.alive())

		req := f.request(more)
		for range 2 {
			_, err = p.Start(ctx(t), req)
			require.NoError(t, err)
			f.up(2)
		}
		_, err = p.Start(ctx(t), f.request(more))
		require.NoError(t, err, "another step finds it running")
		require.Equal(t, 2, f.starts())
		require.Empty(t, f.read("double"), "two instances at once")
	}
}

func TestProcessStartsOverTheWorkersOfAKilledMaster(t *testing.T) {
	f, p := newFixture(t, "worker"), process()
	old := f.startByHand()
	require.Eventually(t, func() bool { return f.read("worker/pid") != "" }, 5*time.Second, time.Millisecond)
	require.NoError(t, syscall.Kill(old, syscall.SIGKILL))
	require.Eventually(t, func() bool { _, ok := p.host.fs.read(old); return !ok }, 5*time.Second, time.Millisecond)
	_, err := p.Start(ctx(t), f.request(nil))
	require.NoError(t, err)
	f.up(2)
	require.Empty(t, f.read("worker/double"), "the old worker was left")
}

func TestProcessDoesNotStopWhatASupervisorStarts(t *testing.T) {
	p := process()
	req := sdk.Request{Component: "web", Options: []byte(`{"await_restart": true, "pid_file": "/run/web.pid"}`)}
	for _, step := range []sdk.Step{sdk.StepStop, sdk.StepStart} {
		_, err := sdk.Dispatch(ctx(t), p, step, req)
		require.ErrorContains(t, err, "would start it again at once")
	}
}
