package ledger

import (
	"context"
	"fmt"
	"slices"
)

// diagnosis turns breaks of the chain into findings. The unharmed ledger is one run per segment,
// each linked to the one before; anything else is explained by the fewest changes: the heaviest
// ascending sequence of runs is taken for what is left of the ledger (the main line), and the
// rest for what was done to it.
type diagnosis struct {
	rep  *Report
	segs []openSegment
	runs []run
	// signed and witnessed are the highest sequence numbers of heads beside the ledger and elsewhere.
	signed, witnessed uint64
	// starts holds the sequence numbers with which files are known to begin.
	starts map[uint64]bool

	present []interval
	ends    map[uint64][]digest // last hash of the pieces that end with a sequence number
	heads   map[uint64][]digest // first prev of the pieces that begin with it
}

// maxPieces bounds the work on a ledger that is torn to shreds.
const maxPieces = 4000

func (d *diagnosis) run(ctx context.Context) error {
	if d.whole() {
		return nil
	}
	pieces, err := d.split(ctx)
	if err != nil {
		return err
	}
	var bad, good []run
	for _, p := range pieces {
		if p.bad {
			bad = append(bad, p)
		} else {
			good = append(good, p)
		}
	}
	if over := len(good) - maxPieces; over > 0 {
		d.rep.More += over
		good = good[:maxPieces]
	}
	d.ends, d.heads = map[uint64][]digest{}, map[uint64][]digest{}
	for _, p := range good {
		d.present = addInterval(d.present, interval{p.first, p.last})
		d.ends[p.last] = append(d.ends[p.last], p.hash)
		d.heads[p.first] = append(d.heads[p.first], p.prev)
	}
	d.walk(good, bad, heaviest(good))
	return nil
}

// whole says whether there is nothing to explain.
func (d *diagnosis) whole() bool {
	at := run{}
	for _, r := range d.runs {
		if r.bad || !at.links(r) {
			return false
		}
		at = r
	}
	return at.last >= max(d.signed, d.witnessed)
}

// walk goes through all pieces in stored order.
func (d *diagnosis) walk(good, bad []run, onMain []bool) {
	var main []run
	for i, p := range good {
		if onMain[i] {
			main = append(main, p)
		}
	}
	last := run{segment: -1} // stands before the first record
	var between []run
	for i, p := range good {
		for len(bad) > 0 && before(bad[0], p) {
			between, bad = append(between, bad[0]), bad[1:]
		}
		if !onMain[i] {
			d.stray(p, main)
			continue
		}
		d.gap(last, p, between)
		last, between = p, nil
	}
	d.end(last, append(between, bad...))
}

func before(a, b run) bool {
	return a.segment < b.segment || a.segment == b.segment && a.line < b.line
}

// stray explains a piece that is not on the main line.
func (d *diagnosis) stray(p run, main []run) {
	i, covered := slices.BinarySearchFunc(main, p, func(m, p run) int {
		switch {
		case m.last < p.first:
			return -1
		case m.first > p.last:
			return 1
		}
		return 0
	})
	f := d.at(p)
	switch {
	case covered && main[i].hash == p.hash:
		f.Kind = KindDuplicated
		f.Message = fmt.Sprintf("a copy of %s, which stands in %s line %d", span(p.first, p.last), d.name(main[i].segment), main[i].line)
	case covered:
		f.Kind = KindInserted
		f.Message = fmt.Sprintf("a forged line that claims to be %s; the chain goes through another", span(p.first, p.last))
	case p.n > 1 || d.linked(p):
		f.Kind = KindReordered
		f.Message = fmt.Sprintf("%s was written in another place than this", span(p.first, p.last))
	default:
		f.Kind = KindInserted
		f.Message = fmt.Sprintf("a forged line that claims to be %s and hangs on no other", span(p.first, p.last))
	}
	d.rep.add(f)
}

// linked says whether a neighbour by number is also a neighbour by hash.
func (d *diagnosis) linked(p run) bool {
	return slices.Contains(d.ends[p.first-1], p.prev) || slices.Contains(d.heads[p.last+1], p.hash)
}

// gap explains what is between two neighbours of the main line.
func (d *diagnosis) gap(a, b run, between []run) {
	var missing []interval
	if b.first > a.last+1 {
		missing = subtract(interval{a.last + 1, b.first - 1}, d.present)
	}
	if len(missing) == 0 && b.first == a.last+1 && b.prev != a.hash {
		f := d.at(b)
		f.Kind, f.Message = KindEdited, "the first record does not begin a chain"
		if a.last > 0 {
			f = d.at(run{segment: a.segment, line: a.line + a.n - 1, first: a.last, last: a.last})
			f.Kind = KindEdited
			f.Message = fmt.Sprintf("record %d has a hash that fits it, but record %d remembers another", a.last, b.first)
		}
		d.rep.add(f)
	}
	for _, m := range d.explain(between, missing) {
		f := d.at(b)
		f.Kind, f.Seq, f.To = KindDeleted, m.first, m.last
		f.Message = span(m.first, m.last) + " is missing before this line"
		if b.line == 1 && d.wholeFile(m) {
			f.Kind, f.Line = KindSegmentMissing, 0
			f.Message = fmt.Sprintf("the file with %s is missing before this one", span(m.first, m.last))
		}
		d.rep.add(f)
	}
}

