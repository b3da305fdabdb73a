package builtin

import (
	"fmt"
	"slices"
	"strings"
)

// mostLines is how many changes a result lists; what is beyond is counted.
const mostLines = 200

// report is what people are told.
type report struct {
	changes, notes []string
	more           int
}

func (r *report) change(format string, args ...any) {
	if len(r.changes) == mostLines {
		r.more++
		return
	}
	r.changes = append(r.changes, fmt.Sprintf(format, args...))
}

// note says something that is no change, once.
func (r *report) note(format string, args ...any) {
	text := "note: " + fmt.Sprintf(format, args...)
	if len(r.notes) < mostLines && !slices.Contains(r.notes, text) {
		r.notes = append(r.notes, text)
	}
}

func (r *report) lines() []string {
	list := slices.Clone(r.changes)
	if r.more > 0 {
		list = append(list, fmt.Sprintf("… and %d more", r.more))
	}
	return append(list, r.notes...)
}

// indented is the output of a command for a list of changes.
func indented(text string) []string {
	var list []string
	for line := range strings.Lines(strings.TrimSpace(text)) {
		list = append(list, "  "+strings.TrimRight(line, "\n"))
	}
	return list
}
