package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/workflows"
)

func hostTable(views []hostView) table {
	t := table{head: []string{"HOST", "LEVEL", "SINCE", "SCORE", "OVERRIDE", "FEATURES OFF", "NOTE"}, free: []int{4, 6}}
	for _, v := range views {
		row := []cell{text(v.Host), {string(v.Level), levelStyles[v.Level]}}
		if v.Status == nil {
			t.add(append(row, text(""), text(""), text(""), text(""), cell{v.Error, red})...)
			continue
		}
		s := v.Status
		t.add(append(row, text(ago(s.Since)), text(scoreOf(*s)), cell{overrideOf(s.Override, time.Now()), yellow},
			text(countOf(len(s.FeaturesOff))), cell{noteOf(*s), red})...)
	}
	return t
}

// countOf is a number that is left out when it is 0.
func countOf(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return age(t) + " ago"
}

// scoreOf is the latest score that Temporal was told, with its age.
func scoreOf(s workflows.DegradationState) string {
	score, at := s.Score, s.AppliedAt
	if n := len(s.Changes); n > 0 && (score == nil || s.Changes[n-1].At.After(at)) {
		score, at = s.Changes[n-1].Score, s.Changes[n-1].At
	}
	if score == nil {
		return ""
	}
	return fmt.Sprintf("%.1f, %s ago", *score, age(at))
}

func overrideOf(o *shivx.Override, now time.Time) string {
	switch {
	case o == nil:
		return ""
	case now.After(o.Until):
		return fmt.Sprintf("%s by %s, was to end %s ago", o.Level, o.By, age(o.Until))
	}
	return fmt.Sprintf("%s until %s by %s: %s", o.Level, moment(o.Until), o.By, o.Why)
}

// noteOf is what is not as it should be.
func noteOf(s workflows.DegradationState) string {
	var notes []string
	if s.HostAway() {
		notes = append(notes, "the host does not answer since "+moment(s.AwaySince))
	}
	if s.LastError != "" {
		notes = append(notes, "hooks in error: "+s.LastError)
	}
	if m := s.Missing(); m != "" {
		notes = append(notes, "changes missing: "+m)
	}
	return strings.Join(notes, "; ")
}

// showHost prints all that Temporal knows of one host.
func (a *app) showHost(ctx context.Context, f *fleet, arg string) error {
	host, err := f.host(ctx, arg)
	if err != nil {
		return err
	}
	s, err := f.degradation(ctx, host)
	if err != nil {
		return err
	}
	v := hostViewOf(host)(s, nil)
	if a.json() {
		return a.document(v)
	}
	a.out.line(levelStyles[v.Level], host+": "+string(v.Level))
	a.out.details(describeHost(s)...)
	if len(s.Hooks) > 0 {
		a.out.line(normal, "")
		a.out.table(hookTable(s.Hooks))
	}
	if len(s.Changes) > 0 {
		a.out.line(normal, "")
		a.out.table(changeTable(s.Changes))
	}
	return nil
}

func describeHost(s workflows.DegradationState) [][2]string {
	pairs := [][2]string{
		{"since", moment(s.Since)}, {"score", scoreOf(s)}, {"override", overrideOf(s.Override, time.Now())},
		{"features off", strings.Join(s.FeaturesOff, ", ")},
	}
	if s.AutomaticLevel != "" && s.AutomaticLevel != s.LevelNow() {
		pairs = append(pairs, [2]string{"by score", string(s.AutomaticLevel)})
	}
	pairs = append(pairs, [2]string{"not well", noteOf(s)})
	for _, f := range s.FormerLedgers {
		pairs = append(pairs, [2]string{"other ledger", fmt.Sprintf("%s ended at change %d, replaced %s", f.Ledger, f.Number, moment(f.Until))})
	}
	for _, r := range s.Rewinds {
		pairs = append(pairs, [2]string{"went back", fmt.Sprintf("%s, seen %s: was an old copy put back?", r.Line(), moment(r.At))})
	}
	for _, m := range s.Told {
		pairs = append(pairs, [2]string{"people told", moment(m.At) + ": " + m.Text})
	}
	for _, m := range s.Untold {
		pairs = append(pairs, [2]string{"to be told", m.Text})
	}
	return pairs
}

// hookTable lists load-shedding hooks.
func hookTable(hooks []shivx.HookState) table {
	t := table{head: []string{"HOOK", "FROM", "STATE", "SINCE", "WHAT"}, free: []int{4}}
	for _, h := range hooks {
		state, what := cell{"off", faint}, text(h.Summary)
		if h.On {
			state = cell{"sheds load", yellow}
		}
		if h.Error != "" {
			state, what = cell{state.text + ", in error", red}, cell{h.Error, red}
		}
		t.add(text(h.Name), text(string(h.Level)), state, text(moment(h.Since)), what)
	}
	return t
}

// changesShown is how many changes of the level are printed.
const changesShown = 20

func changeTable(changes []shivx.LevelChange) table {
	t := table{head: []string{"#", "WHEN", "LEVEL", "SCORE", "WHY"}, free: []int{4}}
	for i, c := range slices.Backward(changes) {
		if len(changes)-i > changesShown {
			break
		}
		level := string(c.To)
		if c.From != c.To {
			level = fmt.Sprintf("%s → %s", c.From, c.To)
		}
		score := ""
		if c.Score != nil {
			score = fmt.Sprintf("%.1f", *c.Score)
		}
		t.add(text(fmt.Sprint(c.Number)), text(moment(c.At)), cell{level, levelStyles[c.To]}, text(score), text(c.Reason))
	}
	return t
}
