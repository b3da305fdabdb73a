package abuse

import (
	"cmp"
	"slices"
	"time"

	"github.com/shivx/shivx"
)

// Status is how the watch stands.
type Status struct {
	// Read is when the budgets were read last; Took how long that took, with what was done about it.
	Read    time.Time      `json:"read,omitzero"`
	Took    shivx.Duration `json:"took"`
	Budgets []BudgetStatus `json:"budgets"`
	// Contained is what is stopped or limited until it is let go.
	Contained []Contained `json:"contained,omitempty"`
	// Error is why the processes cannot be read; "" when they can.
	Error string `json:"error,omitempty"`
}

// BudgetStatus is how one budget stands: the highest figures of what it matches.
type BudgetStatus struct {
	Name string `json:"name"`
	// Of is what the budget matches: "process PATTERN", "user NAME" or "cgroup PATTERN".
	Of     string `json:"of"`
	Action string `json:"action"`
	// Targets is how many processes, accounts or cgroups are judged.
	Targets int `json:"targets"`
	// CPU is in percent of one core, Memory in megabytes.
	CPU       int `json:"cpu"`
	Memory    int `json:"memory_mb"`
	Processes int `json:"processes"`
	// Beyond is for how long the budget has been exceeded.
	Beyond shivx.Duration `json:"beyond,omitempty"`
	// Actions is how often it was enforced within the last hour.
	Actions int `json:"actions_within_hour,omitempty"`
	// Error is why it cannot be watched here; "" when it can.
	Error string `json:"error,omitempty"`
}

// Status returns how the watch stands after its last round. It does not wait for the one that runs.
func (w *Watch) Status() Status { return *w.status.Load() }

// publish makes the status of a round visible; mu is held.
func (w *Watch) publish(now time.Time, took time.Duration) {
	s := &Status{Read: now, Took: shivx.Duration(took), Contained: slices.Clone(w.kept.list), Error: w.failing, Budgets: make([]BudgetStatus, len(w.budgets))}
	for i, b := range w.budgets {
		of := "process " + b.Process
		switch {
		case b.User != "":
			of = "user " + b.User
		case b.Cgroup != "":
			of = "cgroup " + b.Cgroup
		}
		s.Budgets[i] = BudgetStatus{Name: b.Name, Of: of, Action: b.Action, Actions: w.restraint.actions(b.Name, now), Error: cmp.Or(b.trouble, b.failing)}
	}
	for _, t := range w.targets {
		b := &s.Budgets[t.budget]
		b.Targets++
		if n := len(t.meter.recent); n > 0 {
			b.Memory = max(b.Memory, int(t.meter.recent[n-1].memory/megabyte))
			b.Processes = max(b.Processes, t.meter.recent[n-1].processes)
		}
		b.CPU = max(b.CPU, int(t.meter.percent))
		b.Beyond = max(b.Beyond, shivx.Duration(t.meter.beyond()))
	}
	w.status.Store(s)
}
