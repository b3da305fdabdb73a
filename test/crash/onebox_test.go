package crash_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/test/stand"
)

// TestOneProcessKilled kills what `make run` starts: server and agent in one process.
func TestOneProcessKilled(t *testing.T) {
	cases := []string{"isolate:before", "checkpoint:after", "recover:before", "recover:after", "validate:after", "log:before", "log:after"}
	if short() {
		cases = []string{"recover:after"}
	}
	for i, point := range cases {
		t.Run(point, func(t *testing.T) {
			svc := newService(t)
			host := fmt.Sprintf("one%d", i)
			s := oneProcess(t, host, point, svc.config(host, svc.rung("first", "tells")))
			s.arm(worker)
			s.awaitBlast()
			s.checkHealedOnce(svc, worker)
		})
	}
}

// oneProcess starts server and agent as one program.
func oneProcess(t *testing.T, host, point, yaml string) *scene {
	t.Helper()
	dir, port := t.TempDir(), stand.FreePort(t)
	cfg := filepath.Join(dir, "shivx.yaml")
	require.NoError(t, os.WriteFile(cfg, []byte(strings.ReplaceAll(yaml, "{dir}", dir)), 0o600))
	c, err := client.NewLazyClient(client.Options{
		HostPort: fmt.Sprintf("127.0.0.1:%d", port), Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	s := &scene{t: t, client: c, target: shivx.Target{Component: "svc", Host: host}, since: time.Now()}
	s.lay(point)
	p := stand.NewProcess(t, filepath.Join(dir, "log"), nil, stand.Bin(t, "shivx-local-crash"),
		"-config", cfg, "-port", fmt.Sprint(port), "-ui-port", "0")
	p.Start()
	s.agent = &stand.Agent{Process: p, Dir: dir, Var: filepath.Join(dir, "var")}
	s.agentKeeper = supervise(t, p)
	return s
}
