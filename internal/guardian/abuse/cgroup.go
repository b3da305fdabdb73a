package abuse

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/shivx/shivx"
)

// hierarchy is the tree of cgroups, version 2.
type hierarchy struct {
	// dir is its root.
	dir string
}

// openHierarchy finds the tree below a root: alone, or beside the trees of version 1.
func openHierarchy(root string) (hierarchy, error) {
	for _, dir := range []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"} {
		dir = filepath.Join(root, dir)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil {
			return hierarchy{dir}, nil
		}
	}
	return hierarchy{}, shivx.Hint(errors.New("no cgroups of version 2 are mounted"),
		"boot with systemd.unified_cgroup_hierarchy=1, or name the program instead of the cgroup")
}

// find returns the cgroups whose path matches a pattern.
func (h hierarchy) find(pattern string) ([]string, error) {
	paths, err := doublestar.Glob(os.DirFS(h.dir), pattern)
	if err != nil {
		return nil, fmt.Errorf("find the cgroups %s: %w", pattern, err)
	}
	return slices.DeleteFunc(paths, func(path string) bool {
		_, err := os.Stat(h.file(path, "cgroup.procs"))
		return err != nil
	}), nil
}

func (h hierarchy) file(path, name string) string { return filepath.Join(h.dir, path, name) }

// members returns the numbers of the processes in a cgroup and the ones below it.
func (h hierarchy) members(path string) ([]int, error) {
	var pids []int
	root := filepath.Join(h.dir, path)
	err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil && dir != root {
			return nil // it was removed in between
		}
		if err != nil || !d.IsDir() {
			return err
		}
		procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil && dir == root {
			return err
		}
		for line := range bytes.Lines(procs) {
			pids = append(pids, int(number(line)))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the processes of the cgroup %s: %w", path, err)
	}
	return pids, nil
}

// usage is what a cgroup and the ones below it use.
type usage struct {
	cpu time.Duration
	// memory is and processes are -1 where no controller counts them.
	memory    int64
	processes int
}

// read reads what a cgroup uses. The controllers of memory and processes may be absent: then they are
// -1, and are counted by the processes.
func (h hierarchy) read(path string, limits limits) (usage, error) {
	u := usage{memory: -1, processes: -1}
	stat, err := os.ReadFile(h.file(path, "cpu.stat"))
	if err != nil {
		return u, fmt.Errorf("read the cgroup %s: %w", path, err)
	}
	usec, err := keyed(stat, "usage_usec")
	if err != nil {
		return u, fmt.Errorf("read the cgroup %s: %w", path, err)
	}
	u.cpu = time.Duration(usec) * time.Microsecond
	if n, err := h.count(path, "pids.current"); err == nil {
		u.processes = int(n)
	}
	if limits.memory > 0 {
		u.memory = h.resident(path, limits.memory)
	}
	return u, nil
}

// resident is the memory of a cgroup without the cache of files, which the kernel takes back when it
// is needed; -1 where no controller counts it. The cache is looked at only when it can matter.
func (h hierarchy) resident(path string, limit int64) int64 {
	n, err := h.count(path, "memory.current")
	if err != nil {
		return -1
	}
	if n < limit/2 {
		return n
	}
	stat, err := os.ReadFile(h.file(path, "memory.stat"))
	if err != nil {
		return n
	}
	file, err := keyed(stat, "file")
	shmem, _ := keyed(stat, "shmem") // counted as file, but it stays
	if err != nil {
		return n
	}
	return max(0, n-file+shmem)
}

// count reads a file that has one number.
func (h hierarchy) count(path, name string) (int64, error) {
	text, err := h.value(path, name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}

// value reads a file that has one line.
func (h hierarchy) value(path, name string) (string, error) {
	text, err := os.ReadFile(h.file(path, name))
	return strings.TrimSpace(string(text)), err
}

// write writes a control file.
func (h hierarchy) write(path, name, value string) error {
	f, err := os.OpenFile(h.file(path, name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return fmt.Errorf("set %s of the cgroup %s: %w", name, path, err)
	}
	_, err = f.WriteString(value)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("set %s of the cgroup %s to %s: %w", name, path, value, err)
	}
	return nil
}

// has says whether a cgroup has a control file.
func (h hierarchy) has(path, name string) bool {
	_, err := os.Stat(h.file(path, name))
	return err == nil
}

// keyed reads the number of one key, in lines such as "usage_usec 123".
func keyed(text []byte, key string) (int64, error) {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(key+" ")); ok {
			return int64(number(rest)), nil
		}
	}
	return 0, fmt.Errorf("no %s", key)
}