// explain reports bad lines as edited records as far as records are missing, and as inserted
// beyond; it returns what is still missing.
func (d *diagnosis) explain(bad []run, missing []interval) []interval {
	var unknown []run
	for _, r := range bad {
		if !r.known {
			unknown = append(unknown, r)
			continue
		}
		f := d.at(r)
		hit := intersect(interval{r.first, r.last}, missing)
		if len(hit) == 0 {
			f.Kind, f.Message = KindInserted, fmt.Sprintf("a line that claims to be %s, which stands elsewhere, and whose hash is wrong", span(r.first, r.last))
		} else {
			f.Kind, f.Message = KindEdited, fmt.Sprintf("%s: the hash does not fit the stored bytes, or they are no JSON object", span(r.first, r.last))
			missing = subtractAll(missing, hit)
		}
		d.rep.add(f)
	}
	for _, r := range unknown {
		var took []interval
		took, missing = takeFirst(missing, uint64(r.n))
		f := d.at(r)
		if len(took) > 0 {
			f.Kind, f.Seq, f.To = KindEdited, took[0].first, took[len(took)-1].last
			f.Message = fmt.Sprintf("%s is no longer a record", span(f.Seq, f.To))
			d.rep.add(f)
		}
		if extra := uint64(r.n) - count(took); extra > 0 {
			f.Kind, f.Seq, f.To = KindInserted, 0, 0
			f.Line += int64(count(took))
			f.Message = fmt.Sprintf("%d line(s) that are no records", extra)
			d.rep.add(f)
		}
	}
	return missing
}

// end explains what stands after the main line, and what the heads say should.
func (d *diagnosis) end(a run, bad []run) {
	top := max(d.signed, d.witnessed, a.last)
	for _, r := range bad {
		// A damaged last record that no head covers is still a record that was edited.
		if r.known && r.first == top+1 || r.like && !r.known && r.n == 1 && top == a.last {
			top++
		}
	}
	var missing []interval
	if top > a.last {
		missing = subtract(interval{a.last + 1, top}, d.present)
	}
	for _, m := range d.explain(bad, missing) {
		f := Finding{Kind: KindCut, Segment: d.rep.Ledger, Seq: m.first, To: m.last}
		if n := len(d.segs); n > 0 {
			f.Segment, f.Line = d.segs[n-1].path, d.lines(n-1)
		}
		switch {
		case d.signed >= m.last && (d.wholeFile(m) || d.starts[m.first] && !d.hasActive()):
			f.Kind, f.Segment, f.Line = KindSegmentMissing, d.rep.Ledger, 0
			f.Message = fmt.Sprintf("the file with %s is missing", span(m.first, m.last))
		case d.signed >= m.last:
			f.Message = fmt.Sprintf("the ledger was cut: %s was signed and is missing at the end", span(m.first, m.last))
		case d.signed > a.last:
			f.Message = fmt.Sprintf("the ledger was cut: a witness knows of %s, missing at the end", span(m.first, m.last))
		default:
			f.Kind = KindRolledBack
			f.Message = fmt.Sprintf("an old copy was put back: a witness knows of %s, which neither the ledger nor its signed heads have", span(m.first, m.last))
		}
		d.rep.add(f)
	}
}

// wholeFile says whether exactly the records of one or more files are missing, and the files too.
func (d *diagnosis) wholeFile(m interval) bool {
	named := slices.ContainsFunc(d.segs, func(s openSegment) bool { return s.sealed && s.first <= m.last && m.first <= s.last })
	return !named && d.starts[m.last+1] && (m.first == 1 || d.starts[m.first])
}

func (d *diagnosis) hasActive() bool {
	return len(d.segs) > 0 && !d.segs[len(d.segs)-1].sealed
}

// at returns a finding that points at p.
func (d *diagnosis) at(p run) Finding {
	return Finding{Segment: d.name(p.segment), Line: p.line, Seq: p.first, To: p.last}
}

func (d *diagnosis) name(segment int) string {
	if segment < 0 {
		return d.rep.Ledger
	}
	return d.segs[segment].path
}

// lines counts the lines of a segment.
func (d *diagnosis) lines(segment int) int64 {
	var n int64
	for _, r := range d.runs {
		if r.segment == segment {
			n = max(n, r.line+r.n-1)
		}
	}
	return n
}
