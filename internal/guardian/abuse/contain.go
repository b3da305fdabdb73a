package abuse

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// patience is how long a target may take to stop or to end, on the machine's own clock.
const patience = 5 * time.Second

// contain does to a target what its budget says.
func (w *Watch) contain(b beyond, now time.Time) (deed, error) {
	budget := w.budgets[b.budget]
	entry := Contained{
		Source: b.source, Budget: budget.Name, Since: now, Cgroup: b.cgroup,
		Reason: fmt.Sprintf("%s; the budget allows %s", b.used, b.allowed),
	}
	if err := w.refuse(b.target); err != nil {
		return deed{action: shivx.ActionFailed}, err
	}
	switch {
	case budget.Action == "kill":
		return w.kill(b.target)
	case budget.Action == "freeze":
		return w.freeze(b.target, entry)
	case b.cgroup == "":
		d, err := w.freeze(b.target, entry)
		d.notes = append(d.notes, "only a cgroup can be limited: it was frozen instead")
		return d, err
	}
	d, err := w.limit(b, entry)
	if err == nil {
		return d, nil
	}
	d, freezeErr := w.freeze(b.target, entry)
	d.notes = append(d.notes, "it was frozen, for it could not be limited: "+words(err))
	return d, freezeErr
}

// refuse returns an error for what must go on.
func (w *Watch) refuse(t *target) error {
	spared, err := w.hands.spared()
	if err != nil {
		return err
	}
	pids := []int{t.process.PID}
	switch {
	case t.cgroup != "":
		if pids, err = w.tree.members(t.cgroup); err != nil {
			return err
		}
	case t.process.PID == 0:
		return nil // those to be spared are left out one by one
	}
	for _, pid := range pids {
		if spared[pid] {
			return shivx.Hint(fmt.Errorf("the process %d is the agent itself, or what it was started by", pid), "give the agent a cgroup of its own, or narrow the budget")
		}
	}
	return nil
}

// freeze stops a target until it is let go. It is written down first, so that it can be let go after a
// crash too.
func (w *Watch) freeze(t *target, entry Contained) (deed, error) {
	d := deed{action: shivx.ActionFrozen, undo: true}
	entry.Action = shivx.ActionFrozen
	switch {
	case t.cgroup != "":
		d.note(w.kept.put(entry))
		if err := w.tree.write(t.cgroup, "cgroup.freeze", "1"); err != nil {
			return deed{action: shivx.ActionFailed}, errors.Join(err, w.kept.remove(entry))
		}
		d.note(w.awaitFrozen(t.cgroup))
		return d, nil
	case t.process.PID != 0:
		entry.Processes = []identity{t.process}
		d.note(w.kept.put(entry))
		if err := w.hands.signal(t.process, unix.SIGSTOP); err != nil {
			return deed{action: shivx.ActionFailed}, errors.Join(err, w.kept.remove(entry))
		}
		return d, nil
	}
	entry.Begun = true
	d.note(w.kept.put(w.merged(entry, nil)))
	stopped, err := w.stopAll(t)
	entry.Begun = false
	entry = w.merged(entry, stopped)
	if len(entry.Processes) == 0 {
		return deed{action: shivx.ActionFailed}, errors.Join(err, errors.New("nothing was left to stop"), w.kept.remove(entry))
	}
	d.note(w.kept.put(entry))
	return d, err
}

// merged adds processes to what is kept of the same source already.
func (w *Watch) merged(entry Contained, more []identity) Contained {
	old := w.kept.of(entry).Processes
	entry.Processes = slices.Concat(old, slices.DeleteFunc(more, func(id identity) bool { return slices.Contains(old, id) }))
	return entry
}

func (d *deed) note(err error) {
	if err != nil {
		d.notes = append(d.notes, words(err))
	}
}

// words is an error with its hint.
func words(err error) string {
	if hint := shivx.HintOf(err); hint != "" {
		return err.Error() + " (" + hint + ")"
	}
	return err.Error()
}

// stopAll stops all processes of a target, over and over until no new one is found: the children that
// were forked before their parents were stopped are found by the next look.
func (w *Watch) stopAll(t *target) ([]identity, error) {
	spared, err := w.hands.spared()
	if err != nil {
		return nil, err
	}
	var stopped []identity
	seen := map[identity]bool{}
	var failed error
	for end := time.Now().Add(patience); ; {
		procs, err := w.table.scan(t.budget)
		if err != nil {
			return stopped, err
		}
		fresh := 0
		for _, p := range procs {
			if seen[p.identity] || spared[p.PID] || p.stopped() {
				continue
			}
			seen[p.identity] = true
			fresh++
			err := w.hands.signal(p.identity, unix.SIGSTOP)
			switch {
			case err == nil:
				stopped = append(stopped, p.identity)
			case !errors.Is(err, errGone):
				failed = err
			}
		}
		switch {
		case fresh == 0:
			return stopped, failed
		case time.Now().After(end):
			return stopped, errors.Join(failed, fmt.Errorf("new processes still appear after %s", patience))
		}
	}
}

// awaitFrozen waits until all of a cgroup stands still. A process in a call of the kernel that cannot
// be interrupted stops when the call is over.
func (w *Watch) awaitFrozen(path string) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		events, err := os.ReadFile(w.tree.file(path, "cgroup.events"))
		if err != nil {
			return fmt.Errorf("see whether the cgroup %s is frozen: %w", path, err)
		}
		if n, _ := keyed(events, "frozen"); n == 1 {
			return nil
		}
	}
	return fmt.Errorf("not all of the cgroup %s stands still yet", path)
}

// isFrozen says whether a cgroup is frozen.
func (w *Watch) isFrozen(path string) bool {
	v, err := w.tree.value(path, "cgroup.freeze")
	return err == nil && v == "1"
}
