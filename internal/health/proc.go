package health

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// defaultProc is where the kernel shows its processes.
const defaultProc = "/proc"

// kthreadd is the parent of all kernel threads.
const kthreadd = 2

// instance is one process for its whole life: a PID is reused, a PID with its start time is not.
type instance struct {
	pid int
	// start is in clock ticks since boot, as in /proc/PID/stat: no clock change moves it.
	start uint64
	comm  string
}

func (i instance) same(o instance) bool { return i.pid == o.pid && i.start == o.start }

func (i instance) String() string { return fmt.Sprintf("process %d (%s)", i.pid, i.comm) }

// key names the instance, for telling one exit from another.
func (i instance) key() string { return fmt.Sprintf("%d.%d", i.pid, i.start) }

// stat is what is read of /proc/PID/stat.
type stat struct {
	instance
	state   byte
	parent  int
	threads int
}

// dead is true for a process that has ended and is not reaped yet. One whose first thread has
// ended while others run shows as a zombie too and lives.
func (s stat) dead() bool {
	return (s.state == 'Z' && s.threads <= 1) || s.state == 'X' || s.state == 'x'
}

// readStat reads one file: name, state, parent and start time come from the same moment.
// gopsutil reads several files for them and derives the start from the wall clock.
func readStat(root string, pid int) (stat, error) {
	data, err := os.ReadFile(filepath.Join(root, strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	return parseStat(pid, data)
}

// parseStat reads "PID (COMM) STATE PPID …"; COMM may hold spaces and brackets. See proc_pid_stat(5).
func parseStat(pid int, data []byte) (stat, error) {
	bad := fmt.Errorf("stat of process %d is not in the known format", pid)
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return stat{}, bad
	}
	fields := strings.Fields(string(data[end+1:]))
	const state, parent, threads, start = 0, 1, 17, 19 // fields 3, 4, 20 and 22 of proc(5); COMM is field 2
	if len(fields) <= start || len(fields[state]) != 1 {
		return stat{}, bad
	}
	ppid, err1 := strconv.Atoi(fields[parent])
	ticks, err2 := strconv.ParseUint(fields[start], 10, 64)
	count, err3 := strconv.Atoi(fields[threads])
	if err1 != nil || err2 != nil || err3 != nil {
		return stat{}, bad
	}
	return stat{
		instance: instance{pid: pid, start: ticks, comm: string(data[open+1 : end])},
		state:    fields[state][0], parent: ppid, threads: count,
	}, nil
}

// alive says whether this very process lives.
func alive(root string, i instance) bool {
	s, err := readStat(root, i.pid)
	return err == nil && s.same(i) && !s.dead()
}

// findByName returns the oldest live process with that name in comm or as the base of its
// executable; a process whose parent has the name too, such as a worker, comes after those whose
// parent has not.
func findByName(root, name string) (instance, error) {
	dir, err := os.Open(root)
	if err != nil {
		return instance{}, fmt.Errorf("look for process %s: %w", name, err)
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close()
	if err != nil {
		return instance{}, fmt.Errorf("look for process %s: %w", name, err)
	}
	var found []stat
	zombies := 0
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		s, err := readStat(root, pid)
		if err != nil || s.parent == kthreadd || !named(root, s, name) {
			continue // it ended meanwhile, or is another
		}
		if s.dead() {
			zombies++
			continue
		}
		found = append(found, s)
	}
	if len(found) == 0 {
		return instance{}, noProcess(name, zombies)
	}
	return leader(found), nil
}

func noProcess(name string, zombies int) error {
	if zombies > 0 {
		return fmt.Errorf("no process %s lives, %d ended and wait to be reaped", name, zombies)
	}
	return fmt.Errorf("there is no process %s", name)
}

// leader returns the oldest process that is nobody's child among those found.
func leader(found []stat) instance {
	pids := make(map[int]bool, len(found))
	for _, s := range found {
		pids[s.pid] = true
	}
	return slices.MinFunc(found, func(a, b stat) int {
		if ca, cb := pids[a.parent], pids[b.parent]; ca != cb {
			if cb {
				return -1
			}
			return 1
		}
		if a.start != b.start {
			if a.start < b.start {
				return -1
			}
			return 1
		}
		return a.pid - b.pid
	}).instance
}

// named compares the name with comm, which the kernel cuts at 15 bytes, and with the executable.
func named(root string, s stat, name string) bool {
	if s.comm == name {
		return true
	}
	exe, err := os.Readlink(filepath.Join(root, strconv.Itoa(s.pid), "exe"))
	return err == nil && filepath.Base(strings.TrimSuffix(exe, " (deleted)")) == name
}

// maxPIDFile bounds what is read of a pid file; PostgreSQL keeps more than the number in it.
const maxPIDFile = 4 << 10

// readPIDFile returns the first number of the file.
func readPIDFile(path string) (int, os.FileInfo, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil, fmt.Errorf("there is no pid file %s", path)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("pid file: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxPIDFile {
		return 0, nil, fmt.Errorf("%s is not a pid file", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, nil, fmt.Errorf("pid file: %w", err)
	}
	fields := strings.Fields(string(data))
	if len(fields) == 0 {
		return 0, nil, fmt.Errorf("pid file %s is empty", path)
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil || pid <= 0 {
		return 0, nil, fmt.Errorf("pid file %s holds no process number", path)
	}
	return pid, info, nil
}
