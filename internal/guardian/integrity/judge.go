package integrity

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
)

// A path that changes again and again is told of at most repeats times in repeatSpan between two
// verifications of everything.
const (
	repeats    = 5
	repeatSpan = time.Minute
)

// deviation is one path that differs from the baseline.
type deviation struct {
	was, now entry
	// ticket that announced it; "": none.
	ticket string
	// told is true once Found knows of it. finding is how it was told; alone how it would be without
	// the other end of its renaming.
	told           bool
	finding, alone Finding
	other          *deviation
	// since is when the tellings were counted from.
	since  time.Time
	counts int
}

// batch is what is found in one go. Added and removed entries wait for its end, as they may turn out
// to be one that was renamed.
type batch struct {
	reader *reader
	// swift is true for what the kernel has told of.
	swift   bool
	waiting []*deviation
	entries int
	told    int
}

// look compares an entry as it was seen with the baseline. When that makes a difference it is looked
// at once more, with nobody else judging, so that an older sight never overrules a newer one.
func (w *Watch) look(ctx context.Context, b *batch, s seen) {
	if w.known(s, b.swift) {
		return
	}
	root, ok := w.scope.owner(s.path)
	if !ok {
		return
	}
	w.judging.Lock()
	defer w.judging.Unlock()
	w.judge(ctx, b, b.reader.observe(s.path, root))
}

// known says whether what was seen changes nothing. What waits for the end of a verification, which may
// be long, is told at once when the kernel tells of it.
func (w *Watch) known(s seen, swift bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.deviations[s.path]
	if len(compare(w.base.find(s.path).facts, s.facts)) == 0 {
		w.mend(s.path)
		return d == nil
	}
	return d != nil && d.now.facts == s.facts && d.ticket == w.ticketOf(s, d) && (d.told || d.ticket != "" || !swift)
}

// judge is called with judging held.
func (w *Watch) judge(ctx context.Context, b *batch, s seen) {
	w.mu.Lock()
	was, old := w.base.find(s.path), w.deviations[s.path]
	kinds := compare(was.facts, s.facts)
	if len(kinds) == 0 {
		delete(w.deviations, s.path)
		told := old.end()
		w.mu.Unlock()
		if told != nil {
			w.record(ctx, RecordResolved, Resolved{Path: told.Path, Kind: told.Kind, At: w.Now(), Found: told.At})
		}
		return
	}
	d := &deviation{was: was, now: s.entry, ticket: w.ticketOf(s, old), since: w.Now()}
	if old != nil {
		same := old.now.facts == d.now.facts && old.ticket == d.ticket
		if same && !old.told && old.ticket == "" {
			b.waiting = append(b.waiting, old)
		}
		if same || b.swift && old.ticket == d.ticket && old.alone.Kind == kinds[0] && old.tires(d.since) {
			w.mu.Unlock()
			return
		}
		if d.since.Sub(old.since) < repeatSpan {
			d.since, d.counts = old.since, old.counts
		}
	}
	d.counts++
	d.finding = newFinding(was, s, kinds, w.Now())
	d.alone = d.finding
	w.deviations[s.path] = d
	by := w.base.ticketBy(d.ticket)
	old.end()
	w.mu.Unlock()
	switch {
	case d.ticket != "":
		w.record(ctx, RecordExpected, Expected{Ticket: d.ticket, By: by, Change: d.finding})
	case kinds[0] == KindAdded || kinds[0] == KindRemoved:
		b.waiting = append(b.waiting, d)
	default:
		w.tell(ctx, b, d)
	}
}

// tires says whether the path was told of often enough for now.
func (d *deviation) tires(now time.Time) bool {
	return d.counts >= repeats && now.Sub(d.since) < repeatSpan
}

// end is for a deviation that is none any more, or another: it returns what was told of it, and the
// other end of a renaming stands alone from now on.
func (d *deviation) end() *Finding {
	if d == nil {
		return nil
	}
	f := d.finding
	if d.other != nil {
		d.other.finding, d.other.other, d.other = d.other.alone, nil, nil
	}
	if !d.told {
		return nil
	}
	return &f
}

