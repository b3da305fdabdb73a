package abuse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// ErrNotContained says that nothing is stopped or limited under this source.
var ErrNotContained = errors.New("it is neither frozen nor limited")

// Release lets a source go: what was stopped goes on, and limits are put back. The source is that of
// the finding; of a process its number is enough ("process:123"). Its budget is judged from the
// beginning. Errors: ErrNotContained, and what could not be undone, which stays on the list.
func (w *Watch) Release(ctx context.Context, source string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("release %s: %w", source, err)
	}
	var errs []error
	found := false
	for _, c := range slices.Clone(w.kept.list) {
		if c.Source != source && !strings.HasPrefix(c.Source, source+"(") {
			continue
		}
		found = true
		if err := w.undo(c); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, w.kept.remove(c))
		w.begin(c)
		w.log.Info("released", "source", c.Source, "budget", c.Budget, "was", c.Action)
	}
	w.publish(w.o.Now(), 0)
	if !found {
		return shivx.Hint(fmt.Errorf("release %s: %w", source, ErrNotContained), "name one of these: "+w.kept.sources())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("release %s: %w", source, err)
	}
	return nil
}

func (w *Watch) undo(c Contained) error {
	switch {
	case c.Action == shivx.ActionLimited:
		return w.unlimit(c)
	case c.Cgroup != "":
		if !w.tree.has(c.Cgroup, "cgroup.procs") {
			return nil // the cgroup is gone
		}
		return w.tree.write(c.Cgroup, "cgroup.freeze", "0")
	}
	var errs []error
	for _, id := range c.Processes {
		if err := w.hands.signal(id, unix.SIGCONT); err != nil && !errors.Is(err, errGone) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// begin lets the meters of what was released begin anew.
func (w *Watch) begin(c Contained) {
	w.restraint.clear(c.Budget, c.Source)
	for key, t := range w.targets {
		if w.budgets[t.budget].Name == c.Budget && t.source == c.Source {
			delete(w.targets, key)
		}
	}
}

func (k *kept) sources() string {
	if len(k.list) == 0 {
		return "(nothing is frozen or limited)"
	}
	var sources []string
	for _, c := range k.list {
		sources = append(sources, c.Source)
	}
	return strings.Join(sources, ", ")
}

// adopt completes what a crash has interrupted: processes that were being stopped belong to the list.
func (w *Watch) adopt() error {
	var errs []error
	for _, c := range slices.Clone(w.kept.list) {
		i := slices.IndexFunc(w.budgets, func(b *budget) bool { return b.Name == c.Budget })
		if !c.Begun || i < 0 {
			continue
		}
		var stopped []identity
		for _, p := range w.table.all {
			if p.stopped() && matched(p, i) {
				stopped = append(stopped, p.identity)
			}
		}
		c.Begun = false
		errs = append(errs, w.kept.put(w.merged(c, stopped)))
	}
	return errors.Join(errs...)
}

// prune takes off the list what has ended.
func (w *Watch) prune() error {
	var errs []error
	for _, c := range slices.Clone(w.kept.list) {
		gone := c.Cgroup != "" && !w.tree.has(c.Cgroup, "cgroup.procs")
		if c.Cgroup == "" {
			gone = !slices.ContainsFunc(c.Processes, func(id identity) bool {
				p := w.table.all[id.PID]
				return p != nil && p.Start == id.Start
			})
		}
		if gone {
			w.log.Info("what was contained has ended", "source", c.Source, "budget", c.Budget, "since", c.Since.Format(time.RFC3339))
			errs = append(errs, w.kept.remove(c))
		}
	}
	return errors.Join(errs...)
}
