package builtin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/builtin"
	"github.com/shivx/shivx/plugins/sdk"
)

// scripts writes shell scripts into a folder and returns the options that name it.
func scripts(t *testing.T, bodies map[string]string) (dir string, options json.RawMessage) {
	t.Helper()
	dir = t.TempDir()
	for name, body := range bodies {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o700))
	}
	return dir, fmt.Appendf(nil, `{"dir":%q}`, dir)
}

func runScriptStep(t *testing.T, step sdk.Step, options json.RawMessage, change ...func(*sdk.Request)) (sdk.Reply, error) {
	t.Helper()
	req := sdk.Request{Key: "run/1/recover", Component: "redis", Host: "h1", Options: options, Attempt: 2, Reason: "PING failed"}
	for _, c := range change {
		c(&req)
	}
	return sdk.Dispatch(t.Context(), builtin.Script{}, step, req)
}

func failOf(t *testing.T, err error) *sdk.Fail {
	t.Helper()
	var fail *sdk.Fail
	require.ErrorAs(t, err, &fail)
	return fail
}

func TestScriptAnswers(t *testing.T) {
	_, options := scripts(t, map[string]string{
		"recover":  `echo restarted; echo "first change"; echo "second change"`,
		"validate": `echo '{"summary":"all there","changes":["none"]}'`,
		"isolate":  `exit 0`,
		"mark":     `echo "pid 17"`,
		"done":     `if [ "$SHIVX_MARK" = "pid 17" ] && [ "$SHIVX_OF" = recover ]; then echo yes; else echo no; fi`,
	})
	reply, err := runScriptStep(t, sdk.StepRecover, options)
	require.NoError(t, err)
	require.Equal(t, sdk.Result{Summary: "restarted", Changes: []string{"first change", "second change"}}, reply.Result)

	reply, err = runScriptStep(t, sdk.StepValidate, options)
	require.NoError(t, err)
	require.Equal(t, sdk.Result{Summary: "all there", Changes: []string{"none"}}, reply.Result)

	reply, err = runScriptStep(t, sdk.StepIsolate, options)
	require.NoError(t, err)
	require.Contains(t, reply.Summary, "ran /")

	reply, err = runScriptStep(t, sdk.StepMark, options)
	require.NoError(t, err)
	require.Equal(t, "pid 17", reply.Mark)
	reply, err = runScriptStep(t, sdk.StepDone, options, func(r *sdk.Request) { r.Mark = reply.Mark })
	require.NoError(t, err)
	require.True(t, reply.Done)
	reply, err = runScriptStep(t, sdk.StepDone, options, func(r *sdk.Request) { r.Mark = "pid 18" })
	require.NoError(t, err)
	require.False(t, reply.Done)
}

func TestScriptRequestReachesIt(t *testing.T) {
	dir, options := scripts(t, map[string]string{"recover": `cat > got.json; env | grep SHIVX_ | sort > got.env`})
	t.Setenv("SHIVX_TOKEN", "secret")
	t.Setenv("TEMPORAL_API_KEY", "secret")
	_, err := runScriptStep(t, sdk.StepRecover, options, func(r *sdk.Request) { r.CheckpointDir = "/c"; r.HealthyDir = "/h"; r.WorkDir = "/w" })
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(dir, "got.json"))
	require.NoError(t, err)
	require.JSONEq(t, `{"step":"recover","key":"run/1/recover","component":"redis","host":"h1","attempt":2,"reason":"PING failed",
		"plan":false,"checkpoint_dir":"/c","healthy_dir":"/h","work_dir":"/w"}`, string(got))
	env, err := os.ReadFile(filepath.Join(dir, "got.env"))
	require.NoError(t, err)
	require.Equal(t, strings.Fields("SHIVX_ATTEMPT=2 SHIVX_CHECKPOINT_DIR=/c SHIVX_COMPONENT=redis SHIVX_HEALTHY_DIR=/h "+
		"SHIVX_HOST=h1 SHIVX_KEY=run/1/recover SHIVX_MARK= SHIVX_OF= SHIVX_PLAN= SHIVX_REASON=PING failed "+
		"SHIVX_RUN= SHIVX_STEP=recover SHIVX_WORK_DIR=/w"), strings.Fields(string(env)))
}

