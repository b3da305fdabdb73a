package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/test/stand"
)

const (
	// floodBytes are written as fast as the disk takes them, in blocks of many lines.
	floodBytes, floodBlock = 768 << 20, 16 << 20
	// floodMemory is the most resident memory of a worker that is far behind.
	floodMemory = 150 // MB
	// floodLook is the time between two looks at the worker's status.
	floodLook = 100 * time.Millisecond
)

// TestBenchGuardianFlood measures a worker whose log is written faster than anybody reads: how far it falls
// behind and says so, what memory it takes, and how soon it has caught up.
func TestBenchGuardianFlood(t *testing.T) {
	ns, dir := newNamespace(t, "l"), t.TempDir()
	log := emptyLog(t, dir)
	agent := ns.agent(t, dir, fmt.Sprintf("  nftables: {enabled: \"on\"}\n  logs: [{name: auth, file: %q, format: sshd, from_start: true}]\n", log.Name()))
	agent.Start()
	status := ns.status(t, dir)
	stand.Await(t, time.Minute, "the worker to read its log", func(context.Context) bool { s, ok := status(); return ok && len(s.Logs) == 1 })

	var block bytes.Buffer
	m := newLogMaker(&block, floodBlock/110, time.Now())
	m.from, m.step = time.Now(), 0
	for block.Len() < floodBlock {
		growAuth(m)
	}
	if err := m.w.Flush(); err != nil {
		t.Fatal(err)
	}
	idle := memoryOf(t, agent.PID())
	before := cpuOf(t, agent.PID())
	begin := time.Now()
	written := make(chan time.Duration, 1)
	go func() { written <- flood(t, log, block.Bytes()) }()
	f := follow(t, status, agent.PID(), floodBytes/block.Len()*bytes.Count(block.Bytes(), []byte("\n")))
	cpu := cpuOf(t, agent.PID()) - before
	wrote := <-written
	t.Logf("%d MB of auth.log at full speed; load average %s", floodBytes>>20, loadAverage())
	t.Logf("  written in %.1f s (%.0f MB/s), read %.1f s after the first byte (%.0f lines/s by the clock, %.0f per CPU-second)",
		wrote.Seconds(), floodBytes/1e6/wrote.Seconds(), f.done.Sub(begin).Seconds(), float64(f.lines)/f.done.Sub(begin).Seconds(),
		float64(f.lines)/cpu.Seconds())
	t.Logf("  lag reported: at most %.0f MB; answers of the status: at most %s; threats %d, isolated %d",
		float64(f.lag)/1e6, f.slowest.Round(time.Millisecond), f.last.Threats.Total, f.last.Isolated)
	t.Logf("  resident memory: %.1f MB before, at most %.1f MB", megabytes(idle), megabytes(f.peak))
	if megabytes(f.peak) > floodMemory {
		t.Errorf("the worker took %.1f MB, aim %d MB", megabytes(f.peak), floodMemory)
	}
	if f.lag == 0 && wrote < f.done.Sub(begin)/2 {
		t.Error("no lag was reported")
	}
}

// flood appends the block until floodBytes are written, and returns how long that took.
func flood(t *testing.T, log *os.File, block []byte) time.Duration {
	begin := time.Now()
	for range floodBytes / len(block) {
		if _, err := log.Write(block); err != nil {
			t.Error(err)
		}
	}
	return time.Since(begin)
}

// flooded is what was seen of a worker in a flood.
type flooded struct {
	lines   uint64
	lag     int64
	peak    int // KiB
	slowest time.Duration
	done    time.Time
	last    guardian.Status
}

// follow asks for the status until all lines are read.
func follow(t *testing.T, status func() (guardian.Status, bool), pid, lines int) (f flooded) {
	t.Helper()
	for limit := time.Now().Add(5 * time.Minute); f.lines < uint64(lines); time.Sleep(floodLook) {
		begin := time.Now()
		s, ok := status()
		if !ok {
			continue
		}
		f.slowest = max(f.slowest, time.Since(begin))
		if time.Now().After(limit) {
			t.Fatalf("%d of %d lines were read", f.lines, lines)
		}
		f.last, f.lines, f.lag, f.peak = s, s.Logs[0].Lines, max(f.lag, s.Logs[0].Lag), max(f.peak, memoryOf(t, pid))
	}
	f.done = time.Now()
	return f
}

// memoryOf is a process's resident memory in KiB.
func memoryOf(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	return kibOf(text, "VmRSS:")
}

// status returns what asks a worker in the namespace.
func (ns *namespace) status(t *testing.T, dir string) func() (guardian.Status, bool) {
	t.Helper()
	dialer := &net.Dialer{Timeout: time.Second}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			err = ns.do(func() error {
				c, err = dialer.DialContext(ctx, network, address)
				return err
			})
			return c, err
		}}}
	t.Cleanup(client.CloseIdleConnections)
	return func() (s guardian.Status, ok bool) {
		token, err := os.ReadFile(filepath.Join(dir, "var", "api.token"))
		if err != nil {
			return s, false
		}
		req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:8787/api/guardian/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(token)))
		resp, err := client.Do(req)
		if err != nil {
			return s, false
		}
		defer func() { _ = resp.Body.Close() }()
		return s, json.NewDecoder(resp.Body).Decode(&s) == nil
	}
}

// do calls f on a thread in the namespace, which ends with it.
func (ns *namespace) do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		if err := unix.Setns(ns.fd, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}
