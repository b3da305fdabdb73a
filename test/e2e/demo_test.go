package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/test/stand"
)

// demo is the demo service: at first started by the test, the way an init system would, later
// by the agent.
type demo struct {
	t    *testing.T
	dir  string
	addr string
}

func newDemo(t *testing.T) *demo {
	t.Helper()
	d := &demo{t: t, dir: t.TempDir(), addr: fmt.Sprintf("127.0.0.1:%d", stand.FreePort(t))}
	t.Cleanup(d.end)
	d.start()
	return d
}

// start starts the service by hand.
func (d *demo) start() {
	d.t.Helper()
	cmd := exec.Command(d.argv()[0], d.argv()[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(d.t, cmd.Start())
	go func() { _ = cmd.Wait() }()
	stand.Await(d.t, 20*time.Second, "the demo service to answer", func(context.Context) bool { return d.answers() })
}

func (d *demo) argv() []string {
	return []string{stand.Bin(d.t, "shivx-demo"), "-dir", d.dir, "-listen", d.addr}
}

func (d *demo) pidFile() string { return filepath.Join(d.dir, "demo.pid") }

func (d *demo) pid() int {
	b, _ := os.ReadFile(d.pidFile())
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

// alive says whether the process of the pid file is this service and lives.
func (d *demo) alive() bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", d.pid()))
	return err == nil && bytes.Contains(line, []byte(d.dir))
}

// kill ends the service as a crash does, and returns when.
func (d *demo) kill() time.Time {
	d.t.Helper()
	require.True(d.t, d.alive(), "the demo service does not run")
	now := time.Now()
	require.NoError(d.t, syscall.Kill(d.pid(), syscall.SIGKILL))
	return now
}

func (d *demo) end() {
	if d.alive() {
		_ = syscall.Kill(d.pid(), syscall.SIGKILL)
	}
}

func (d *demo) answers() bool {
	_, err := d.visit()
	return err == nil
}

// visit asks the service for its page and returns the process that answered.
func (d *demo) visit() (pid int, err error) {
	c := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + d.addr + "/")
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	var page struct{ Visits, PID int }
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return 0, err
	}
	return page.PID, nil
}

// works checks that the service answers and that its process is another one than before.
func (d *demo) works(before int) {
	d.t.Helper()
	now, err := d.visit()
	require.NoError(d.t, err)
	require.NotEqual(d.t, before, now)
	require.Equal(d.t, d.pid(), now)
}

// checks is the part of a component that watches the service.
func (d *demo) checks() string {
	return fill(`
    checks:
      - process: {pid_file: <pid>}
      - http: {url: <url>}
`, "pid", d.pidFile(), "url", "http://"+d.addr+"/healthz")
}

// restart is the rung that starts the service anew.
func (d *demo) restart() string {
	return fill(`
      - name: restart
        use: process
        with: {start: <argv>, pid_file: <pid>}
`, "argv", d.argv(), "pid", d.pidFile())
}

// component is the service with a restart and nothing else.
func (d *demo) component(name string) string {
	return fill(`
  - name: <name>`, "name", name) + d.checks() + `    ladder:` + d.restart() + quick
}
