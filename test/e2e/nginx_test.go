package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// nginxBrokenConfiguration: the configuration file is overwritten by garbage and nginx dies. A
// restart fails; the good file is put back from the healthy checkpoint.
func nginxBrokenConfiguration(t *testing.T, server *stand.Server) {
	n := testenv.Nginx(t)
	base := n.Argv[:len(n.Argv)-2] // without "-g daemon off;": nginx goes to the background by itself
	argv := func(more ...string) []string { return append(append([]string{}, base...), more...) }
	s := play(t, server, "nginx-broken", fill(`
  - name: web
    checks:
      - process: {pid_file: <pid>}
      - http: {url: <url>, body: ok}
    state:
      paths: [<conf>]
      rules: [{match: <conf>, allow: [changed]}]
      consistency: [{argv: <test>}]
    ladder:
      - name: restart
        use: process
        with: {start: <foreground>, pid_file: <pid>, start_grace: 500ms}
      - name: rebuild
        use: state
        with:
          verify: [<test>]
          replace: [{file: <conf>, from_checkpoint: true}]
          steps: [<start>]
`+quick, "pid", n.PIDFile, "url", "http://"+n.Addr+"/", "conf", n.Conf, "test", argv("-t"),
		"foreground", n.Argv, "start", argv()))

	good, err := os.ReadFile(n.Conf)
	require.NoError(t, err)
	var cp activities.CheckpointResult
	require.NoError(t, s.update(shivx.ComponentID(s.target("web")), shivx.UpdateCheckpoint, workflows.CheckpointRequest{By: "e2e"}, &cp))
	require.NotEmpty(t, cp.ID, cp.Summary)
	require.NoError(t, os.WriteFile(n.Conf, []byte("worker_processes ]]]\x00 what is this?"), 0o600))
	broken := hashOf(t, n.Conf)
	require.Error(t, exec.Command(base[0], argv("-t")[1:]...).Run())
	killed := time.Now()
	n.Kill(t)

	rec := s.healed("web", 1, killed, "rebuild", shivx.RecoverState)
	now, err := os.ReadFile(n.Conf)
	require.NoError(t, err)
	require.Equal(t, string(good), string(now))
	require.Equal(t, "200 ok\n", page(t, n.Addr))
	require.Equal(t, broken, hashInCheckpoint(t, s, rec, n.Conf))
	failed := s.events(shivx.EventStepFailed, "web")
	require.Len(t, failed, 1)
	require.Equal(t, "restart", failed[0].Strategy)
}

// page asks a web server and returns status and body.
func page(t *testing.T, addr string) string {
	t.Helper()
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + addr + "/")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return fmt.Sprintf("%d %s", resp.StatusCode, body)
}
