package ingest

import (
	"bytes"
	"context"
	"time"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
)

const (
	// maxLine is the longest line that is read.
	maxLine = 64 << 10
	// maxEvents of a batch, and maxKept bytes of them, bound its memory.
	maxEvents = 1024
	maxKept   = 1 << 20

	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// outlet takes the lines of one log through its parser to Handle. One goroutine uses it.
type outlet struct {
	o      *Options
	log    config.Log
	parser logs.Parser
	// settler is the parser, when it is one that holds events back.
	settler logs.Settler
	status  status
	quiet   quiet

	events []logs.Event
	// kept holds the bytes of the events: a parser may use its memory again for the next line.
	kept []byte
	cut  uint64
	// blocked is the state told by trouble.
	blocked bool
	// waits is called from time to time while a batch is not taken.
	waits func()
}

func newOutlet(o *Options, l config.Log, p logs.Parser) *outlet {
	out := &outlet{o: o, log: l, parser: p, settler: settlerOf(p), quiet: quiet{after: l.QuietAfter, since: o.Now()}, waits: func() {}}
	out.status.s = LogStatus{Name: l.Name, Path: l.File, Format: l.Format}
	return out
}

// parse gives the lines of block to p until the batch is full. It returns how many bytes of block and
// how many lines that were.
func (o *outlet) parse(p logs.Parser, block []byte) (n, lines int) {
	for n < len(block) && !o.full() {
		line := block[n:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i:i]
			n++
		}
		n += len(line)
		lines++
		o.line(p, line)
	}
	return n, lines
}

// full says whether the batch is to be handled before more is parsed.
func (o *outlet) full() bool { return len(o.events) >= maxEvents || len(o.kept) >= maxKept }

func (o *outlet) line(p logs.Parser, line []byte) {
	if len(line) > maxLine {
		o.opening(p, line)
		return
	}
	// A settler counts each byte.
	if end := len(line) - 1; end >= 0 && line[end] == '\r' && o.settler == nil {
		line = line[:end]
	}
	had := len(o.events)
	o.events = p.Parse(line, o.events)
	o.keepFrom(had)
}

// opening takes what can be told from the beginning of a line that is too long.
func (o *outlet) opening(p logs.Parser, line []byte) {
	o.cut++
	if opener, ok := p.(logs.Opener); ok {
		had := len(o.events)
		o.events = opener.ParseOpening(line[:maxLine], o.events)
		o.keepFrom(had)
	}
}

// keepFrom copies what the events from the one numbered from on point to.
func (o *outlet) keepFrom(from int) {
	for i := from; i < len(o.events); i++ {
		e := &o.events[i]
		e.Host, e.User, e.Method = o.keep(e.Host), o.keep(e.User), o.keep(e.Method)
		e.Path, e.Agent = o.keep(e.Path), o.keep(e.Agent)
	}
}

func (o *outlet) keep(b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	from := len(o.kept)
	o.kept = append(o.kept, b...)
	return o.kept[from:len(o.kept):len(o.kept)]
}

// stamp gives a time to the events from the one numbered from on that have none.
func (o *outlet) stamp(from int, at time.Time) {
	for i := from; i < len(o.events); i++ {
		if o.events[i].At == 0 {
			o.events[i].At = at.UnixNano()
		}
	}
}

// send gives the batch to Handle until it takes it. It returns false when ctx ended before that.
func (o *outlet) send(ctx context.Context, at Position, lines int) bool {
	b := Batch{Log: o.log.Name, Events: o.events, Position: at, Lines: lines}
	failed := false
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := o.o.Handle(ctx, b)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return false
		}
		if !failed {
			failed = true
			o.o.Logger.Warn("the lines of a log are not taken; they are given again", "log", o.log.Name, "error", err)
		}
		o.waits()
		o.status.set(func(s *LogStatus) { s.Error = "what was read is not taken: " + failure(err) })
		if !sleep(ctx, wait) {
			return false
		}
	}
	o.sent(lines, failed)
	return true
}

func (o *outlet) sent(lines int, failed bool) {
	now := o.o.Now()
	o.status.set(func(s *LogStatus) {
		s.Lines += uint64(lines)
		s.Events += uint64(len(o.events))
		s.Cut += o.cut
		if lines > 0 {
			s.LastRead, s.Silent = now, false
		}
		if len(o.events) > 0 {
			s.LastEvent = now
		}
		if failed {
			s.Error = ""
		}
	})
	o.events, o.kept, o.cut = o.events[:0], o.kept[:0], 0
	if lines == 0 {
		return
	}
	if silence, was := o.quiet.heard(now); was {
		o.o.Trouble(o.log.Name, TroubleSpeaks, map[string]any{"silent_for": silence.Round(time.Second).String()})
	}
}

// listen tells once when nothing was read for too long.
func (o *outlet) listen() {
	if !o.quiet.check(o.o.Now()) {
		return
	}
	s := o.status.get()
	o.status.set(func(s *LogStatus) { s.Silent = true })
	details := map[string]any{"path": s.Path, "quiet_after": o.log.QuietAfter.String()}
	if !s.LastRead.IsZero() {
		details["last_read"] = s.LastRead
	}
	if s.Error != "" {
		details["error"] = s.Error
	}
	o.o.Trouble(o.log.Name, TroubleSilent, details)
}

// state says whether the log can be read; a trouble is told once. An err that is only waited for, such
// as a file that is not there yet, stands in the status alone.
func (o *outlet) state(err error, waits bool) {
	text := ""
	if err != nil {
		text = failure(err)
	}
	was := o.status.get().Error
	o.status.set(func(s *LogStatus) { s.Error = text })
	switch {
	case err != nil && waits:
		if text != was {
			o.o.Logger.Info("a log is waited for", "log", o.log.Name, "error", text)
		}
	case err != nil && !o.blocked:
		o.blocked = true
		o.o.Trouble(o.log.Name, TroubleUnreadable, map[string]any{"path": o.status.get().Path, "error": text})
	case err == nil && o.blocked:
		o.blocked = false
		o.o.Trouble(o.log.Name, TroubleReadable, map[string]any{"path": o.status.get().Path})
	}
}

// sleep waits and returns true, or false when ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
