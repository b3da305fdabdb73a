package peers

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shivx/shivx/test/stand"
)

const (
	// idleSettle lets the work of a start pass: connections, first samples, the first collections
	// of garbage.
	idleSettle = 20 * time.Second
	// idleFor is how long is measured; the environment variable idleForEnv says otherwise, such as 10m.
	idleFor    = time.Minute
	idleForEnv = "SHIVX_BENCH_IDLE"
	// idleScrape is how often node_exporter is asked, as often as the agent samples.
	idleScrape = 5 * time.Second

	// The aims: the share of one core that sampling may take, and the resident memory of the worker.
	monitorAim = 1.0 // %
	workerAim  = 60  // MB
)

// idlePublished are figures of others, not measured here. The authors of node_exporter publish
// none; what kube-prometheus reserves for it is the nearest.
//
//	Netdata       https://learn.netdata.cloud/docs/netdata-agent/resource-utilization
//	              an agent by itself: CPU with default settings, RAM on an empty system
//	node_exporter https://github.com/prometheus-operator/kube-prometheus/blob/main/manifests/nodeExporter-daemonset.yaml
//	              resources.requests of its container; the CPU leaves room for bursts
var idlePublished = []struct{ name, cpu, memory, source string }{
	{"Netdata, its documentation", "1–5", "100–200", "learn.netdata.cloud/docs/netdata-agent/resource-utilization"},
	{"node_exporter, reserved by kube-prometheus", "10.2", "189", "kube-prometheus manifests/nodeExporter-daemonset.yaml"},
}

// idleConfig has ten components with the usual checks at their default intervals, and a guardian that
// waits for lines of two logs.
const idleConfig = `
version: 1
host: HOST
paths: {var: "{dir}/var"}
api: {listen: "127.0.0.1:PORT"}
resilience: {monitor: {every: EVERY}}
guardian:
  logs:
    - {name: auth, file: "{dir}/auth.log", format: sshd}
    - {name: access, file: "{dir}/access.log", format: nginx-access}
components:
`

// idleMeasured is a program that is measured while nothing happens.
type idleMeasured struct {
	name string
	pids func() []int

	before, cpu time.Duration
	memory      idleMemory
	// peak is the greatest resident memory seen.
	peak int
}

// idleMemory of a program, in KiB. What several processes share counts in full for each in rss
// and anon, and in parts in pss.
type idleMemory struct{ rss, anon, pss int }

// TestBenchIdle measures what an agent of ten components takes while nothing happens, beside
// node_exporter and Netdata where they are installed. What sampling takes is the difference to an
// agent that measures its host once an hour: it holds all that comes of a sample, so the reading,
// the score, the level, the history and the records, and not what both do, such as the checks of
// the components and the polling of Temporal.
func TestBenchIdle(t *testing.T) {
	period := idlePeriod(t)
	s := stand.NewServer(t)
	sampled, unsampled := idleAgent(t, s, "idle", "5s"), idleAgent(t, s, "unsampled", "1h")
	all := append([]*idleMeasured{sampled, unsampled}, idlePeers(t)...)
	time.Sleep(idleSettle)

	begin := time.Now()
	for _, m := range all {
		m.before = m.cpuTime(t)
	}
	for time.Since(begin) < period {
		time.Sleep(min(5*time.Second, period-time.Since(begin)))
		for _, m := range all {
			m.memory = m.readMemory(t)
			m.peak = max(m.peak, m.memory.rss)
		}
	}
	took := time.Since(begin)
	for _, m := range all {
		m.cpu = m.cpuTime(t) - m.before
	}
	idleReport(t, all, took)

	if monitor := share(sampled.cpu-unsampled.cpu, took); monitor > monitorAim {
		t.Errorf("sampling takes %.2f %% of a core, aim %.0f %%", monitor, monitorAim)
	}
	if mb := megabytes(sampled.peak); mb > workerAim {
		t.Errorf("the worker takes %.1f MB of resident memory, aim %d MB", mb, workerAim)
	}
}

func idlePeriod(t *testing.T) time.Duration {
	text := os.Getenv(idleForEnv)
	if text == "" {
		return idleFor
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("%s is %q: write a time such as 10m", idleForEnv, text)
	}
	return d
}

func idleReport(t *testing.T, all []*idleMeasured, took time.Duration) {
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("idle for %s after %s to settle; load average at the end %.14s", took.Round(time.Second), idleSettle, load)
	t.Logf("%-44s %12s %9s %9s %9s %9s", "", "% of a core", "RSS MB", "peak", "anon", "PSS")
	for _, m := range all {
		t.Logf("%-44s %12.2f %9.1f %9.1f %9.1f %9.1f", m.name, share(m.cpu, took), megabytes(m.memory.rss), megabytes(m.peak),
			megabytes(m.memory.anon), megabytes(m.memory.pss))
	}
	t.Logf("%-44s %12.2f   aim: at most %.0f %% of a core", "of ShivX: sampling, as the difference", share(all[0].cpu-all[1].cpu, took), monitorAim)
	t.Logf("%-44s %12s %9.1f   aim: at most %d MB at the peak", "of ShivX: memory", "", megabytes(all[0].peak), workerAim)
	for _, p := range idlePublished {
		t.Logf("%-44s %12s %9s   published, not measured here: %s", p.name, p.cpu, p.memory, p.source)
	}
}

func share(cpu, took time.Duration) float64 { return 100 * cpu.Seconds() / took.Seconds() }

// megabytes turns KiB into MB.
func megabytes(kib int) float64 { return float64(kib) * 1024 / 1e6 }

// idleAgent starts an agent and waits until it has measured its host.
func idleAgent(t *testing.T, s *stand.Server, host, every string) *idleMeasured {
	t.Helper()
	port := stand.FreePort(t)
	cfg := strings.NewReplacer("HOST", host, "PORT", strconv.Itoa(port), "EVERY", every).Replace(idleConfig) + idleComponents(t)
	a := stand.NewAgent(t, s, "shivx-worker", cfg)
	stand.Await(t, time.Minute, "the agent "+host+" to be ready", func(ctx context.Context) bool {
		token, err := os.ReadFile(filepath.Join(a.Var, "api.token"))
		if err != nil {
			return false
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/api/health/ready", port), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode == http.StatusOK
	})
	return &idleMeasured{name: "ShivX, 10 components, sampled every " + every, pids: func() []int { return []int{a.PID()} }}
}

// idleComponents are ten components whose services this test is.
func idleComponents(t *testing.T) string {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") }))
	t.Cleanup(web.Close)
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listen.Close() })
	go func() {
		for {
			c, err := listen.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	pidFile := filepath.Join(t.TempDir(), "test.pid")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	checks := []string{
		fmt.Sprintf("http: {url: %q}", web.URL+"/healthz"),
		fmt.Sprintf("tcp: {address: %q}", listen.Addr()),
		fmt.Sprintf("process: {pid_file: %q}", pidFile),
	}
	var b strings.Builder
	for i := range 10 {
		fmt.Fprintf(&b, "  - name: service-%d\n    checks:\n      - %s\n", i, checks[i%len(checks)])
		if i%len(checks) != 2 { // a service of the network is a process, too
			fmt.Fprintf(&b, "      - %s\n", checks[2])
		}
		b.WriteString("    ladder:\n      - {use: process, with: {start: [\"true\"], pid_file: \"" + pidFile + "\"}}\n")
	}
	return b.String()
}
