// Package abuse finds processes, accounts and cgroups that use more than their declared budget, and
// contains them: it stops, limits or ends them, as the budget says.
//
// Each round reads what everything that a budget matches uses (table.go, cgroup.go), gives one reading
// to the meter of each target (meter.go, which has no clock), and acts on what is beyond its budget
// (contain.go). A process is known by its number and its start; a signal goes through a pidfd, so that
// it never reaches another process that was given the number since. What is stopped or limited is kept
// in a file until it is let go.
//
// What is judged of a budget by program path: CPU and memory of each process by itself, and the number
// of all that match. Of an account: the sums of its processes. Of a cgroup: its own figures, with those
// of the cgroups below it.
package abuse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// Options of New.
type Options struct {
	// Root is where the host's file system is seen; "" stands for "/". Processes below another root
	// are signalled only if they have the same numbers here.
	Root    string
	Budgets []config.Budget
	// Every is the time between two rounds; 0: a second. While something grows fast, rounds are four
	// times as many.
	Every time.Duration
	// Dir is where what is stopped or limited is kept, over restarts; "": it is not.
	Dir string
	// Host stands in the IDs of threats.
	Host string
	// Report takes each finding, after what was done about it. It may call Status and Release.
	Report func(ctx context.Context, f Finding)
	Logger *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Finding is a use beyond a budget, and what was done about it.
type Finding struct {
	shivx.Threat
	// Budget is the budget's name.
	Budget string `json:"budget"`
	// Action is what was done; recorded: nothing.
	Action shivx.Action `json:"action"`
	// Err is why that failed, or is not all that the budget asks for; "" when it is.
	Err string `json:"error,omitempty"`
	// Undo is the source to give to Release; "" when there is nothing to take back.
	Undo string `json:"undo,omitempty"`
}

// Watch watches budgets.
type Watch struct {
	o       Options
	log     *slog.Logger
	budgets []*budget
	tree    hierarchy
	hands   hands
	status  atomic.Pointer[Status]

	// mu is held over a round without its reports, and over a release.
	mu        sync.Mutex
	table     *table
	targets   map[string]*target
	kept      *kept
	restraint *restraint
	failing   string
}

// New prepares the watch. An error says that the list of what is stopped could not be read. A budget
// that cannot be watched here is an error of its status, not of New.
func New(o Options) (*Watch, error) {
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Every <= 0 {
		o.Every = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	kept, err := openKept(o.Dir, o.Root, o.Logger)
	if err != nil {
		return nil, err
	}
	w := &Watch{
		o: o, log: o.Logger, table: newTable(o.Root), targets: map[string]*target{}, kept: kept, restraint: newRestraint(),
		hands: pidfds{},
	}
	tree, treeErr := openHierarchy(o.Root)
	w.tree = tree
	for i := range o.Budgets {
		w.budgets = append(w.budgets, newBudget(o.Budgets[i], treeErr))
	}
	w.table.match = w.match
	for _, b := range w.budgets {
		w.table.users = w.table.users || b.User != ""
		w.table.shared = w.table.shared || b.User != "" && b.memory > 0
		if b.trouble != "" {
			w.log.Error("a budget is not watched", "budget", b.Name, "error", b.trouble)
		}
	}
	w.publish(time.Time{}, 0)
	return w, nil
}

// Run watches until ctx ends; it returns nil then. What is stopped or limited stays so.
func (w *Watch) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			w.close()
			return nil
		case <-timer.C:
		}
		pause := w.o.Every
		if w.round(ctx) {
			pause /= 4
		}
		timer.Reset(pause)
	}
}

// round reads, judges, acts and reports once. It says whether the next round should come soon.
func (w *Watch) round(ctx context.Context) (tense bool) {
	began := time.Now()
	w.mu.Lock()
	findings, tense, err := w.look(w.o.Now())
	w.complain(err)
	w.publish(w.o.Now(), time.Since(began))
	w.mu.Unlock()
	for _, f := range findings {
		w.log.Warn("a budget is exceeded", "budget", f.Budget, "source", f.Source, "action", f.Action, "reason", f.Reason, "error", f.Err)
		if w.o.Report != nil {
			w.o.Report(ctx, f)
		}
	}
	return tense
}

// complain logs a trouble of reading once, until it is another.
func (w *Watch) complain(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != w.failing && text != "" {
		w.log.Error("trouble with the budgets", "error", text)
	}
	w.failing = text
}

func (w *Watch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.table.all {
		w.table.drop(p)
	}
	w.table.all = map[int]*process{}
}

// look reads and judges everything once, and acts.
func (w *Watch) look(now time.Time) (findings []Finding, tense bool, err error) {
	if err := w.table.read(); err != nil {
		return nil, false, shivx.Hint(err, "is "+filepath.Join(w.o.Root, "proc")+" the host's?")
	}
	if w.table.round == 1 {
		err = w.adopt()
	}
	breaches := w.measure(now)
	for _, b := range breaches {
		if f, ok := w.respond(b, now); ok {
			findings = append(findings, f)
		}
	}
	for _, t := range w.targets {
		tense = tense || t.meter.tense()
	}
	if w.table.round%prune == 0 {
		err = errors.Join(err, w.prune())
	}
	return findings, tense, err
}

// prune is after how many rounds what has ended is taken off the list.
const prune = 10

// threatID is the same when the same reading is judged again.
func threatID(host string, t shivx.ThreatType, budget, source string, at time.Time) string {
	return fmt.Sprintf("threat/%s/%s/%s/%s/%d", host, t, budget, source, at.UnixNano())
}
