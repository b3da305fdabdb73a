package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// style is a colour of the terminal.
type style string

const (
	normal style = ""
	bold   style = "1"
	faint  style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	cyan   style = "36"
	orange style = "38;5;208"
)

// screen is where text for people goes. All text is cleaned on its way (see clean).
type screen struct {
	w io.Writer
	// tty says that w is a terminal that can move its cursor.
	tty    bool
	colour bool
	wide   bool
	fd     int
}

func newScreen(w io.Writer) screen {
	s := screen{w: w, fd: -1}
	f, ok := w.(*os.File)
	if !ok {
		return s
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return s
	}
	s.fd = int(f.Fd())
	s.tty = os.Getenv("TERM") != "dumb"
	s.colour = s.tty
	return s
}

// columns is the width to which lines are cut; 0: not at all.
func (s *screen) columns() int {
	if s.wide {
		return 0
	}
	cols, _ := s.size()
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); cols == 0 && err == nil && n > 0 {
		return n
	}
	return cols
}

// size is the terminal's size just now; 0, 0 when there is none.
func (s *screen) size() (columns, rows int) {
	if s.fd < 0 {
		return 0, 0
	}
	ws, err := unix.IoctlGetWinsize(s.fd, unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(ws.Col), int(ws.Row)
}

func (s *screen) paint(st style, text string) string {
	if !s.colour || st == normal || text == "" {
		return text
	}
	return "\x1b[" + string(st) + "m" + text + "\x1b[0m"
}

// line prints one line. There is nobody to tell of an error but the reader who has gone.
func (s *screen) line(st style, text string) {
	_, _ = fmt.Fprintln(s.w, s.paint(st, clean(text)))
}

func (s *screen) printf(format string, args ...any) { s.line(normal, fmt.Sprintf(format, args...)) }

// cell is one field of a table.
type cell struct {
	text  string
	style style
}

func text(s string) cell { return cell{text: s} }

func cells(texts ...string) []cell {
	row := make([]cell, len(texts))
	for i, t := range texts {
		row[i] = text(t)
	}
	return row
}

// table is printed aligned; columns that are empty in every row are left out.
type table struct {
	head []string
	rows [][]cell
	// free lists the columns of free text, which are cut before any other.
	free []int
	// whole lists the columns that are never cut, such as ids.
	whole []int
	// atLeast holds the least width of each column, for tables that grow while they are printed.
	atLeast []int
}

const (
	gap = 2
	// Below these widths a column is not cut; free text is kept readable for as long as it goes.
	narrowest, narrowestFree = 6, 16
)

func (t *table) add(row ...cell) { t.rows = append(t.rows, row) }

// print prints the table with its head.
func (s *screen) table(t table) { s.lines(t.render(s, true)) }

func (s *screen) lines(lines []string) {
	for _, l := range lines {
		_, _ = fmt.Fprintln(s.w, l)
	}
}

// render returns the lines of the table as they are printed.
func (t *table) render(s *screen, head bool) []string {
	rows := make([][]cell, 0, len(t.rows)+1)
	if head && t.head != nil {
		top := make([]cell, len(t.head))
		for i, h := range t.head {
			top[i] = cell{h, faint}
		}
		rows = append(rows, top)
	}
	for _, r := range t.rows {
		row := slices.Clone(r)
		for i := range row {
			row[i].text = clean(row[i].text)
		}
		rows = append(rows, row)
	}
	widths := t.widths(rows, len(rows)-len(t.rows))
	t.fit(widths, s.columns())
	lines := make([]string, len(rows))
	for i, r := range rows {
		lines[i] = s.row(r, widths)
	}
	return lines
}

// row is one line of a table.
func (s *screen) row(r []cell, widths []int) string {
	var b strings.Builder
	blanks := 0
	for i, c := range r {
		if widths[i] == 0 {
			continue
		}
		short := cut(c.text, widths[i])
		if short != "" {
			b.WriteString(strings.Repeat(" ", blanks))
			b.WriteString(s.paint(c.style, short))
			blanks = 0
		}
		blanks += widths[i] - width(short) + gap
	}
	return b.String()
}

// widths returns the natural width of each column; 0 for one that has nothing below the heads.
func (t *table) widths(rows [][]cell, heads int) []int {
	n := len(t.atLeast)
	for _, r := range rows {
		n = max(n, len(r))
	}
	widths, used := make([]int, n), make([]bool, n)
	for j, r := range rows {
		for i, c := range r {
			widths[i] = max(widths[i], width(c.text))
			used[i] = used[i] || c.text != "" && j >= heads
		}
	}
	for i := range widths {
		switch {
		case i < len(t.atLeast):
			widths[i] = max(widths[i], t.atLeast[i])
		case !used[i] && len(t.rows) > 0:
			widths[i] = 0
		}
	}
	return widths
}

// fit takes from the widest columns until the table is no wider than limit, if it can be: from
// those of free text first.
func (t *table) fit(widths []int, limit int) {
	if limit <= 0 {
		return
	}
	total := -gap
	for _, w := range widths {
		if w > 0 {
			total += w + gap
		}
	}
	take := func(among func(column int) bool, narrowest int) {
		for ; total > limit; total-- {
			widest := -1
			for i, w := range widths {
				if w > narrowest && among(i) && (widest < 0 || w > widths[widest]) {
					widest = i
				}
			}
			if widest < 0 {
				return
			}
			widths[widest]--
		}
	}
	take(func(i int) bool { return slices.Contains(t.free, i) }, narrowestFree)
	take(func(i int) bool { return !slices.Contains(t.whole, i) }, narrowest)
}

// details prints names with their values; empty values are left out.
func (s *screen) details(pairs ...[2]string) {
	w := 0
	for _, p := range pairs {
		if p[1] != "" {
			w = max(w, width(p[0]))
		}
	}
	for _, p := range pairs {
		if p[1] != "" {
			_, _ = fmt.Fprintln(s.w, "  "+s.paint(faint, pad(p[0], w))+"  "+clean(p[1]))
		}
	}
}

// document prints v as one JSON document.
func (a *app) document(v any) error {
	a.documented = true
	return a.documentTo(&a.out, v)
}

func (*app) documentTo(s *screen, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	if _, err := io.WriteString(s.w, escapeJSON(b.Bytes())); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}