func newFinding(was entry, s seen, kinds []Kind, at time.Time) Finding {
	f := Finding{
		Path: s.path, Kind: kinds[0], ExpectedHash: was.hash(), CurrentHash: s.hash(), Details: differences(was, s.entry), At: at,
	}
	if len(kinds) > 1 {
		f.Details["kinds"] = kinds
	}
	if f.Kind == KindContent && was.size == s.size && was.mtime == s.mtime {
		f.Details["same_size_and_mtime"] = true
	}
	if s.unstable {
		f.Details["unstable"] = true
	}
	return f
}

// tell is called with judging held.
func (w *Watch) tell(ctx context.Context, b *batch, d *deviation) {
	w.mu.Lock()
	d.told = true
	f := d.finding
	w.mu.Unlock()
	b.told++
	w.Logger.Warn("tampering found", "path", f.Path, "kind", f.Kind)
	w.Found(ctx, f)
}

// record is for records that nothing waits for.
func (w *Watch) record(ctx context.Context, kind string, details any) {
	if err := w.Record(ctx, kind, details); err != nil {
		w.Logger.Error("the ledger did not take a record about integrity", "kind", kind, "error", err)
	}
}

// finish tells what waited: an entry that is gone and a new one with the same content as one renaming.
func (w *Watch) finish(ctx context.Context, b *batch) {
	if len(b.waiting) == 0 {
		return
	}
	w.judging.Lock()
	defer w.judging.Unlock()
	w.mu.Lock()
	open := slices.DeleteFunc(b.waiting, func(d *deviation) bool { return d.told || w.deviations[d.now.path] != d })
	pairRenamed(open)
	open = slices.DeleteFunc(open, func(d *deviation) bool {
		second := d.other != nil && d.was.form == gone
		d.told = d.told || second // with the first
		return second
	})
	w.mu.Unlock()
	b.waiting = nil
	slices.SortStableFunc(open, func(x, y *deviation) int { return strings.Compare(x.now.path, y.now.path) })
	for _, d := range open {
		w.tell(ctx, b, d)
	}
}

// pairRenamed joins the two ends of each renaming.
func pairRenamed(open []*deviation) {
	added := map[facts][]*deviation{}
	folders := map[string]*deviation{}
	for _, d := range open {
		switch {
		case d.was.form == folderForm || d.now.form == folderForm:
			folders[d.now.path] = d
		case d.was.form == gone && (d.now.hashed || d.now.form == symlink):
			k := renameKey(d.now.facts)
			added[k] = append(added[k], d)
		}
	}
	for _, d := range open {
		k := renameKey(d.was.facts)
		if d.now.form != gone || d.was.form == folderForm || len(added[k]) == 0 {
			continue
		}
		from, to := d, added[k][0]
		added[k] = added[k][1:]
		for from != nil && to != nil && from.other == nil && to.other == nil && from.now.form == gone && to.was.form == gone {
			pair(from, to)
			from, to = folders[parent(from.now.path)], folders[parent(to.now.path)]
		}
	}
}

// renameKey is what an entry keeps when it is renamed, whatever else is done to it.
func renameKey(f facts) facts {
	return facts{form: f.form, hashed: f.hashed, size: f.size, sum: f.sum, link: f.link}
}

func parent(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 0)] }

func pair(from, to *deviation) {
	from.other, to.other = to, from
	from.finding.Kind, to.finding.Kind = KindRenamed, KindRenamed
	from.finding.CurrentHash, to.finding.ExpectedHash = to.now.hash(), from.was.hash()
	from.finding.Details, to.finding.Details = maps.Clone(from.finding.Details), maps.Clone(to.finding.Details)
	from.finding.Details["to"], to.finding.Details["from"] = to.now.path, from.now.path
}
