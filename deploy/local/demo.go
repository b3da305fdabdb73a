package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// demoService is the service that a new user kills to see it healed.
type demoService struct {
	program string
	dir     string
	log     *slog.Logger
}

// start starts the service unless it runs already. It is started as the recovery plugin would
// start it: in a session of its own.
func (d demoService) start() error {
	if d.pid() != 0 {
		return nil
	}
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		return fmt.Errorf("make the demo's folder: %w", err)
	}
	out, err := os.OpenFile(filepath.Join(d.dir, "demo.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("open the demo's log: %w", err)
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(d.program, "-dir", d.dir)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the demo service: %w", err)
	}
	go func() { _ = cmd.Wait() }() // so that no zombie is left
	for wait := 5 * time.Millisecond; d.pid() == 0; wait *= 2 {
		if wait > 2*time.Second {
			return errors.New("the demo service did not come up; see its demo.log")
		}
		time.Sleep(wait)
	}
	return nil
}

// pid returns the process id of the running service; 0 if it does not run.
func (d demoService) pid() int {
	b, err := os.ReadFile(filepath.Join(d.dir, "demo.pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || syscall.Kill(pid, 0) != nil {
		return 0
	}
	return pid
}

// stop ends the service.
func (d demoService) stop() {
	if pid := d.pid(); pid != 0 {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			d.log.Warn("the demo service was not stopped", "error", err)
		}
	}
}
