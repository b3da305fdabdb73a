package testenv

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Prometheus starts a Prometheus that holds the measurements of a text in the OpenMetrics format, whatever their times are.
func Prometheus(t testing.TB, measurements string) *Server {
	t.Helper()
	programs := Need(t, "prometheus", "promtool")
	dir, addr := t.TempDir(), Addr(t)
	data := filepath.Join(dir, "data")
	WriteFile(t, filepath.Join(dir, "prometheus.yml"), "global: {}\n")
	WriteFile(t, filepath.Join(dir, "measurements"), measurements)
	made := exec.Command(programs[1], "tsdb", "create-blocks-from", "openmetrics", filepath.Join(dir, "measurements"), data)
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("fill the Prometheus: %v\n%s", err, out)
	}
	s := &Server{
		Dir: dir, Addr: addr, PIDFile: filepath.Join(dir, "prometheus.pid"), quit: syscall.SIGTERM,
		Argv: []string{programs[0], "--config.file=prometheus.yml", "--storage.tsdb.path=" + data, "--storage.tsdb.retention.time=50y",
			"--web.listen-address=" + addr, "--log.level=error"},
	}
	s.ready = func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/-/ready", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", answer.Status)
		}
		return nil
	}
	t.Cleanup(func() { s.close(t) })
	s.Start(t)
	return s
}
