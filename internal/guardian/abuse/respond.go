package abuse

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/shivx/shivx"
)

// deed is what was done about a target.
type deed struct {
	action shivx.Action
	// undo says that Release can take it back.
	undo bool
	// notes are what is to be said beside it.
	notes []string
}

// respond does what the budget says. It returns false when there is nothing to tell.
func (w *Watch) respond(b beyond, now time.Time) (Finding, bool) {
	budget := w.budgets[b.budget]
	f := Finding{Threat: w.threat(b, now), Budget: budget.Name, Action: shivx.ActionNone}
	if w.restraint.resting(budget.Name, b.source, now) {
		return f, false
	}
	if why := w.onlyTell(b, now); why != nil {
		source := b.source
		if errors.Is(why, errTooOften) {
			source = "" // what comes back has another number each time
		}
		nth, withheld, ok := w.restraint.tell(budget.Name, source, now)
		f.Evidence["told"], f.Evidence["not_told"] = nth, withheld
		if !errors.Is(why, errAlert) {
			f.Err = why.Error()
		}
		return f, ok
	}
	told := true
	d, err := w.contain(b, now)
	f.Action = d.action
	if err != nil {
		f.Action = shivx.ActionFailed
		w.restraint.fail(budget.Name, b.source, now)
		d.note(err)
		_, _, told = w.restraint.tell(budget.Name, b.source, now)
	} else {
		n := w.restraint.act(budget.Name, b.bomb, now)
		f.Evidence["actions_within_hour"] = n
		if n > maxActions {
			f.Evidence["told"], f.Evidence["not_told"], told = w.restraint.tell(budget.Name, b.source, now)
		}
	}
	f.Err = strings.Join(d.notes, "; ")
	if d.undo {
		f.Undo = b.source
	}
	return f, told
}

var (
	errAlert    = errors.New("the budget only alerts")
	errTooOften = fmt.Errorf("the budget was enforced %d times within the hour: from here on it is only told", maxActions)
	errLimited  = errors.New("it is limited already")
)

// onlyTell says why nothing is done; nil: something is.
func (w *Watch) onlyTell(b beyond, now time.Time) error {
	budget := w.budgets[b.budget]
	switch {
	case budget.Action == "alert":
		return errAlert
	case budget.Action == "limit" && b.cgroup != "" && w.isLimited(b):
		return errLimited
	case !b.bomb && !w.restraint.mayAct(budget.Name, now):
		return errTooOften
	}
	return nil
}

// threat is what the breach is to the rest of the guardian.
func (w *Watch) threat(b beyond, now time.Time) shivx.Threat {
	budget := w.budgets[b.budget]
	t := shivx.Threat{
		ID: threatID(w.o.Host, b.kind, budget.Name, b.source, now), Host: w.o.Host, Type: b.kind, Level: shivx.ThreatHigh,
		Source: b.source, At: now, Evidence: maps.Clone(b.evidence),
		Reason: fmt.Sprintf("%s: %s; the budget %q allows %s", b.source, b.used, budget.Name, b.allowed),
	}
	if b.bomb {
		t.Level = shivx.ThreatCritical
	}
	t.Evidence["budget"] = budget.Name
	t.Evidence["bomb"] = b.bomb
	return t
}
