package workflows

import (
	"fmt"
	"slices"
	"time"

	"github.com/shivx/shivx"
)

// verdict is what a change that was told is to the changes before it.
type verdict int

const (
	// seenBefore: it was told before, or belongs to a past that is over.
	seenBefore verdict = iota
	// isNext: it is the newest.
	isNext
	// isLate: its number was missing; newer ones are known.
	isLate
	// isRewind: it is the newest, but its number was given before: an old copy of the audit was put
	// back, and counts on from there.
	isRewind
)

// count judges a change and keeps the count of its ledger. A ledger gives each number once: another
// change with a number that is known tells that the audit went back. Where the change of that number
// is not kept any more, only the time tells an old change from a new one.
func (s *DegradationState) count(c shivx.LevelChange, now time.Time) verdict {
	if slices.ContainsFunc(s.Changes, func(k shivx.LevelChange) bool { return sameChange(k, c) }) {
		return seenBefore
	}
	newest := !slices.ContainsFunc(s.Changes, func(k shivx.LevelChange) bool { return !c.At.After(k.At) })
	if c.Ledger != s.Ledger {
		return s.turnTo(c, newest, now)
	}
	switch {
	case c.Number > s.Number:
		if c.Number > s.Number+1 {
			s.MissingNumbers = latest(append(s.MissingNumbers, Span{s.Number + 1, c.Number - 1}), spansKept)
		}
		s.Number = c.Number
		return isNext
	case !newest && s.fill(c.Number):
		return isLate
	case newest || s.keeps(c.Ledger, c.Number):
		s.goBack(c, now)
		s.MissingNumbers = below(s.MissingNumbers, c.Number)
		s.Number = c.Number
		return isRewind
	}
	return seenBefore
}

// turnTo goes over to another ledger, whose count begins with its first change that is told: the
// ledger of a host that is not new does not begin at 1. A former ledger is believed again when it
// tells what is newer than all that is known: then an old copy was put back.
func (s *DegradationState) turnTo(c shivx.LevelChange, newest bool, now time.Time) verdict {
	out := isNext
	if i := slices.IndexFunc(s.FormerLedgers, func(f FormerLedger) bool { return f.Ledger == c.Ledger }); i >= 0 {
		if !newest {
			return seenBefore
		}
		out = isRewind
		s.FormerLedgers = slices.Delete(s.FormerLedgers, i, i+1)
		s.goBack(c, now)
	}
	if s.Ledger != "" {
		s.FormerLedgers = latest(append(s.FormerLedgers, FormerLedger{s.Ledger, s.Number, now}), ledgersKept)
	}
	s.Ledger, s.Number, s.MissingNumbers = c.Ledger, c.Number, nil
	s.InForce, s.InForceNumber = "", 0 // was numbered by the other ledger
	return out
}

// goBack notes that the audit went back to the change before c.
func (s *DegradationState) goBack(c shivx.LevelChange, now time.Time) {
	s.Rewinds = latest(append(s.Rewinds, Rewind{s.Ledger, s.Number, c.Ledger, c.Number - 1, now}), rewindsKept)
	s.InForce, s.InForceNumber = "", 0 // was numbered by what is not there any more
}

// Line says in one line how the audit went back.
func (r Rewind) Line() string {
	if r.Ledger != r.ToLedger {
		return fmt.Sprintf("from change %d of ledger %s to %d of the former ledger %s", r.From, r.Ledger, r.To, r.ToLedger)
	}
	return fmt.Sprintf("from change %d to %d", r.From, r.To)
}

func sameChange(a, b shivx.LevelChange) bool {
	return a.Ledger == b.Ledger && a.Number == b.Number && a.At.Equal(b.At) && a.From == b.From && a.To == b.To
}

// keeps says whether a change of that number is among those that are kept.
func (s *DegradationState) keeps(ledger string, n uint64) bool {
	return slices.ContainsFunc(s.Changes, func(k shivx.LevelChange) bool { return k.Ledger == ledger && k.Number == n })
}

// fill takes n out of the missing numbers and says whether it was among them.
func (s *DegradationState) fill(n uint64) bool {
	for i, m := range s.MissingNumbers {
		if n < m.From || n > m.To {
			continue
		}
		var rest []Span
		if m.From < n {
			rest = append(rest, Span{m.From, n - 1})
		}
		if n < m.To {
			rest = append(rest, Span{n + 1, m.To})
		}
		s.MissingNumbers = slices.Replace(s.MissingNumbers, i, i+1, rest...)
		return true
	}
	return false
}

// below returns what of the spans lies below n.
func below(spans []Span, n uint64) (out []Span) {
	for _, m := range spans {
		if m.From < n {
			out = append(out, Span{m.From, min(m.To, n-1)})
		}
	}
	return out
}

// keep puts a change among the others: the newest at the end, one that is late in the order of the
// ledger, after all from before the audit went back.
func (s *DegradationState) keep(c shivx.LevelChange, late bool) {
	at := len(s.Changes)
	for late && at > 0 && s.Changes[at-1].Ledger == c.Ledger && s.Changes[at-1].Number > c.Number &&
		(at == len(s.Changes) || s.Changes[at-1].Number < s.Changes[at].Number) {
		at--
	}
	s.Changes = latest(slices.Insert(s.Changes, at, c), changesKept)
}
