package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian/abuse"
	"github.com/shivx/shivx/internal/guardian/detect"
	"github.com/shivx/shivx/internal/guardian/enforce"
	"github.com/shivx/shivx/internal/guardian/ingest"
)

const (
	// isolationsShown is how many isolations are printed, busyShown how many of the busiest sources.
	isolationsShown = 40
	busyShown       = 5
	// kindsShown is how many kinds of threats are named.
	kindsShown = 3
)

// section prints a table below what was printed before, unless it is empty.
func (a *app) section(t table) {
	if len(t.rows) > 0 {
		a.out.line(normal, "")
		a.out.table(t)
	}
}

// printIsolations prints the first of total isolations, and where the others are.
func (a *app) printIsolations(list []shivx.Isolation, total int, others string) {
	shown := list[:min(len(list), isolationsShown)]
	a.section(isolationTable(shown))
	if more := total - len(shown); more > 0 && len(shown) > 0 {
		a.out.line(faint, fmt.Sprintf("… and %d more: %s", more, others))
	}
}

// without takes the source off a reason that stands beside it.
func without(source, reason string) string { return strings.TrimPrefix(reason, source+": ") }

func isolationTable(list []shivx.Isolation) table {
	t := table{head: []string{"ISOLATED", "LEFT", "UNTIL", "OFFENCE", "BY", "WHY"}, free: []int{5}}
	for _, i := range list {
		remaining, until := cell{"indefinite", yellow}, ""
		if !i.Until.IsZero() {
			remaining, until = text(left(i.Until)), moment(i.Until)
		}
		again := ""
		if i.Offence > 1 {
			again = fmt.Sprint(i.Offence)
		}
		t.add(cell{i.Source, red}, remaining, text(until), text(again), text(i.By), text(without(i.Source, orElse(i.Reason, i.Why))))
	}
	return t
}

func containedTable(list []abuse.Contained) table {
	t := table{head: []string{"CONTAINED", "STATE", "SINCE", "BUDGET", "WHY"}, free: []int{4}}
	for _, c := range list {
		t.add(cell{c.Source, red}, text(string(c.Action)), text(moment(c.Since)), text(c.Budget), text(without(c.Source, c.Reason)))
	}
	return t
}

func logTable(list []ingest.LogStatus) table {
	t := table{head: []string{"LOG", "FORMAT", "STATE", "LINES", "EVENTS", "BEHIND", "LAST LINE", "LEFT OUT"}}
	for _, l := range list {
		state := cell{"read", green}
		switch {
		case l.Error != "":
			state = cell{"NOT READ", red}
		case l.Silent:
			state = cell{"SILENT", red}
		case l.LastRead.IsZero():
			state = cell{"waits", faint}
		}
		behind := ""
		if l.Lag > 0 {
			behind = bytesText(l.Lag)
		}
		t.add(text(l.Name), text(l.Format), state, text(fmt.Sprint(l.Lines)), text(fmt.Sprint(l.Events)), cell{behind, yellow},
			text(ago(l.LastRead)), cell{leftOut(l), yellow})
	}
	return t
}

// leftOut counts the lines and messages that were not taken.
func leftOut(l ingest.LogStatus) string {
	var parts []string
	if l.Cut > 0 {
		parts = append(parts, fmt.Sprintf("%d cut off", l.Cut))
	}
	if l.Dropped > 0 {
		parts = append(parts, fmt.Sprintf("%d refused", l.Dropped))
	}
	return strings.Join(parts, ", ")
}

func enforcerTable(list []enforce.EnforcerStatus) table {
	t := table{head: []string{"ENFORCER", "STATE", "KEEPS OUT", "BEHIND", "LAST APPLIED"}}
	for _, e := range list {
		state := cell{"works", green}
		if !e.OK {
			state = cell{"FAILS", red}
		}
		t.add(text(e.Name), state, text(fmt.Sprint(e.Entries)), cell{countOf(int(e.Behind)), yellow}, text(ago(e.LastApplied)))
	}
	return t
}

// busyTable lists sources that may become attackers, without those that are isolated already.
func busyTable(list []detect.Sighting, isolated []shivx.Isolation) table {
	t := table{head: []string{"NEXT TO A THRESHOLD", "REQUESTS/MIN", "FAILURES", "SCAN SCORE", "LAST SEEN"}}
	list = slices.DeleteFunc(slices.Clone(list), func(s detect.Sighting) bool {
		return slices.ContainsFunc(isolated, func(i shivx.Isolation) bool { return i.Source == s.Source })
	})
	for _, s := range list[:min(len(list), busyShown)] {
		score := ""
		if s.Score >= 1 {
			score = fmt.Sprintf("%.0f", s.Score)
		}
		t.add(text(s.Source), text(countOf(s.Requests)), text(countOf(s.Failures)), text(score), text(ago(s.Last)))
	}
	return t
}

// mostOf names the most frequent kinds of threats.
func mostOf(kinds map[shivx.ThreatType]uint64) string {
	most := slices.SortedFunc(maps.Keys(kinds), func(a, b shivx.ThreatType) int {
		return cmp.Or(cmp.Compare(kinds[b], kinds[a]), cmp.Compare(a, b))
	})
	parts := make([]string, 0, kindsShown)
	for _, k := range most[:min(len(most), kindsShown)] {
		parts = append(parts, fmt.Sprintf("%s %d", k, kinds[k]))
	}
	return strings.Join(parts, ", ")
}
