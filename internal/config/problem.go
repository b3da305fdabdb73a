package config

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong with a configuration file, with its place.
type Problem struct {
	File string `json:"file"`
	// Line and Column count from 1, in characters; both are 0 when the whole file is meant.
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	// Hint says what to write instead.
	Hint string `json:"hint,omitempty"`

	// cut is the column from which on Format hides the source line, so that it shows no secret; 0: nowhere.
	cut int
	// syntax: the parser's, so that lines may not be what they seem.
	syntax bool
}

// String returns "file:line:column: message; hint".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": " + p.Message)
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Errors are all problems of one file, sorted by place.
type Errors []Problem

// Error returns one line for each problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// maxShown is how many characters of a source line Format shows.
const maxShown = 100

// Format writes each problem with its source line and a caret under the place.
// Secrets in the line are hidden.
func (e Errors) Format(w io.Writer, source []byte) error {
	lines := splitLines(source)
	for _, p := range e {
		if _, err := fmt.Fprintln(w, p.String()); err != nil {
			return err
		}
		if p.Line < 1 || p.Line > len(lines) {
			continue
		}
		text, caret := p.excerpt(lines[p.Line-1])
		if text == "" || p.Line > 1 && p.continues(lines[p.Line-2]) {
			continue
		}
		if _, err := fmt.Fprintf(w, "%6d | %s\n       | %s^\n", p.Line, text, strings.Repeat(" ", caret)); err != nil {
			return err
		}
	}
	return nil
}

// lineBreaks makes the three line breaks of YAML one.
var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n")

func splitLines(source []byte) []string {
	return strings.Split(lineBreaks.Replace(string(source)), "\n")
}

// continues says whether the problem's line may be the rest of a secret that begins in the line above.
func (p Problem) continues(above string) bool {
	at := secretFrom(above)
	return at >= 0 && (p.syntax || at == len(above))
}

// excerpt returns the part of line around the problem and the offset of the caret in it.
func (p Problem) excerpt(line string) (string, int) {
	line = strings.TrimPrefix(strings.TrimRight(line, " \t\r"), "\ufeff")
	runes := []rune(strings.ToValidUTF8(line, string(utf8.RuneError)))
	column := min(max(p.Column, 1), len(runes)+1)
	runes = maskSecrets(runes)
	if p.cut > 0 && p.cut <= len(runes) {
		runes = append(runes[:p.cut-1:p.cut-1], '…')
	}
	for i, r := range runes {
		if r < ' ' || r == 0x7f {
			runes[i] = ' '
		}
	}
	caret := min(column-1, len(runes))
	if caret > maxShown*3/4 {
		from := caret - maxShown/2
		runes = append([]rune{'…'}, runes[from:]...)
		caret = caret - from + 1
	}
	if len(runes) > maxShown {
		runes = append(runes[:maxShown:maxShown], '…')
	}
	return string(runes), caret
}

// tidy sorts problems by place and drops repetitions, which arise when an anchor is used twice.
func tidy(problems []Problem) Errors {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(problems, func(a, b Problem) bool { return a == b })
}
