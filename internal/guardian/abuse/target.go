package abuse

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// target is what one budget is judged by: a process, all processes of a program, an account, or a cgroup.
type target struct {
	budget int
	source string
	// process is the one process that is meant; the zero identity: all that the budget matches.
	process identity
	// cgroup is the path of a cgroup; "": none.
	cgroup string
	meter  meter
	// spent is the CPU time of an account so far, count the processes of the last reading.
	spent time.Duration
	// left is the time of processes that ended in this round and in the two before, and that no
	// parent was given yet.
	left  [3]time.Duration
	count int
	round uint64
}

// beyond is a target with its breach.
type beyond struct {
	*target
	*breach
}

// rediscover is how often cgroups are looked for anew.
const rediscover = 5 * time.Second

// measure gives each meter its reading and returns the breaches, bombs first.
func (w *Watch) measure(now time.Time) []beyond {
	r := reading{at: now, available: w.available()}
	groups := w.groups()
	var found []beyond
	judge := func(t *target, r reading) {
		if b := t.meter.add(r); b != nil {
			found = append(found, beyond{t, b})
		}
	}
	for i, b := range w.budgets {
		switch {
		case b.trouble != "":
		case b.Process != "":
			w.measureProgram(i, groups[i], r, judge)
		case b.User != "":
			w.measureAccount(i, groups[i], r, judge)
		default:
			w.measureCgroups(i, r, judge)
		}
	}
	for key, t := range w.targets {
		if t.round != w.table.round {
			delete(w.targets, key)
		}
	}
	slices.SortStableFunc(found, func(a, b beyond) int {
		return cmp.Or(cmp.Compare(boolInt(b.bomb), boolInt(a.bomb)), cmp.Compare(a.budget, b.budget), cmp.Compare(a.source, b.source))
	})
	return found
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// group is the processes that a budget matches, oldest first, without those that are stopped by us.
type group struct {
	members []*process
	// gone is the CPU time of those that ended since the last round.
	gone time.Duration
}

func (w *Watch) groups() []group {
	groups := make([]group, len(w.budgets))
	for _, p := range w.table.all {
		if len(p.budgets) == 0 || !p.live() || p.stopped() && w.kept.holds(p.identity) {
			continue
		}
		for _, i := range p.budgets {
			groups[i].members = append(groups[i].members, p)
		}
	}
	for _, p := range w.table.gone {
		for _, i := range p.budgets {
			groups[i].gone += p.cpu + p.waited
		}
	}
	for _, g := range groups {
		slices.SortFunc(g.members, func(a, b *process) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.PID, b.PID)) })
	}
	return groups
}

// target returns the target with this key, or makes it.
func (w *Watch) target(key string, budget int, limits limits) *target {
	t := w.targets[key]
	if t == nil {
		t = &target{budget: budget, meter: meter{limits: limits}}
		w.targets[key] = t
	}
	t.round = w.table.round
	return t
}

func (w *Watch) measureProgram(i int, g group, r reading, judge func(*target, reading)) {
	b := w.budgets[i]
	if b.cpu > 0 || b.memory > 0 {
		each := b.limits
		each.processes = 0
		for _, p := range g.members {
			t := w.target(fmt.Sprintf("%d/%d/%d", i, p.PID, p.Start), i, each)
			t.process, t.source = p.identity, "process:"+p.label()
			r.cpu, r.memory = p.cpu, p.resident
			judge(t, r)
		}
	}
	if b.processes > 0 && len(g.members) > 0 {
		t := w.target(fmt.Sprintf("%d/all", i), i, limits{processes: b.processes, span: b.span})
		t.source = "process:" + g.members[0].label() // the oldest: what has started the others
		judge(t, reading{at: r.at, processes: len(g.members), born: w.born(g)})
	}
}

func (w *Watch) measureAccount(i int, g group, r reading, judge func(*target, reading)) {
	b := w.budgets[i]
	t := w.target(fmt.Sprintf("%d/user", i), i, b.limits)
	t.source = "user:" + b.User
	var own, waited time.Duration
	var shared int64
	for _, p := range g.members {
		own += p.usedCPU
		waited += p.usedWaited
		s := min(p.shared, p.resident)
		r.memory += p.resident - s
		shared = max(shared, s)
	}
	t.spent += own + t.heirs(waited, g.gone)
	r.cpu, r.memory = t.spent, r.memory+shared // shared memory is counted once, where it is largest
	r.processes, r.born = len(g.members), w.born(g)
	judge(t, r)
}

// heirs returns what processes got from children they waited for, without what was counted while those
// children lived: their time at the last round before they were gone. The parent may show it two
// rounds after.
func (t *target) heirs(waited, gone time.Duration) time.Duration {
	t.left[0] += gone
	for i := len(t.left) - 1; i >= 0; i-- {
		known := min(waited, t.left[i])
		waited -= known
		t.left[i] -= known
	}
	t.left = [3]time.Duration{0, t.left[0], t.left[1]}
	return waited
}

// born counts the processes that the last round did not have.
func (w *Watch) born(g group) int {
	n := 0
	for _, p := range g.members {
		if p.born == w.table.round && w.table.round > 1 {
			n++
		}
	}
	return n
}

func (w *Watch) measureCgroups(i int, r reading, judge func(*target, reading)) {
	b := w.budgets[i]
	if b.looked.IsZero() || r.at.Sub(b.looked) >= rediscover {
		b.looked = r.at
		found, err := w.tree.find(b.Cgroup)
		b.cgroups, b.failing = found, ""
		if err != nil {
			b.failing = err.Error()
		}
	}
	for _, path := range b.cgroups {
		if w.kept.frozen(path) && w.isFrozen(path) {
			continue
		}
		now, err := w.readCgroup(path, b.limits)
		if err != nil {
			continue // it was removed in between
		}
		t := w.target(fmt.Sprintf("%d/cgroup/%s", i, path), i, b.limits)
		t.cgroup, t.source = path, "cgroup:"+path
		r.cpu, r.memory, r.processes = now.cpu, now.memory, now.processes
		r.born = 0
		if len(t.meter.recent) > 0 {
			r.born = max(0, now.processes-t.count)
		}
		t.count = now.processes
		judge(t, r)
	}
}

// readCgroup reads what a cgroup uses, and counts by its processes what no controller counts.
func (w *Watch) readCgroup(path string, l limits) (usage, error) {
	u, err := w.tree.read(path, l)
	if err != nil || u.processes >= 0 && (u.memory >= 0 || l.memory == 0) || l.processes == 0 && l.memory == 0 {
		return u, err
	}
	pids, err := w.tree.members(path)
	if err != nil {
		return u, err
	}
	if u.processes < 0 {
		u.processes = len(pids)
	}
	if u.memory >= 0 || l.memory == 0 {
		return u, nil
	}
	u.memory = 0
	var largest int64
	for _, pid := range pids {
		resident, shared := w.table.memory(pid)
		u.memory += max(0, resident-shared)
		largest = max(largest, shared)
	}
	u.memory += largest
	return u, nil
}

// available is the memory that the machine has left, in bytes; 0 when no budget needs to know.
func (w *Watch) available() int64 {
	if !slices.ContainsFunc(w.budgets, func(b *budget) bool { return b.memory > 0 }) {
		return 0
	}
	info, err := os.ReadFile(filepath.Join(w.o.Root, "proc/meminfo"))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(info, []byte("MemAvailable:"))
	return int64(number(bytes.TrimLeft(rest, " "))) * 1024
}
