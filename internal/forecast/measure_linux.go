package forecast

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/shivx/shivx"
)

// measureTimeout is how long a file system, or the kernel, may take to answer.
const measureTimeout = 2 * time.Second

// cgroupRoot is where cgroups are mounted.
const cgroupRoot = "sys/fs/cgroup"

// noLimit is what cgroup v1 shows for none, less what a page may take off.
const noLimit = 1 << 62

// cgroupFiles are the files of a controller: what is used, its limit, and the key in memory.stat of files in the cache.
type cgroupFiles struct{ used, limit, cache string }

// filesOf returns the names of version 2, or those of version 1 where the cgroup has these.
func filesOf(dir, what string) cgroupFiles {
	if what != "memory" {
		return cgroupFiles{used: "pids.current", limit: "pids.max"}
	}
	v1 := cgroupFiles{"memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"}
	if _, err := os.Stat(filepath.Join(dir, v1.used)); err == nil {
		return v1
	}
	return cgroupFiles{"memory.current", "memory.max", "inactive_file"}
}

// cgroupMeasure returns what a cgroup uses and the least limit of it and of those above it. Files in the cache that the
// kernel takes back at once are not used memory: memory.current less inactive_file, as in Kubernetes' working set.
func cgroupMeasure(root, cgroup, what string) func(context.Context) (float64, float64, error) {
	return func(context.Context) (float64, float64, error) {
		top := filepath.Join(root, cgroupRoot)
		dir := filepath.Join(top, cgroup)
		files := filesOf(dir, what)
		used, err := readNumber(filepath.Join(dir, files.used))
		if err != nil {
			return 0, 0, shivx.Hint(fmt.Errorf("the cgroup %s: %w", cgroup, err), "is it running, under that path? where cgroups are of version 1, the path begins with the controller: memory/shop")
		}
		if files.cache != "" {
			cache, err := readKey(filepath.Join(dir, "memory.stat"), files.cache)
			if err != nil {
				return 0, 0, fmt.Errorf("the cgroup %s: %w", cgroup, err)
			}
			used = math.Max(0, used-cache)
		}
		return used, leastLimit(top, dir, files.limit), nil
	}
}

// leastLimit is the least number in the files of that name between a cgroup and the root; 0: there is none.
func leastLimit(top, dir, file string) float64 {
	least := math.Inf(1)
	for ; len(dir) >= len(top); dir = filepath.Dir(dir) {
		if n, err := readNumber(filepath.Join(dir, file)); err == nil && n < noLimit {
			least = math.Min(least, n)
		}
	}
	if math.IsInf(least, 1) {
		return 0
	}
	return least
}

// readNumber reads a file with one number; "max" is none.
func readNumber(path string) (float64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s has no number", filepath.Base(path))
	}
	return float64(n), nil
}

// readKey reads the number behind a word at the beginning of a line.
func readKey(path, key string) (float64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		if f := strings.Fields(string(line)); len(f) >= 2 && strings.TrimSuffix(f[0], ":") == key {
			return strconv.ParseFloat(f[1], 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", filepath.Base(path), key)
}

// processMeasure returns what the process uses: resident memory and swap in bytes, open files with their limit, or threads.
func processMeasure(root string, find func() (int, error), what string) func(context.Context) (float64, float64, error) {
	return func(context.Context) (float64, float64, error) {
		pid, err := find()
		if err != nil {
			return 0, 0, err
		}
		dir := filepath.Join(root, "proc", strconv.Itoa(pid))
		switch what {
		case "open_files":
			return openFiles(dir)
		case "threads":
			n, err := readKey(filepath.Join(dir, "status"), "Threads")
			return n, 0, err
		}
		resident, err := readKey(filepath.Join(dir, "status"), "VmRSS")
		if err != nil {
			return 0, 0, err
		}
		swapped, err := readKey(filepath.Join(dir, "status"), "VmSwap")
		if err != nil {
			swapped = 0 // a kernel without swap
		}
		return (resident + swapped) * 1024, 0, nil
	}
}

// openFiles counts the open files of a process and reads its soft limit.
func openFiles(dir string) (float64, float64, error) {
	open, err := os.ReadDir(filepath.Join(dir, "fd"))
	if errors.Is(err, fs.ErrPermission) {
		return 0, 0, shivx.Hint(err, "run the agent as root, or as the user of the process")
	}
	if err != nil {
		return 0, 0, err
	}
	f, err := os.Open(filepath.Join(dir, "limits"))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	const line = "Max open files"
	for in := bufio.NewScanner(f); in.Scan(); {
		if rest, ok := strings.CutPrefix(in.Text(), line); ok {
			limit, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				limit = 0 // unlimited
			}
			return float64(len(open)), limit, nil
		}
	}
	return 0, 0, fmt.Errorf("limits has no %q", line)
}

// pathMeasure returns what is used of the file system of a path, and what of it can be used by others than root, as df counts.
func pathMeasure(root, path, what string) func(context.Context) (float64, float64, error) {
	return func(context.Context) (float64, float64, error) {
		var s syscall.Statfs_t
		if err := syscall.Statfs(filepath.Join(root, path), &s); err != nil {
			return 0, 0, fmt.Errorf("the file system of %s: %w", path, err)
		}
		if what == "inodes" {
			return float64(s.Files - s.Ffree), float64(s.Files), nil
		}
		used, size := float64(s.Blocks-s.Bfree), float64(s.Bsize)
		return used * size, (used + float64(s.Bavail)) * size, nil
	}
}

// bounded lets a measurement take its time and no more: a file system that hangs, or a pid file on one, holds up no others.
// One is under way at a time, so that those that hang do not gather.
func bounded(of string, measure func(context.Context) (float64, float64, error)) func(context.Context) (float64, float64, error) {
	type answer struct {
		used, limit float64
		err         error
	}
	busy := make(chan struct{}, 1)
	return func(ctx context.Context) (float64, float64, error) {
		select {
		case busy <- struct{}{}:
		default:
			return 0, 0, fmt.Errorf("%s: the host still does not answer", of)
		}
		got := make(chan answer, 1)
		go func() {
			used, limit, err := measure(ctx)
			<-busy
			got <- answer{used, limit, err}
		}()
		timeout := time.NewTimer(measureTimeout)
		defer timeout.Stop()
		select {
		case a := <-got:
			return a.used, a.limit, a.err
		case <-timeout.C:
			return 0, 0, fmt.Errorf("%s: the host does not answer", of)
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
	}
}
