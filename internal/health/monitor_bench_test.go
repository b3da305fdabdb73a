package health

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/shivx/shivx/internal/config"
)

// BenchmarkMonitorIdle is the cost of 100 process checks (half by pid file, half by name) and 100
// TCP checks, each once a second, on services that are all well. One iteration is one second; the
// listener's side of the TCP checks is in this process and in the figure.
func BenchmarkMonitorIdle(b *testing.B) {
	const each = 100
	v := newVictims(b)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	var components []config.Component
	for i := range each {
		p := v.start(b, false)
		process := config.ProcessCheck{Name: v.name}
		if i%2 == 0 {
			process = config.ProcessCheck{PIDFile: filepath.Join(b.TempDir(), "pid")}
			if err := os.WriteFile(process.PIDFile, fmt.Append(nil, p.Pid), 0o644); err != nil {
				b.Fatal(err)
			}
		}
		components = append(components, config.Component{Name: fmt.Sprintf("c%d", i), Checks: []config.Check{
			{Every: time.Second, Process: &process},
			{Every: time.Second, TCP: &config.TCPCheck{Address: l.Addr().String()}},
		}})
	}
	in := newInbox()
	m := run(b, components, Options{Report: in.report})
	for _, c := range m.components {
		await(b, "health", func() bool { return c.status().State == StateHealthy })
	}
	began, cpu := time.Now(), cpuTime(b)
	for b.Loop() {
		time.Sleep(time.Second)
	}
	used, lasted := cpuTime(b)-cpu, time.Since(began)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(100*used.Seconds()/lasted.Seconds(), "%core")
	b.ReportMetric(float64(used.Microseconds())/lasted.Seconds()/(2*each), "cpu-µs/check")
	in.none(b)
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
