package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/shivx/shivx/internal/resilience"
)

// statusPath is the agent's route for all that goes into its host's level.
const statusPath = "/api/resilience/status"

// explainHost prints how the level of this host comes about, asked of its agent.
func (a *app) explainHost(ctx context.Context) error {
	c, err := a.agent()
	if err != nil {
		return err
	}
	var s resilience.Status
	if err := c.get(ctx, statusPath, &s); err != nil {
		return err
	}
	if a.json() {
		return a.document(s)
	}
	a.out.line(levelStyles[s.Level], s.Host+": "+string(s.Level))
	a.out.details(explained(s)...)
	if s.Score != nil {
		a.out.line(normal, "")
		a.out.table(termTable(*s.Score))
	}
	if len(s.Hooks) > 0 {
		a.out.line(normal, "")
		a.out.table(hookTable(s.Hooks))
	}
	if len(s.Modules) > 0 {
		a.out.line(normal, "")
		a.out.table(moduleTable(s.Modules))
	}
	return nil
}

// explained is what there is to say beside the tables.
func explained(s resilience.Status) [][2]string {
	var pairs [][2]string
	add := func(name, format string, args ...any) {
		pairs = append(pairs, [2]string{name, fmt.Sprintf(format, args...)})
	}
	if s.Score == nil {
		add("score", "nothing was measured yet")
	} else {
		add("score", "%.1f of 100, measured %s ago", s.Score.Value, age(s.SampledAt))
		add("confidence", "%.0f %% of the readings", 100*s.Score.Confidence)
		add("missing", "%s", strings.Join(s.Score.Missing, ", "))
	}
	if !s.MonitoringActive {
		add("monitoring", "no sample comes any more, or none yet; the agent's log says why")
	}
	if s.Changes > 0 {
		add("since", "%s, change %d", moment(s.Since), s.Changes)
	}
	add("override", "%s", overrideOf(s.Override, time.Now()))
	if s.Automatic != s.Level {
		add("by score", "%s", s.Automatic)
	}
	if s.Override == nil { // else that holds it
		add("held", "%s", s.Held)
	}
	var off []string
	for _, f := range s.DegradedFeatures {
		off = append(off, f.Name)
	}
	add("features off", "%s", strings.Join(off, ", "))
	for _, n := range s.Notices {
		add("notice", "%s", n)
	}
	return pairs
}

// termTable lists what costs the score, the dearest first, with the sum.
func termTable(s resilience.Score) table {
	t := table{head: []string{"TERM", "READING", "SCORE", "COSTS"}, free: []int{1}}
	sum := 0.0
	for _, term := range s.Terms {
		sum += term.Cost
		score, st := fmt.Sprintf("%5.1f", term.Score), normal
		reading := cell{term.Reading, normal}
		switch {
		case term.Missing != "" && term.Stale:
			reading = cell{fmt.Sprintf("%s earlier; missing: %s", term.Reading, term.Missing), yellow}
		case term.Missing != "":
			reading, score = cell{"missing: " + term.Missing, yellow}, ""
		}
		switch {
		case term.Cost >= 10:
			st = red
		case term.Cost > 0:
			st = yellow
		}
		t.add(text(term.Name), reading, text(score), cell{fmt.Sprintf("%5.1f", term.Cost), st})
	}
	t.add(cell{"all", bold}, text(fmt.Sprintf("score = 100 − %.1f", sum)), cell{fmt.Sprintf("%5.1f", s.Value), bold}, cell{fmt.Sprintf("%5.1f", sum), bold})
	return t
}

func moduleTable(modules []resilience.Module) table {
	t := table{head: []string{"MODULE", "STATE", "CRITICAL", "SCORE", "RESTARTS", "LAST ERROR"}, free: []int{5}}
	styles := map[string]style{"healthy": green, "failing": red, "unknown": yellow}
	for _, m := range modules {
		name := m.Name
		if m.Registered {
			name += " (registered)"
		}
		t.add(text(name), cell{m.State, styles[m.State]}, text(verb(m.Critical, "yes", "no")),
			text(fmt.Sprintf("%.0f", m.Score)), text(fmt.Sprint(m.Restarts)), text(m.LastError))
	}
	return t
}
