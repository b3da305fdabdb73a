package builtin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/plugins/sdk"
)

// TestStateRepairsNginx: a broken configuration is replaced by the one of the healthy checkpoint.
func TestStateRepairsNginx(t *testing.T) {
	nginx := testenv.Nginx(t)
	store, _ := openStore(t)
	state := config.State{Paths: []string{nginx.Conf}}
	healthy := take(t, store, "h", checkpoint.KindHealthy, state)
	good, err := os.ReadFile(nginx.Conf)
	require.NoError(t, err)
	broken := strings.Replace(string(good), "events {", "evnts {", 1)
	require.NoError(t, os.WriteFile(nginx.Conf, []byte(broken), 0o600))
	fault := take(t, store, "f", checkpoint.KindFault, state)
	argv := func(more ...string) []string {
		return append(nginx.Argv[:len(nginx.Argv)-2:len(nginx.Argv)-2], more...)
	}
	s := &State{store: store}
	req := sdk.Request{
		Key: "k", Component: "nginx", WorkDir: t.TempDir(), HealthyID: healthy.ID, CheckpointID: fault.ID,
		Options: jsonOf(t, map[string]any{
			"verify":  [][]string{argv("-t")},
			"replace": []map[string]any{{"file": nginx.Conf, "from_checkpoint": true}},
			"steps":   [][]string{argv("-s", "reload")},
		}),
	}
	plan := req
	plan.Plan = true
	res, err := s.Recover(ctx(t), plan)
	require.NoError(t, err)
	require.Contains(t, res.Summary, "replace "+nginx.Conf+" by the copy in checkpoint "+healthy.ID)
	now, err := os.ReadFile(nginx.Conf)
	require.NoError(t, err)
	require.Equal(t, broken, string(now), "a plan changed something")

	res, err = s.Recover(ctx(t), req)
	require.NoError(t, err)
	now, err = os.ReadFile(nginx.Conf)
	require.NoError(t, err)
	require.Equal(t, string(good), string(now))
	kept, err := os.ReadFile(brokenName(nginx.Conf, "k"))
	require.NoError(t, err)
	require.Equal(t, broken, string(kept))
	info, err := os.Stat(nginx.Conf)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode().Perm(), "the mode is not the checkpoint's")
	require.Len(t, res.Changes, 3)

	res, err = s.Recover(ctx(t), req)
	require.NoError(t, err)
	require.Contains(t, res.Summary, "nothing was rebuilt")
	_, err = s.Undo(ctx(t), req)
	require.NoError(t, err)
	now, err = os.ReadFile(nginx.Conf)
	require.NoError(t, err)
	require.Equal(t, broken, string(now))
}

func TestStateRunsStepsInOrder(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	say := func(text string) []string { return []string{"sh", "-c", "echo " + text + " >> " + log} }
	sound := []string{"test", "-e", dir + "/sound"}
	recover := func(options map[string]any) (sdk.Result, error) {
		return (&State{}).Recover(ctx(t), sdk.Request{Key: "k", Component: "c", Options: jsonOf(t, options)})
	}
	_, err := recover(map[string]any{"verify": [][]string{sound}, "steps": [][]string{say("one"), say("two")}})
	require.ErrorContains(t, err, "still not sound")
	_, err = recover(map[string]any{"verify": [][]string{sound}, "steps": [][]string{say("three"), {"sh", "-c", "echo broken disk; exit 1"}, say("never")}})
	require.ErrorContains(t, err, "step 2 of 3")
	require.ErrorContains(t, err, "broken disk")
	_, err = recover(map[string]any{"verify": [][]string{sound}, "steps": [][]string{{"touch", dir + "/sound"}}})
	require.NoError(t, err)
	_, err = recover(map[string]any{"verify": [][]string{sound}, "steps": [][]string{say("never")}})
	require.NoError(t, err)
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, "one\ntwo\nthree\n", string(text))
	start := time.Now()
	_, err = recover(map[string]any{"steps": [][]string{{"sleep", "60"}}, "timeout": "100ms"})
	require.ErrorContains(t, err, "killed after 100ms")
	require.Less(t, time.Since(start), 10*time.Second)
}

func TestStateReplacesByAKnownGoodCopyAndBack(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"app.conf": "broken", "good.conf": "good"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	req := sdk.Request{Key: "k", Component: "c", Options: jsonOf(t, map[string]any{
		"replace": []map[string]any{{"file": dir + "/app.conf", "with": dir + "/good.conf"}},
	})}
	s := &State{}
	for range 2 {
		_, err := s.Recover(ctx(t), req)
		require.NoError(t, err)
	}
	read := func() string { b, _ := os.ReadFile(dir + "/app.conf"); return string(b) }
	require.Equal(t, "good", read())
	_, err := s.Undo(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, "broken", read())
}

func TestOptionsAreCheckedWithGoodMessages(t *testing.T) {
	all := All(Options{})
	for plugin, cases := range map[string]map[string]string{
		"process": {
			`{}`:                                   "exactly one of start, unit and await_restart",
			`{"start":"redis-server"}`:             "wants a list",
			`{"start":["redis-server -x"]}`:        "is a command line",
			`{"start":["x"],"pidfile":"/x"}`:       `unknown option "pidfile"`,
			`{"start":["x"],"write_pid":true}`:     "there is no file to write to",
			`{"start":["x"],"pid_file":"x"}`:       "is relative",
			`{"start":["x"],"stop_timeout":5}`:     "duration",
			`{"start":["x"],"user":"no-such-one"}`: "unknown user",
			`{"unit":"x.service","stop":["y"]}`:    "systemd starts and stops the unit itself",
			`{"await_restart":true}`:               "await_restart needs it",
		},
		"network": {
			`{}`: "nothing says what to do",
			`{"haproxy":{"backend":"a","server":"b"}}`:                                   "haproxy.socket",
			`{"haproxy":{"socket":"/s","backend":"a","server":"b; disable server a/c"}}`: "is not a name in HAProxy",
			`{"haproxy":{"socket":"/s","backend":"a","server":"b","failover":"b"}}`:      "is the server itself",
			`{"upstream":{"file":"/f","from":"a","to":"b"}}`:                             "nobody would read the new file",
			`{"upstream":{"file":"f","from":"a","to":"b","reload":["x"]}}`:               "is not absolute",
		},
		"data": {
			`{"paths":["x"]}`: "is relative",
			`{"stop":["x"]}`:  "must be started, too",
		},
		"state": {
			`{}`:                          "neither steps nor replace",
			`{"steps":[[]]}`:              "is empty",
			`{"replace":[{"file":"/x"}]}`: "exactly one of with and from_checkpoint",
			`{"replace":[{"file":"/x","with":"/y","from_checkpoint":true}]}`: "exactly one of with and from_checkpoint",
		},
		"database": {
			`{}`:                              "is missing",
			`{"dsn":"env:X","free":-1}`:       "is negative",
			`{"dsn":"env:X","protect":["["]}`: "not a glob pattern",
			`{"dsn":"env:X","idle":"1s"}`:     `unknown option "idle"`,
		},
	} {
		checker := all[plugin].(sdk.OptionsChecker)
		for options, want := range cases {
			err := checker.CheckOptions([]byte(options))
			require.ErrorContains(t, err, want, "%s %s", plugin, options)
		}
	}
	for name, p := range all {
		d := sdk.Describe(p)
		require.Equal(t, name, d.Name)
		require.NotEmpty(t, d.Summary, fmt.Sprint(name))
		require.Contains(t, d.Steps, sdk.StepCheck, name)
	}
}
