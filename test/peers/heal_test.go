// Package peers measures ShivX beside other programs that do the same job, on the same service
// and in the same run. `make bench` runs it.
package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
)

// rounds is how often the service is killed under each program.
const rounds = 40

const healConfig = `
version: 1
host: bench
paths: {var: "{dir}/var"}
api: {listen: "off"}
components:
  - name: demo
    checks:
      - process: {pid_file: "{dir}/demo/demo.pid"}
      - http: {url: "http://127.0.0.1:PORT/healthz"}
        every: 1s
    ladder:
      - name: restart
        use: process
        with: {start: ["DEMO", "-dir", "{dir}/demo", "-listen", "127.0.0.1:PORT"], pid_file: "{dir}/demo/demo.pid", log: "{dir}/demo.log", start_grace: "0s"}
        timeout: 10s
    validate: {window: 0s, every: 100ms, settle: 10s}
    limits: {heals: 1000, window: 1h, cooldown: 0s, max_cooldown: 0s}
`

// split is one heal in parts.
type split struct {
	detection, plugin, validation, orchestration, total time.Duration
}

// TestBenchHeal measures from the death of a process to its return to service.
func TestBenchHeal(t *testing.T) {
	demo := stand.Bin(t, "shivx-demo")
	own := serviceStart(t, demo)
	heals := shivxHeals(t, demo)
	monit := monitHeals(t, demo)

	t.Logf("%d kills with SIGKILL each; observation window 0; times in ms", rounds)
	t.Logf("%-34s %8s %8s", "", "p50", "p95")
	row := func(name string, ds []time.Duration) {
		t.Logf("%-34s %8.1f %8.1f", name, ms(quantile(ds, .5)), ms(quantile(ds, .95)))
	}
	row("the service's own start", own)
	row("ShivX: exit → reintegrated", part(heals, func(s split) time.Duration { return s.total }))
	row("  detection (exit → finding)", part(heals, func(s split) time.Duration { return s.detection }))
	row("  orchestration (Temporal, ledger)", part(heals, func(s split) time.Duration { return s.orchestration }))
	row("  plugin (start of the service)", part(heals, func(s split) time.Duration { return s.plugin }))
	row("  validation (until checks pass)", part(heals, func(s split) time.Duration { return s.validation }))
	row("Monit 1 s cycle: exit → answering", monit)
	ratio := ms(quantile(part(heals, func(s split) time.Duration { return s.total }), .5)) / ms(quantile(monit, .5))
	t.Logf("ShivX takes %.2f times as long as Monit (p50)", ratio)
	beyond := quantile(part(heals, func(s split) time.Duration { return s.total }), .5) - quantile(own, .5)
	beyond95 := quantile(part(heals, func(s split) time.Duration { return s.total }), .95) - quantile(own, .5)
	t.Logf("beyond the service's own start: p50 %.1f ms (aim 250), p95 %.1f ms (aim 500)", ms(beyond), ms(beyond95))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func part(all []split, f func(split) time.Duration) (out []time.Duration) {
	for _, s := range all {
		out = append(out, f(s))
	}
	return out
}

func quantile(ds []time.Duration, q float64) time.Duration {
	s := slices.Sorted(slices.Values(ds))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

// answers says whether the service answers on the port.
func answers(port int) bool {
	client := http.Client{Timeout: 200 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/healthz", port))
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func pidIn(file string) int {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}

// serviceStart measures how long the service takes from its start until it answers.
func serviceStart(t *testing.T, demo string) (out []time.Duration) {
	dir, port := t.TempDir(), stand.FreePort(t)
	for range rounds {
		cmd := exec.Command(demo, "-dir", dir, "-listen", fmt.Sprintf("127.0.0.1:%d", port))
		begin := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for !answers(port) {
			time.Sleep(200 * time.Microsecond)
		}
		out = append(out, time.Since(begin))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return out
}

func shivxHeals(t *testing.T, demo string) (out []split) {
	port := stand.FreePort(t)
	cfg := strings.NewReplacer("PORT", strconv.Itoa(port), "DEMO", demo).Replace(healConfig)
	s := stand.NewServer(t)
	a := stand.NewAgent(t, s, "shivx-worker", cfg)
	pidFile := filepath.Join(a.Dir, "demo", "demo.pid")
	t.Cleanup(func() {
		if pid := pidIn(pidFile); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	// The service does not run yet: the agent's first heal starts it.
	a.AwaitRecovery("demo", 1, time.Minute)
	for n := 2; n < rounds+2; n++ {
		stand.Await(t, 10*time.Second, "the service to answer", func(context.Context) bool { return answers(port) })
		time.Sleep(50 * time.Millisecond) // the entity takes note of the end of the last run
		killed := time.Now()
		if err := syscall.Kill(pidIn(pidFile), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		end := a.AwaitRecovery("demo", n, 30*time.Second)
		if end.Outcome != shivx.OutcomeHealed {
			t.Fatalf("heal %d ended %s: %s", n, end.Outcome, end.Message)
		}
		out = append(out, splitOf(a.Records(), killed, end))
	}
	return out
}

// splitOf takes a heal apart by the timestamps of its records.
func splitOf(records []shivx.RecoveryRecord, killed time.Time, end shivx.RecoveryRecord) (s split) {
	s.total = end.Timestamp.Sub(killed)
	for _, r := range records {
		switch {
		case r.EventType == shivx.EventFault && r.Timestamp.After(killed) && s.detection == 0:
			s.detection = r.Timestamp.Sub(killed)
		case r.Run == end.Run && r.EventType == shivx.EventStepDone && r.Step == shivx.StepRecover:
			s.plugin = time.Duration(r.DurationMS) * time.Millisecond
		}
	}
	if details, ok := end.Details.(map[string]any); ok {
		steps, _ := details["steps"].([]any)
		for _, v := range steps {
			step, _ := v.(map[string]any)
			if took, ok := step["took"].(string); ok && step["step"] == string(shivx.StepValidate) {
				s.validation, _ = time.ParseDuration(took)
			}
		}
	}
	s.orchestration = s.total - s.detection - s.plugin - s.validation
	return s
}

// monitHeals measures Monit at its shortest cycle, one second, on the same service.
func monitHeals(t *testing.T, demo string) (out []time.Duration) {
	monit := testenv.Need(t, "monit")[0]
	dir, port := t.TempDir(), stand.FreePort(t)
	pidFile := filepath.Join(dir, "demo.pid")
	start := filepath.Join(dir, "start")
	script := fmt.Sprintf("#!/bin/sh\nexec setsid %s -dir %s -listen 127.0.0.1:%d >>%s/log 2>&1 &\n", demo, dir, port, dir)
	rc := fmt.Sprintf("set daemon 1\nset idfile %[1]s/id\nset statefile %[1]s/state\nset pidfile %[1]s/monit.pid\n"+
		"check process demo with pidfile %[1]s/demo.pid\n  start program = \"%[2]s\"\n  stop program = \"/bin/true\"\n", dir, start)
	for name, text := range map[string]string{start: script, filepath.Join(dir, "monitrc"): rc} {
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p := stand.NewProcess(t, filepath.Join(dir, "monit.log"), nil, monit, "-c", filepath.Join(dir, "monitrc"), "-I")
	p.Start()
	t.Cleanup(func() {
		if pid := pidIn(pidFile); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	up := func(context.Context) bool { return answers(port) }
	stand.Await(t, 30*time.Second, "Monit to start the service", up)
	for i := range min(rounds, 15) { // a cycle each: fewer are enough
		time.Sleep(time.Duration(100+70*i) * time.Millisecond) // kills spread over the cycle
		killed := time.Now()
		if err := syscall.Kill(pidIn(pidFile), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
		stand.Await(t, time.Second, "the service to be gone", func(context.Context) bool { return !listening(port) })
		stand.Await(t, 30*time.Second, "Monit to restart the service", up)
		out = append(out, time.Since(killed))
	}
	return out
}

func listening(port int) bool {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 100*time.Millisecond)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