// TestScriptsGetCheckpointsAsFolders: what the agent's own plugins read in the store lies before a script as files.
func TestScriptsGetCheckpointsAsFolders(t *testing.T) {
	state := filepath.Join(t.TempDir(), "srv")
	require.NoError(t, os.MkdirAll(state, 0o755))
	store, err := checkpoint.Open(checkpoint.Options{Var: t.TempDir()})
	require.NoError(t, err)
	var ids []string
	for _, text := range []string{"healthy", "broken"} {
		require.NoError(t, os.WriteFile(filepath.Join(state, "file"), []byte(text), 0o600))
		c, err := store.Take(t.Context(), checkpoint.Order{Key: text, Component: "redis", Kind: checkpoint.KindHealthy,
			State: config.State{Paths: []string{state}}})
		require.NoError(t, err)
		ids = append(ids, c.ID)
	}
	_, options := scripts(t, map[string]string{
		"recover": `cp "$SHIVX_HEALTHY_DIR/files` + state + `/file" "` + state + `/file"; cat "$SHIVX_CHECKPOINT_DIR/files` + state + `/file"`,
		"undo":    `echo "$SHIVX_CHECKPOINT_DIR"`,
	})
	var said []string
	request := func(r *sdk.Request) {
		r.HealthyID, r.CheckpointID = ids[0], ids[1]
		*r = r.WithFolders(store.Folder).WithProgress(func(s string) { said = append(said, s) })
	}
	reply, err := runScriptStep(t, sdk.StepRecover, options, request)
	require.NoError(t, err)
	require.Equal(t, "broken", reply.Summary)
	now, err := os.ReadFile(filepath.Join(state, "file"))
	require.NoError(t, err)
	require.Equal(t, "healthy", string(now))
	require.Empty(t, said)
	// One that cannot be laid out keeps no script from running.
	reply, err = runScriptStep(t, sdk.StepUndo, options, request, func(r *sdk.Request) { r.CheckpointID = "redis.fault/gone" })
	require.NoError(t, err)
	require.Contains(t, reply.Summary, "ran ", "it printed an empty line")
	require.Len(t, said, 1)
	require.Contains(t, said[0], "there is no checkpoint redis.fault/gone")
}

func TestScriptMissingStepsAreNothingToDo(t *testing.T) {
	_, options := scripts(t, map[string]string{"recover": "true"})
	for _, step := range []sdk.Step{sdk.StepIsolate, sdk.StepCheckpoint, sdk.StepValidate, sdk.StepReintegrate, sdk.StepUndo} {
		reply, err := runScriptStep(t, step, options)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("no %s script", step), reply.Summary)
	}
	reply, err := runScriptStep(t, sdk.StepMark, options)
	require.NoError(t, err)
	require.Empty(t, reply.Mark)
	_, err = runScriptStep(t, sdk.StepDone, options)
	require.ErrorIs(t, err, sdk.ErrUnknown)
}

func TestScriptDoneThatSaysNeitherIsUnknown(t *testing.T) {
	_, options := scripts(t, map[string]string{"recover": "true", "done": "echo perhaps"})
	_, err := runScriptStep(t, sdk.StepDone, options)
	require.ErrorIs(t, err, sdk.ErrUnknown)
}

func TestScriptFailures(t *testing.T) {
	var progress []string
	_, options := scripts(t, map[string]string{
		"recover":  `for i in 1 2 3 4 5 6 7; do echo "line $i" >&2; done; printf 'no newline' >&2; exit 3`,
		"validate": `exit 75`,
		"isolate":  `kill -9 $$`,
		"undo":     `echo '{"sumary":"x"}'`,
	})
	_, err := runScriptStep(t, sdk.StepRecover, options, func(r *sdk.Request) {
		*r = r.WithProgress(func(s string) { progress = append(progress, s) })
	})
	fail := failOf(t, err)
	require.Contains(t, fail.Message, "exit status 3")
	require.Equal(t, "it said: line 4 / line 5 / line 6 / line 7 / no newline", fail.Hint)
	require.False(t, fail.Retryable)
	require.Len(t, progress, 8)

	_, err = runScriptStep(t, sdk.StepValidate, options)
	require.True(t, failOf(t, err).Retryable)
	_, err = runScriptStep(t, sdk.StepIsolate, options)
	require.Contains(t, failOf(t, err).Message, "signal: killed")
	_, err = runScriptStep(t, sdk.StepUndo, options)
	require.ErrorContains(t, err, `unknown option "sumary"`)
}

func TestScriptPlanRunsNothingUnlessItMay(t *testing.T) {
	dir, options := scripts(t, map[string]string{"recover": `echo "plan=$SHIVX_PLAN"; touch ran`})
	planned := func(r *sdk.Request) { r.Plan = true }
	reply, err := runScriptStep(t, sdk.StepRecover, options, planned)
	require.NoError(t, err)
	require.Equal(t, "would run "+dir+"/recover", reply.Summary)
	require.NoFileExists(t, filepath.Join(dir, "ran"))

	reply, err = runScriptStep(t, sdk.StepRecover, fmt.Appendf(nil, `{"dir":%q,"plan":true}`, dir), planned)
	require.NoError(t, err)
	require.Equal(t, "plan=1", reply.Summary)
}

