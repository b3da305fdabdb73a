package host_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

func TestHangingStepIsKilledAndNextStartsFresh(t *testing.T) {
	r := get(t, "obedient")
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		poll(10*time.Second, func() bool { data, err := os.ReadFile(file); return err == nil && len(data) > 0 })
		cancel()
	}()
	_, err := r.Run(ctx, sdk.StepRecover, order(`{"do":"ignore","file":%q}`, file))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "was killed")
	pid, readErr := os.ReadFile(file)
	require.NoError(t, readErr)
	require.False(t, alive(string(pid)), "the hung process must be gone when Run returns")

	fresh, err := r.Run(t.Context(), sdk.StepRecover, do("pid"))
	require.NoError(t, err)
	require.NotEqual(t, string(pid), fresh.Summary)
}

func TestHangingStepLeavesOthersAlone(t *testing.T) {
	r := get(t, "obedient")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var hung, slow error
	var both sync.WaitGroup
	both.Go(func() {
		_, hung = r.Run(ctx, sdk.StepRecover, order(`{"do":"ignore","file":%q}`, filepath.Join(t.TempDir(), "x")))
	})
	both.Go(func() { _, slow = r.Run(t.Context(), sdk.StepRecover, order(`{"do":"sleep","for":"3s"}`)) })
	both.Wait()
	require.ErrorIs(t, hung, context.DeadlineExceeded)
	require.NoError(t, slow)
}

func TestCancelledStepMayCleanUp(t *testing.T) {
	r := get(t, "obedient")
	file := filepath.Join(t.TempDir(), "note")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := r.Run(ctx, sdk.StepRecover, order(`{"do":"sleep","for":"1m","file":%q}`, file))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "asked to end and did")
	require.FileExists(t, file)
}

func TestCrashIsAFailureAndNextStepWorks(t *testing.T) {
	for what, want := range map[string]string{"exit": "exit status 4: cannot go on", "panic elsewhere": "panic: far away"} {
		t.Run(what, func(t *testing.T) {
			r := get(t, "obedient")
			_, err := r.Run(t.Context(), sdk.StepRecover, do(what))
			var fail *sdk.Fail
			require.ErrorAs(t, err, &fail)
			require.Contains(t, fail.Message, "crashed")
			require.Contains(t, fail.Message, want)
			require.True(t, fail.Retryable)
			_, err = r.Run(t.Context(), sdk.StepRecover, do("something"))
			require.NoError(t, err)
		})
	}
}

func TestPanicInStepNamesPluginAndStep(t *testing.T) {
	_, err := get(t, "obedient").Run(t.Context(), sdk.StepRecover, do("panic"))
	require.ErrorContains(t, err, "plugin obedient panicked in step recover: no such luck")
}

func TestOversizedAnswer(t *testing.T) {
	_, err := get(t, "obedient").Run(t.Context(), sdk.StepRecover, do("big"))
	require.ErrorContains(t, err, "more than 1048576 bytes")
}

func TestChildrenThatHoldTheOutput(t *testing.T) {
	leakFree(t)
	set := host.New(nil, []host.Spec{spec(t, "obedient")}, nil)
	r, err := set.Get(t.Context(), "obedient")
	require.NoError(t, err)
	reply, err := r.Run(t.Context(), sdk.StepRecover, do("child"))
	require.NoError(t, err)
	begun := time.Now()
	set.Close()
	require.Less(t, time.Since(begun), 2*time.Second)
	require.True(t, poll(5*time.Second, func() bool { return !alive(reply.Changes[0]) }), "a child in the group must end with the plugin")
	require.True(t, alive(reply.Changes[1]), "a child that left the group is a daemon of its own")
	escaped, err := strconv.Atoi(reply.Changes[1])
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(escaped, syscall.SIGKILL))
	poll(5*time.Second, func() bool { return !alive(reply.Changes[1]) })
}

func TestBrokenPluginsFailClearly(t *testing.T) {
	for kind, want := range map[string]string{
		"exits":      "ended before it was ready (exit status 3): no licence found",
		"banner":     `wrote "Welcome to my plugin!" to standard output in place of the handshake`,
		"noise":      "in place of the handshake",
		"old":        `speaks version "7" of the plugin protocol, this agent speaks 1`,
		"netrpc":     `speaks "netrpc", not grpc`,
		"remote":     `listens on "tcp 192.0.2.1:80", which is not on this machine`,
		"bare":       "gave no certificate",
		"deaf":       "error parsing server cert",
		"no service": "does not serve shivx.plugin.v1.Recovery",
	} {
		t.Run(kind, func(t *testing.T) {
			set := newSet(t, spec(t, kind))
			_, err := set.Get(t.Context(), kind)
			var fail *sdk.Fail
			require.ErrorAs(t, err, &fail)
			require.Contains(t, fail.Message, want)
			require.Contains(t, fail.Message, "plugin "+kind)
			require.NotEmpty(t, fail.Hint)
		})
	}
}

func TestMutePluginsFailInTime(t *testing.T) {
	for _, kind := range []string{"mute", "mute describe"} {
		t.Run(kind, func(t *testing.T) {
			set := newSet(t, spec(t, kind))
			ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
			defer cancel()
			_, err := set.Get(ctx, kind)
			require.ErrorContains(t, err, "in time")
		})
	}
}

func TestBreachesOfTheContract(t *testing.T) {
	for kind, want := range map[string]string{
		"no result":      "without a result",
		"two results":    "two results",
		"empty event":    "says nothing",
		"no utf8":        "UTF-8",
		"long mark":      "mark has 5000 bytes",
		"silent failure": "without saying why",
	} {
		t.Run(kind, func(t *testing.T) {
			_, err := get(t, kind).Run(t.Context(), sdk.StepRecover, sdk.Request{})
			var fail *sdk.Fail
			require.ErrorAs(t, err, &fail)
			require.Contains(t, fail.Message, want)
		})
	}
	t.Run("result and no end", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		r := get(t, "result and no end")
		_, err := r.Run(ctx, sdk.StepRecover, sdk.Request{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// Steps of all kinds at once, many with contexts that end early; nothing may be left over.
func TestManyStepsAtOnce(t *testing.T) {
	r := get(t, "obedient")
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20+i*15)*time.Millisecond)
			defer cancel()
			what := []string{"something", "exit", "fail", "big", "panic", "panic elsewhere", "progress flood"}[i%7]
			_, err := r.Run(ctx, sdk.StepRecover, do(what))
			var fail *sdk.Fail
			if err != nil && !errors.As(err, &fail) {
				t.Errorf("%s: %T %v", what, err, err)
			}
			if err == nil && what != "something" {
				t.Errorf("%s succeeded", what)
			}
		})
	}
	all.Wait()
	_, err := r.Run(t.Context(), sdk.StepRecover, do("something"))
	require.NoError(t, err)
}

func TestProgressFloodIsThinnedAndEnds(t *testing.T) {
	r := get(t, "obedient")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	n := 0
	_, err := r.Run(ctx, sdk.StepRecover, do("progress flood").WithProgress(func(s string) { n++; require.LessOrEqual(t, len(s), 500) }))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Positive(t, n)
	require.LessOrEqual(t, n, 60)
}
