package host

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Limits of what a plugin's output may cost.
const (
	// outputWindow is the time over which outputBudget holds.
	outputWindow = 10 * time.Second
	// outputBudget is how many bytes of output are logged in one window.
	outputBudget = 64 << 10
	// outputLine is the length a line is cut to.
	outputLine = 1 << 10
)

// outputLog writes a plugin's output into the log, up to a budget per window. What is over is
// dropped, and the number of dropped lines is logged once when the window is over.
type outputLog struct {
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	begun   time.Time
	spent   int
	dropped int
	bytes   int
}

func newOutputLog(log *slog.Logger) *outputLog { return &outputLog{log: log, now: time.Now} }

func (o *outputLog) line(text string, size int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := o.now(); now.Sub(o.begun) >= outputWindow {
		o.report()
		o.begun, o.spent = now, 0
	}
	if o.spent+len(text) > outputBudget {
		o.dropped++
		o.bytes += size
		return
	}
	o.spent += len(text)
	o.log.Info("plugin output", "line", text)
}

// report logs what was dropped, if anything was.
func (o *outputLog) report() {
	if o.dropped == 0 {
		return
	}
	o.log.Warn("plugin floods its log; output dropped", "lines", o.dropped, "bytes", o.bytes,
		"limit", fmt.Sprintf("%d bytes in %s", outputBudget, outputWindow))
	o.dropped, o.bytes = 0, 0
}

func (o *outputLog) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.report()
}

// lineWriter cuts a stream into lines for emit, holding at most outputLine bytes.
type lineWriter struct {
	emit func(text string, size int)
	held []byte
	size int
}

// Write never fails.
func (w *lineWriter) Write(data []byte) (int, error) {
	n := len(data)
	for len(data) > 0 {
		part, rest, ended := bytes.Cut(data, []byte{'\n'})
		w.size += len(part)
		w.held = append(w.held, part[:min(len(part), outputLine-len(w.held))]...)
		if ended {
			w.flush()
		}
		data = rest
	}
	return n, nil
}

// flush emits what is held as a line.
func (w *lineWriter) flush() {
	if w.size > 0 {
		w.emit(strings.ToValidUTF8(string(w.held), "\uFFFD"), w.size)
	}
	w.held, w.size = w.held[:0], 0
}

// lastWords remembers what best explains a process' end: the line that begins a Go panic, or
// else the last line it wrote.
type lastWords struct {
	mu    sync.Mutex
	text  string
	panic bool
}

func (l *lastWords) hear(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	begins := strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")
	if strings.TrimSpace(text) == "" || (l.panic && !begins) {
		return
	}
	l.text, l.panic = text, begins
}

func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return line(l.text, maxLine)
}