func TestScriptGroupIsKilledInTheEnd(t *testing.T) {
	dir, options := scripts(t, map[string]string{
		"recover": `trap '' TERM; sleep 300 & echo $! > child; echo $$ > self; while :; do sleep 0.1; done`,
	})
	ctx, cancel := context.WithCancel(t.Context())
	read := func(name string) string {
		data, _ := os.ReadFile(filepath.Join(dir, name))
		return strings.TrimSpace(string(data))
	}
	go func() {
		defer cancel()
		for end := time.Now().Add(10 * time.Second); read("self") == "" && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
	}()
	_, err := sdk.Dispatch(ctx, builtin.Script{}, sdk.StepRecover, sdk.Request{Options: options})
	require.ErrorIs(t, err, context.Canceled)
	for _, name := range []string{"self", "child"} {
		pid, err := strconv.Atoi(read(name))
		require.NoError(t, err)
		require.Eventually(t, func() bool { return gone(pid) }, 5*time.Second, 5*time.Millisecond, name)
	}
}

// gone says that no process has the id, or only one that waits to be reaped.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestScriptMayLeaveAServiceBehind(t *testing.T) {
	dir, options := scripts(t, map[string]string{"recover": `sleep 300 & echo $! > child; echo started`})
	reply, err := runScriptStep(t, sdk.StepRecover, options)
	require.NoError(t, err)
	require.Equal(t, "started", reply.Summary)
	data, err := os.ReadFile(filepath.Join(dir, "child"))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	require.NoError(t, err)
	require.False(t, gone(pid))
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
}

func TestScriptOutputIsBounded(t *testing.T) {
	_, options := scripts(t, map[string]string{"recover": `head -c 50000000 /dev/zero | tr '\0' x; head -c 50000000 /dev/zero | tr '\0' y >&2`})
	_, err := runScriptStep(t, sdk.StepRecover, options)
	fail := failOf(t, err)
	require.Contains(t, fail.Message, "printed more than 262144 bytes")
}

func TestScriptThatDoesNotReadItsRequest(t *testing.T) {
	_, options := scripts(t, map[string]string{"recover": `exec <&-; echo fine`})
	reply, err := runScriptStep(t, sdk.StepRecover, options, func(r *sdk.Request) { r.Mark = strings.Repeat("m", 100<<10) })
	require.NoError(t, err)
	require.Equal(t, "fine", reply.Summary)
}

func TestScriptOptionsAreChecked(t *testing.T) {
	dir, good := scripts(t, map[string]string{"recover": "true"})
	require.NoError(t, builtin.Script{}.CheckOptions(good))
	require.NoError(t, builtin.Script{}.CheckOptions([]byte(`{"recover":["true"],"plan":true}`)))
	require.NoError(t, builtin.Script{}.CheckOptions([]byte(`{"isolate":["true"],"reintegrate":["true"]}`)))
	flat, flatOptions := scripts(t, map[string]string{"recover": "true", "undo": "true"})
	require.NoError(t, os.Chmod(filepath.Join(flat, "undo"), 0o600))
	empty, emptyOptions := scripts(t, nil)
	for name, tc := range map[string]struct{ options, want, hint string }{
		"nothing":         {`{}`, "nothing to run", "recover:"},
		"empty folder":    {string(emptyOptions), "no executable named recover", empty + "/recover"},
		"not executable":  {string(flatOptions), `option "undo"`, "chmod +x"},
		"no way back":     {`{"isolate":["true"]}`, "has no opposite", "reintegrate"},
		"half a hook":     {`{"reintegrate":["true"]}`, "nothing to run", "isolate and reintegrate"},
		"unknown program": {`{"recover":["no-such-program-here"]}`, `option "recover"`, ""},
		"unknown key":     {`{"recoverr":["true"]}`, `unknown option "recoverr"`, `did you mean "recover"?`},
		"relative":        {`{"dir":"scripts"}`, "not absolute", ""},
		"no folder":       {`{"dir":"/no/such/folder"}`, "no such file", ""},
		"a file":          {fmt.Sprintf(`{"dir":%q}`, dir+"/recover"), "not a folder", ""},
		"wrong type":      {`{"recover":"true"}`, `option "recover": wants a list, got string`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := builtin.Script{}.CheckOptions([]byte(tc.options))
			require.ErrorContains(t, err, tc.want)
			require.Contains(t, failOf(t, err).Hint, tc.hint)
		})
	}
}
