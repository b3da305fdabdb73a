package abuse

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// maxOpen bounds the files that are kept open.
	maxOpen = 512
	// young is for how many rounds a new process is looked at again: most become what they are
	// (another user, another program) right after they were forked.
	young = 3
	// recheck is after how many rounds each other process is looked at again.
	recheck = 16
	// settled is after how many readings without any time used a process is read every other round:
	// what takes memory or forks uses time.
	settled = 5
)

// table holds the machine's processes as they were read last. What a budget matches is found out
// once for each process, and again from time to time.
type table struct {
	proc  string
	page  int64
	match func(*process) []int
	// users says that the accounts of processes are needed, shared that their shared memory is.
	users, shared bool

	round uint64
	all   map[int]*process
	// gone are the processes that the last round did not have any more.
	gone []*process
	open int
	buf  []byte
}

func newTable(root string) *table {
	return &table{proc: filepath.Join(root, "proc"), page: int64(os.Getpagesize()), all: map[int]*process{}, buf: make([]byte, 4096)}
}

// read reads the processes once.
func (t *table) read() error {
	pids, err := t.list()
	if err != nil {
		return err
	}
	t.round++
	t.gone = t.gone[:0]
	for _, pid := range pids {
		t.update(pid)
	}
	for pid, p := range t.all {
		switch {
		case p.seen != t.round:
			t.drop(p)
			delete(t.all, pid)
		case t.shared && len(p.budgets) > 0 && (p.born == t.round || t.due(p)):
			_, p.shared = t.memory(pid) // what is shared changes slowly
		}
	}
	return nil
}

// list returns the numbers of all processes.
func (t *table) list() ([]int, error) {
	dir, err := os.Open(t.proc)
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// update brings one process up to date.
func (t *table) update(pid int) {
	p := t.all[pid]
	if p == nil {
		if p = t.inspect(pid); p == nil {
			return // it ended in between
		}
		p.born = t.round
		if t.round > 1 { // all it has used, it used since the last round
			p.usedCPU, p.usedWaited = p.cpu, p.waited
		}
		t.all[pid] = p
		return
	}
	if len(p.budgets) == 0 && !t.due(p) || p.idle >= settled && (t.round+uint64(pid))%2 == 0 {
		p.seen = t.round
		p.usedCPU, p.usedWaited = 0, 0
		return
	}
	before := *p
	if !t.refresh(p) || p.Start != before.Start {
		t.drop(&before)
		delete(t.all, pid)
		t.update(pid)
		return
	}
	p.usedCPU, p.usedWaited = 0, 0
	if len(before.budgets) > 0 { // else it was not read in the last round
		p.usedCPU, p.usedWaited = p.cpu-before.cpu, p.waited-before.waited
	}
	p.idle++
	if p.usedCPU > 0 {
		p.idle = 0
	}
	p.seen = t.round
	if p.comm != before.comm || t.due(p) {
		t.identify(p)
	}
}

// due says whether what the process is should be found out again.
func (t *table) due(p *process) bool {
	return !p.kernel && (t.round-p.born <= young || (t.round+uint64(p.PID))%recheck == 0)
}

// drop forgets a process.
func (t *table) drop(p *process) {
	if p.stat != 0 {
		_ = unix.Close(p.stat)
		t.open--
	}
	p.stat = 0
	if len(p.budgets) > 0 {
		t.gone = append(t.gone, p)
	}
}

// inspect reads a process anew; nil when it is not there.
func (t *table) inspect(pid int) *process {
	p := &process{identity: identity{PID: pid}, seen: t.round}
	if !t.refresh(p) {
		return nil
	}
	t.identify(p)
	return p
}

// refresh reads what changes.
func (t *table) refresh(p *process) bool {
	if p.stat == 0 && len(p.budgets) > 0 && t.open < maxOpen {
		if fd, err := unix.Open(t.path(p.PID, "stat"), unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			p.stat = fd
			t.open++
		}
	}
	if p.stat == 0 {
		return p.parseStat(t.slurp(p.PID, "stat"), t.page) == nil
	}
	n, err := unix.Pread(p.stat, t.buf, 0)
	return err == nil && p.parseStat(t.buf[:n], t.page) == nil
}

// identify finds out what the process is, and which budgets match.
func (t *table) identify(p *process) {
	if p.kernel {
		return
	}
	exe, _ := os.Readlink(t.path(p.PID, "exe")) // none: it ends, or this user may not know
	p.exe = strings.TrimSuffix(exe, " (deleted)")
	p.uid = -1
	if t.users {
		p.uid = parseUID(t.slurp(p.PID, "status"))
	}
	p.budgets = t.match(p)
}

// memory reads what a process has in memory, and how much of it may be shared, in bytes.
func (t *table) memory(pid int) (resident, shared int64) {
	r, s := parseStatm(t.slurp(pid, "statm"))
	return r * t.page, s * t.page
}

// slurp reads the beginning of a file of a process; it holds until the next read.
func (t *table) slurp(pid int, name string) []byte {
	fd, err := unix.Open(t.path(pid, name), unix.O_RDONLY|unix.O_CLOEXEC, 0) // not os.Open, which would ask the poller for each
	if err != nil {
		return nil
	}
	n, _ := unix.Read(fd, t.buf)
	_ = unix.Close(fd)
	return t.buf[:max(0, n)]
}

func (t *table) path(pid int, name string) string {
	return t.proc + "/" + strconv.Itoa(pid) + "/" + name
}

// scan returns the live processes that a budget matches now, apart from the rounds: those that are
// known not to match are not read again.
func (t *table) scan(budget int) ([]*process, error) {
	pids, err := t.list()
	if err != nil {
		return nil, err
	}
	var found []*process
	for _, pid := range pids {
		if known := t.all[pid]; known != nil && !matched(known, budget) && t.round-known.born > young {
			continue
		}
		if p := t.inspect(pid); p != nil && p.live() && matched(p, budget) {
			found = append(found, p)
		}
	}
	return found, nil
}

func matched(p *process, budget int) bool {
	return slices.Contains(p.budgets, budget)
}
