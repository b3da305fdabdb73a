package abuse

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/shivx/shivx"
)

// period is that of cpu.max, in microseconds.
const period = 100000

// limit sets the cgroup's own limits to its budget. What they were is written down first.
func (w *Watch) limit(b beyond, entry Contained) (deed, error) {
	d := deed{action: shivx.ActionLimited, undo: true}
	entry.Action = shivx.ActionLimited
	wanted := limitsOf(w.budgets[b.budget].limits)
	for i := range wanted {
		old, err := w.tree.value(b.cgroup, wanted[i].File)
		if err != nil {
			d.note(fmt.Errorf("read %s of the cgroup %s: %w", wanted[i].File, b.cgroup, err))
			continue
		}
		wanted[i].Old = old
		entry.Limits = append(entry.Limits, wanted[i])
	}
	d.note(w.kept.put(entry))
	set := entry.Limits[:0:0]
	for _, s := range entry.Limits {
		if err := w.tree.write(b.cgroup, s.File, s.New); err != nil {
			d.note(err)
			continue
		}
		if now, err := w.tree.value(b.cgroup, s.File); err == nil {
			s.New = now // as the kernel rounds it
		}
		set = append(set, s)
	}
	entry.Limits = set
	if !entry.limits(controlFile(b.kind)) {
		err := shivx.Hint(fmt.Errorf("the cgroup %s has no %s", b.cgroup, controlFile(b.kind)), "let the cgroup above it have the controller: write +cpu +memory +pids to its cgroup.subtree_control")
		return d, errors.Join(err, w.unlimit(entry), w.kept.remove(entry))
	}
	d.note(w.kept.put(entry))
	return d, nil
}

// controlFile is what keeps a cgroup from doing the same again.
func controlFile(t shivx.ThreatType) string {
	switch t {
	case shivx.ThreatMemory:
		return "memory.high"
	case shivx.ThreatFork:
		return "pids.max"
	default:
		return "cpu.max"
	}
}

// limitsOf returns a budget in the words of the kernel.
func limitsOf(l limits) []setting {
	var all []setting
	if l.cpu > 0 {
		all = append(all, setting{File: "cpu.max", New: fmt.Sprintf("%d %d", l.cpu*period/100, period)})
	}
	if l.memory > 0 {
		all = append(all, setting{File: "memory.high", New: strconv.FormatInt(l.memory, 10)})
	}
	if l.processes > 0 {
		all = append(all, setting{File: "pids.max", New: strconv.Itoa(l.processes)})
	}
	return all
}

func (c Contained) limits(file string) bool {
	for _, s := range c.Limits {
		if s.File == file {
			return true
		}
	}
	return false
}

// unlimit puts a cgroup's limits back. One that somebody has changed since is left as it is.
func (w *Watch) unlimit(c Contained) error {
	var errs []error
	for _, s := range c.Limits {
		now, err := w.tree.value(c.Cgroup, s.File)
		switch {
		case err != nil && !w.tree.has(c.Cgroup, "cgroup.procs"):
			return nil // the cgroup is gone, and its limits with it
		case err != nil:
			errs = append(errs, fmt.Errorf("put %s of the cgroup %s back: %w", s.File, c.Cgroup, err))
		case now != s.New:
			w.log.Warn("a limit was changed by somebody else: it is left as it is", "cgroup", c.Cgroup, "file", s.File, "value", now, "before", s.Old)
		default:
			if err := w.tree.write(c.Cgroup, s.File, s.Old); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
