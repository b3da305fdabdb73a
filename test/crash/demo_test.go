package crash_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/test/stand"
)

// demo is the demo service, a real process that the plugin "process" starts anew.
type demo struct {
	t    *testing.T
	dir  string
	argv []string
}

func newDemo(t *testing.T) *demo {
	t.Helper()
	dir := t.TempDir()
	d := &demo{t: t, dir: dir, argv: []string{stand.Bin(t, "shivx-demo"), "-dir", dir, "-listen", fmt.Sprintf("127.0.0.1:%d", stand.FreePort(t))}}
	t.Cleanup(func() {
		for _, pid := range d.running() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return d
}

// start starts the service as its host would.
func (d *demo) start() {
	d.t.Helper()
	out, err := os.OpenFile(filepath.Join(d.dir, "demo.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(d.t, err)
	defer func() { _ = out.Close() }()
	p, err := os.StartProcess(d.argv[0], d.argv, &os.ProcAttr{
		Files: []*os.File{nil, out, out}, Sys: &syscall.SysProcAttr{Setsid: true}})
	require.NoError(d.t, err)
	go func() { _, _ = p.Wait() }()
	stand.Await(d.t, 10*time.Second, "the demo service to come up", func(context.Context) bool { return d.starts() == 1 })
}

// starts counts how often the service came up.
func (d *demo) starts() int {
	b, _ := os.ReadFile(filepath.Join(d.dir, "demo.log"))
	return strings.Count(string(b), "up, pid ")
}

// running lists the processes of the service.
func (d *demo) running() []int {
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var out []int
	for _, path := range found {
		line, err := os.ReadFile(path)
		if err == nil && strings.HasPrefix(string(line), d.argv[0]+"\x00-dir\x00"+d.dir+"\x00") {
			pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
			out = append(out, pid)
		}
	}
	return out
}

func (d *demo) config(host string) string {
	return strings.NewReplacer("{host}", host, "{demo}", d.dir, "{start}", strings.Join(d.argv, ", ")).Replace(`
version: 1
host: {host}
paths: {var: "{dir}/var"}
api: {listen: "off"}
components:
  - name: demo
    checks:
      - process: {pid_file: "{demo}/demo.pid"}
        every: 200ms
    ladder:
      - name: restart
        use: process
        with:
          start: [{start}]
          pid_file: "{demo}/demo.pid"
          log: "{demo}/demo.log"
    validate: {window: 200ms, every: 50ms, settle: 5s}
    limits: {heals: 1000, cooldown: 0s, max_cooldown: 0s}
`)
}

// TestRealServiceStartsOnce kills around the restart of a real service: it comes up once more,
// and never twice at a time.
func TestRealServiceStartsOnce(t *testing.T) {
	h := newHouse(t)
	for _, point := range []string{"recover:before", "recover:after"} {
		for _, who := range []string{both, worker, server} {
			if short() && who != both {
				continue
			}
			t.Run(point+"/"+who, func(t *testing.T) {
				d := newDemo(t)
				d.start()
				host := "demo-" + who + "-" + point[8:]
				s := h.agent(t, "demo", host, point, d.config(host))
				s.awaitReady()
				s.arm(who)
				require.Len(t, d.running(), 1)
				require.NoError(t, syscall.Kill(d.running()[0], syscall.SIGKILL))
				s.awaitBlast()
				end := s.awaitEnd()
				state := s.entity()
				s.report(end.WorkflowExecutionInfo.CloseTime.AsTime())
				res := s.result()
				require.Equal(t, shivx.OutcomeHealed, res.Outcome, res.Message)
				require.Equal(t, "restart", res.Strategy)
				require.Len(t, state.Heals, 1)
				require.Equal(t, 2, d.starts(), "its own start and that of the recovery")
				require.Len(t, d.running(), 1)
				s.agent.VerifyLedger()
				s.checkDeaths(who)
			})
		}
	}
}
