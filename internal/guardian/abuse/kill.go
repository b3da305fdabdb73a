package abuse

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// kill ends a target and waits until it has ended.
func (w *Watch) kill(t *target) (deed, error) {
	d := deed{action: shivx.ActionKilled}
	switch {
	case t.cgroup != "":
		return d, w.killCgroup(t.cgroup)
	case t.process.PID != 0:
		if err := w.hands.signal(t.process, unix.SIGKILL); err != nil && !errors.Is(err, errGone) {
			return d, err
		}
		return d, await(fmt.Sprintf("the process %d", t.process.PID), func() (bool, error) {
			p := w.table.inspect(t.process.PID)
			return p == nil || p.Start != t.process.Start || !p.live(), nil
		})
	}
	// A bomb goes on forking while it is being ended one by one: everything is stopped first.
	_, err := w.stopAll(t)
	d.note(err)
	return d, w.killAll(t)
}

// killAll ends all processes of a target, over and over until none is left.
func (w *Watch) killAll(t *target) error {
	spared, err := w.hands.spared()
	if err != nil {
		return err
	}
	return await("its processes", func() (bool, error) {
		procs, err := w.table.scan(t.budget)
		if err != nil {
			return false, err
		}
		left := 0
		for _, p := range procs {
			if spared[p.PID] {
				continue
			}
			left++
			if err := w.hands.signal(p.identity, unix.SIGKILL); err != nil && !errors.Is(err, errGone) {
				return false, err
			}
		}
		return left == 0, nil
	})
}

// killCgroup ends a cgroup's processes and those of the cgroups below it. A kernel before 5.14 cannot
// end them at once: there they are frozen, ended one by one, and let die.
func (w *Watch) killCgroup(path string) error {
	if !w.tree.has(path, "cgroup.kill") {
		return w.killFrozen(path)
	}
	if err := w.tree.write(path, "cgroup.kill", "1"); err != nil {
		return err
	}
	return w.awaitEmpty(path)
}

func (w *Watch) killFrozen(path string) error {
	if err := w.tree.write(path, "cgroup.freeze", "1"); err != nil {
		return err
	}
	pids, err := w.tree.members(path)
	for _, pid := range pids {
		if p := w.table.inspect(pid); p != nil {
			if e := w.hands.signal(p.identity, unix.SIGKILL); !errors.Is(e, errGone) {
				err = errors.Join(err, e)
			}
		}
	}
	if err := errors.Join(err, w.tree.write(path, "cgroup.freeze", "0")); err != nil {
		return err
	}
	return w.awaitEmpty(path)
}

func (w *Watch) awaitEmpty(path string) error {
	return await("the cgroup's processes", func() (bool, error) {
		pids, err := w.tree.members(path)
		for _, pid := range pids {
			if p := w.table.inspect(pid); p != nil && p.live() {
				return false, err
			}
		}
		return true, nil // a cgroup that is gone has no processes
	})
}

// await waits until done, for as long as patience has it.
func await(what string, done func() (bool, error)) error {
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().After(end) {
			return shivx.Hint(fmt.Errorf("%s: not ended %s after SIGKILL", what, patience), "they may wait for a disk or a network drive: look at their state in ps")
		}
	}
}
