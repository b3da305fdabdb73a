package abuse

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/shivx/shivx"
)

// period is that of cpu.max, in microseconds.
const period = 100000

// limit sets the cgroup's own limits to its budget. What they were is written down first.
func (w *Watch) limit(b beyond, entry Contained) (deed, error) {
	d := deed{action: shivx.ActionLimited, undo: true}
	entry.Action = shivx.ActionLimited
	wanted, known := limitsOf(w.budgets[b.budget].limits), w.kept.of(entry).Limits
	for i := range wanted {
		old, err := w.tree.value(b.cgroup, wanted[i].File)
		if err != nil {
			d.note(fmt.Errorf("read %s of the cgroup %s: %w", wanted[i].File, b.cgroup, err))
			continue
		}
		entry.Limits = append(entry.Limits, settle(wanted[i], old, known))
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

// settle says what a control file that reads now is set to, and what it is put back to. What allows less
// already stays. What was set before, as far as a crash or a new cgroup of the same name has left it, is put
// back to what it was then.
func settle(s setting, now string, known []setting) setting {
	s.Old = now
	for _, k := range known {
		if k.File == s.File && k.New == now {
			s.Old = k.Old
		}
	}
	if allowed(now) < allowed(s.New) {
		s.New = now
	}
	return s
}

// allowed is how much a limit allows: a number, or one for each period, or "max".
func allowed(value string) float64 {
	quota, period, each := strings.Cut(value, " ")
	n, err := strconv.ParseFloat(quota, 64)
	if err != nil {
		return math.Inf(1)
	}
	if p, err := strconv.ParseFloat(period, 64); each && err == nil {
		return n / p
	}
	return n
}

// isLimited says whether what keeps the cgroup from a breach is set, and still so: a cgroup that was made
// anew has no limits, and others may have changed them.
func (w *Watch) isLimited(b beyond) bool {
	file := controlFile(b.kind)
	now, err := w.tree.value(b.cgroup, file)
	return err == nil && slices.ContainsFunc(w.kept.list, func(c Contained) bool {
		return c.Action == shivx.ActionLimited && c.Cgroup == b.cgroup &&
			slices.ContainsFunc(c.Limits, func(s setting) bool { return s.File == file && s.New == now })
	})
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
