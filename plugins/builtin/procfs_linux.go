package builtin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// procfs reads processes below root, "/proc" outside of tests.
type procfs struct{ root string }

// proc is one process; pid and start together name it for good.
type proc struct {
	pid, ppid, pgid, sid int
	// start is in clock ticks since boot.
	start   uint64
	state   byte
	threads int
	name    string
}

// String returns "pid 12 (redis-server)".
func (p proc) String() string { return fmt.Sprintf("pid %d (%s)", p.pid, p.name) }

// leads says whether the process leads its group, so that the group is its own.
func (p proc) leads() bool { return p.pgid == p.pid || p.sid == p.pid }

// read returns a living process; a zombie is none, unless threads of it still run.
func (fs procfs) read(pid int) (proc, bool) {
	data, err := os.ReadFile(filepath.Join(fs.root, strconv.Itoa(pid), "stat"))
	if err != nil {
		return proc{}, false
	}
	p, err := parseStat(data)
	if err != nil || ((p.state == 'Z' || p.state == 'X') && p.threads <= 1) {
		return proc{}, false
	}
	return p, true
}

// parseStat reads /proc/PID/stat; the name may hold blanks and parentheses.
func parseStat(data []byte) (proc, error) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return proc{}, fmt.Errorf("process status %q has no name", data)
	}
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) < 20 {
		return proc{}, fmt.Errorf("process status has %d fields", len(fields))
	}
	p := proc{name: string(data[open+1 : end]), state: fields[0][0]}
	var errs [6]error
	p.pid, errs[0] = strconv.Atoi(strings.TrimSpace(string(data[:open])))
	p.ppid, errs[1] = strconv.Atoi(fields[1])
	p.pgid, errs[2] = strconv.Atoi(fields[2])
	p.sid, errs[3] = strconv.Atoi(fields[3])
	p.threads, errs[4] = strconv.Atoi(fields[17])
	p.start, errs[5] = strconv.ParseUint(fields[19], 10, 64)
	return p, errors.Join(errs[:]...)
}

// same says whether p is still that very process.
func (fs procfs) same(p proc) bool {
	now, ok := fs.read(p.pid)
	return ok && now.start == p.start
}

// all lists the living processes.
func (fs procfs) all() ([]proc, error) {
	dir, err := os.Open(fs.root)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	names, err := dir.Readdirnames(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var list []proc
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			if p, ok := fs.read(pid); ok {
				list = append(list, p)
			}
		}
	}
	return list, nil
}

// hasEnv says whether the process was started with the variable set to value.
func (fs procfs) hasEnv(pid int, name, value string) bool {
	data, err := os.ReadFile(filepath.Join(fs.root, strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	want := append([]byte(name+"="+value), 0)
	return bytes.HasPrefix(data, want) || bytes.Contains(data, append([]byte{0}, want...))
}

// runs says whether the process is the program of path, by its executable or, for scripts and
// programs that were replaced on disk, by its first arguments.
func (fs procfs) runs(pid int, path string) bool {
	base := filepath.Base(path)
	dir := filepath.Join(fs.root, strconv.Itoa(pid))
	if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil && filepath.Base(strings.TrimSuffix(exe, " (deleted)")) == base {
		return true
	}
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return false
	}
	for i, arg := range bytes.Split(line, []byte{0}) {
		if i > 1 {
			break
		}
		if filepath.Base(strings.TrimSuffix(string(arg), ":")) == base {
			return true
		}
	}
	return false
}

// startedAt is the wall-clock time of a process' start.
func (fs procfs) startedAt(p proc) (time.Time, error) {
	data, err := os.ReadFile(filepath.Join(fs.root, "stat"))
	if err != nil {
		return time.Time{}, fmt.Errorf("boot time: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "btime "); ok {
			boot, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			// The kernel shows ticks of 1/100 s on every architecture Go supports.
			return time.Unix(boot, 0).Add(time.Duration(p.start) * 10 * time.Millisecond), err
		}
	}
	return time.Time{}, fmt.Errorf("boot time: no btime in %s/stat", fs.root)
}

// family is this process and those above it, which are never ended.
func (fs procfs) family() map[int]bool {
	family := map[int]bool{}
	for pid := os.Getpid(); pid > 0 && !family[pid]; {
		family[pid] = true
		p, ok := fs.read(pid)
		if !ok {
			break
		}
		pid = p.ppid
	}
	return family
}

// awaitExit waits until the process is gone, and says whether it is.
func (fs procfs) awaitExit(ctx context.Context, p proc, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err == nil {
		defer func() { _ = unix.Close(fd) }()
	}
	for fs.same(p) {
		left := time.Until(deadline)
		if left <= 0 || ctx.Err() != nil {
			return false
		}
		wait := min(left, 50*time.Millisecond)
		if err != nil {
			time.Sleep(min(wait, 5*time.Millisecond))
			continue
		}
		// Rounded up, so that the last wait is not a busy one.
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(wait.Milliseconds())+1)
	}
	return true
}
