package ingest

import (
	"os"
	"time"

	"github.com/shivx/shivx/internal/guardian/logs"
)

// A parser that is a logs.Settler holds back what may have been forged by line breaks in the middle of a
// record. No end of a block, a batch or a round of files settles it, as those who forge could write so
// much that the end comes where they want it: what is held is saved with the position instead. It is
// settled when nothing more comes; as a record is written by one call, it then has ended.
const (
	// settleAfter is how long after the last line nothing more must have come.
	settleAfter = 50 * time.Millisecond
	// settleTornAfter is the same where a file ends as if a record were under way: within a line, or at a
	// boundary of pages, by which the kernel takes over what is written.
	settleTornAfter = time.Second
)

// settle takes the events that the parser holds into the batch.
func (o *outlet) settle() {
	if o.settler != nil {
		had := len(o.events)
		o.events = o.settler.Settle(o.events)
		o.keepFrom(had)
	}
}

// held is what the parser holds back.
func (o *outlet) held() string {
	if o.settler == nil {
		return ""
	}
	return o.settler.Held()
}

// hold makes the parser go on with what was held; what it holds now is forgotten.
func (o *outlet) hold(held string) {
	if o.settler == nil {
		return
	}
	if err := o.settler.Hold(held); err != nil {
		o.o.Logger.Warn("some lines before the place in a log are not taken into account", "log", o.log.Name, "error", err)
	}
}

// settlerOf is the parser if it holds events back, nil if not.
func settlerOf(p logs.Parser) logs.Settler {
	s, _ := p.(logs.Settler)
	return s
}

// turnTo makes the parser go on where it was in t. A record stands in one file, whatever is read of others
// meanwhile.
func (f *follower) turnTo(t *tail) {
	if f.turn == t {
		return
	}
	if f.turn != nil {
		f.turn.held = f.out.held()
	}
	f.out.hold(t.held)
	f.turn, t.held = t, ""
}

// leave takes what is held of t from the parser, for a file that goes on where t ends.
func (f *follower) leave(t *tail) (held string) {
	f.turnTo(t)
	held = f.out.held()
	f.out.hold("")
	f.turn, t.unsettled = nil, time.Time{}
	return held
}

// heldOf is what is held back of t.
func (f *follower) heldOf(t *tail) string {
	if t == f.turn {
		return f.out.held()
	}
	return t.held
}

// settle takes what is held of t, of which there is nothing more to read, once that has been so for long
// enough; else it sees to it that this is looked at again in time.
func (f *follower) settle(t *tail) {
	if f.out.settler == nil || t.unsettled.IsZero() {
		return
	}
	wait := settleAfter
	if t.half > 0 || t.off%int64(os.Getpagesize()) == 0 {
		wait = settleTornAfter
	}
	if left := wait - time.Since(t.unsettled); left > 0 {
		if f.due == 0 || left < f.due {
			f.due = left
		}
		return
	}
	f.settleNow(t)
}

func (f *follower) settleNow(t *tail) {
	f.turnTo(t)
	f.out.settle()
	t.unsettled = time.Time{}
}
