package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/test/openfeature"
	"github.com/shivx/shivx/test/stand"
)

// features is an application that watches its features through the OpenFeature SDK.
type features struct {
	t   *testing.T
	mu  sync.Mutex
	now map[string]bool
}

func watchFeatures(t *testing.T, s *scene) *features {
	t.Helper()
	stand.Await(t, patience, "the agent's HTTP interface", func(context.Context) bool { _, ok := s.resilience(); return ok })
	cmd := openfeature.Command(t, "--url", "http://"+s.api, "--token", s.token(), "--watch",
		"analytics", "background_tasks", "ai_inference", "web_search", "uploads", "integrations", "memory_writes", "chat")
	_, err := cmd.StdinPipe() // it ends when this is closed
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	f := &features{t: t, now: map[string]bool{}}
	go f.read(out)
	return f
}

func (f *features) read(out io.Reader) {
	for in := bufio.NewScanner(out); in.Scan(); {
		var line struct {
			Flag  string `json:"flag"`
			Value bool   `json:"value"`
		}
		if json.Unmarshal(in.Bytes(), &line) != nil {
			continue
		}
		f.mu.Lock()
		f.now[line.Flag] = line.Value
		f.mu.Unlock()
	}
}

func (f *features) await(what string, ok func(map[string]bool) bool) {
	f.t.Helper()
	defer func() {
		if f.t.Failed() {
			f.t.Logf("the application saw %v", f.now)
		}
	}()
	stand.Await(f.t, patience, "the application to see "+what, func(context.Context) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return ok(f.now)
	})
}

func anyOff(on map[string]bool) bool {
	for _, v := range on {
		if !v {
			return true
		}
	}
	return false
}

// stress puts the machine under real pressure until the function it returns is called.
func stress(t *testing.T, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command("stress-ng", append([]string{"--quiet", "--timeout", "180"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	stop = sync.OnceFunc(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// tmpfs mounts a small file system of its own.
func tmpfs(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	stand.Tmpfs(t, dir)
	return dir
}

func fillUp(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "fill"))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	block := make([]byte, 1<<20)
	for {
		if _, err := f.Write(block); err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			return
		}
	}
}

// memoryUsed is the share of memory in use, in percent.
func memoryUsed(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/meminfo")
	require.NoError(t, err)
	figure := func(name string) (kb int) {
		_, rest, _ := strings.Cut(string(b), name+":")
		_, err := fmt.Sscan(rest, &kb)
		require.NoError(t, err)
		return kb
	}
	total := figure("MemTotal")
	return 100 * (total - figure("MemAvailable")) / total
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
}
