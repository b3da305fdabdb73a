package main

import (
	"fmt"
	"io"
	"time"

	"github.com/shivx/shivx"
)

// tellEvery is how often is told how far a step is, to whom no line can be drawn again; jsonEvery the same to
// programs.
const (
	tellEvery = 10 * time.Second
	jsonEvery = time.Second
)

func (l *localGolden) tell(p shivx.GoldenProgress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest = p
}

func (l *localGolden) progress() shivx.GoldenProgress {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest
}

// text is the line that shows how far the step under way is. What may be cut off stands last.
func (l *localGolden) text() string {
	p := l.progress()
	if p.Step == "" {
		return ""
	}
	if p.Bytes > p.BytesTotal { // a total that is expected may be too low
		p.BytesTotal = 0
	}
	line := fmt.Sprintf("%-8s ", p.Step)
	switch {
	case p.BytesTotal > 0:
		line += bar(p.Bytes, p.BytesTotal)
	case p.Bytes > 0:
		line += bytesText(p.Bytes)
	}
	if p.Rate > 0 {
		line += fmt.Sprintf(", %s/s", bytesText(int64(p.Rate)))
		if left := p.BytesTotal - p.Bytes; left > 0 {
			line += fmt.Sprintf(", %s left", coarse(time.Duration(float64(left)/p.Rate*float64(time.Second))))
		}
	}
	if p.Files > 0 {
		line += ", " + count(int(p.Files), "file")
	}
	return line
}

// showProgress draws a line on a terminal, and writes one from time to time elsewhere.
func (a *app) showProgress(l *localGolden) (done func()) {
	switch {
	case a.json():
		return repeatedly(jsonEvery, func() {
			if p := l.progress(); p.Step != "" {
				_ = a.jsonLine(a.err.w, map[string]any{"progress": p})
			}
		})
	case !a.err.tty:
		return repeatedly(tellEvery, func() {
			if text := l.text(); text != "" {
				a.err.line(normal, text)
			}
		})
	}
	p := newProgress(&a.err, l.text)
	out := a.out.w
	a.out.w = p.beside(out)
	return func() { p.end(); a.out.w = out }
}

// repeatedly calls f until done is.
func repeatedly(every time.Duration, f func()) (done func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-stop:
				return
			case <-t.C:
				f()
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// step runs one step and tells of it.
func (l *localGolden) step(name shivx.GoldenStep, do func() (summary string, err error)) (shivx.GoldenStepReport, error) {
	r := shivx.GoldenStepReport{Name: name, Started: time.Now().UTC(), Outcome: shivx.StepRunning}
	l.told(r)
	var err error
	r.Summary, err = do()
	r.Outcome, r.Seconds = shivx.StepDone, time.Since(r.Started).Seconds()
	if err != nil {
		r.Outcome, r.Summary = shivx.StepFailed, err.Error()
	}
	l.told(r)
	return r, err
}

// toldStep prints a step when it has ended.
func (a *app) toldStep(s shivx.GoldenStepReport) {
	switch {
	case a.json():
		_ = a.jsonLine(a.err.w, map[string]any{"step": s})
	case s.Outcome != shivx.StepRunning:
		mark := goldenMark(s.Outcome)
		name := string(s.Name)
		if s.Service != "" {
			name += " " + s.Service
		}
		_, _ = fmt.Fprintln(a.out.w, a.out.paint(mark.style, mark.text)+clean(fmt.Sprintf(" %-18s %8s  %s", name, took(seconds(s.Seconds)), s.Summary)))
	}
}

// jsonLine writes v as one line.
func (*app) jsonLine(w io.Writer, v any) error {
	line, err := compactJSON(v)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, escapeJSON(append(line, '\n')))
	return err
}
