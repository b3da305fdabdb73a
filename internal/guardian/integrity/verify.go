package integrity

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Report is what a verification of everything has found.
type Report struct {
	At time.Time `json:"at"`
	// Took is in seconds, Bytes is what was hashed, Entries what was looked at.
	Took    float64 `json:"took_seconds"`
	Entries int     `json:"entries"`
	Bytes   int64   `json:"bytes"`
	// Unfollowed are watched paths that are links to what no path covers: the link is watched, and
	// nothing below it.
	Unfollowed []string `json:"unfollowed,omitempty"`
	// New counts the findings that were not known before.
	New int `json:"new"`
	// Findings are all that are open, by path; left out in a status.
	Findings []Finding `json:"findings,omitzero"`
}

// Verify reads everything and tells of each difference that is new. At the first start it makes the
// baseline.
func (w *Watch) Verify(ctx context.Context) (Report, error) {
	w.verifying.Lock()
	defer w.verifying.Unlock()
	begin, at := time.Now(), w.Now()
	b := &batch{}
	w.saving.Lock()
	err := w.start(ctx)
	w.saving.Unlock()
	if err != nil {
		return Report{}, err
	}
	if err := w.expire(ctx); err != nil {
		w.Logger.Error("a ticket has ended and could not be closed", "error", err)
	}
	w.saving.Lock()
	w.checkSeal(ctx, b)
	w.saving.Unlock()
	w.watchAnew()
	aside(w.nice, func() {
		b.reader = w.newReader()
		err = w.sweep(ctx, b, w.scope.starts(w.scope.roots), true)
	})
	w.finish(ctx, b)
	r := Report{At: at, Took: time.Since(begin).Seconds(), Entries: b.entries, Bytes: b.reader.bytes, New: b.told, Findings: w.findings()}
	r.Unfollowed = w.tellLinks()
	if err != nil {
		return r, err
	}
	w.mu.Lock()
	w.last = r
	w.last.Findings = nil
	w.mu.Unlock()
	w.tellUnwatched(ctx)
	return r, nil
}

// sweep looks at where the starts are and, deep, at all below, also at what should be there.
func (w *Watch) sweep(ctx context.Context, b *batch, starts []start, deep bool) error {
	w.mu.Lock()
	base := w.base
	w.mu.Unlock()
	met := make([]bool, len(base.entries))
	strangers := map[string]bool{}
	for _, from := range starts {
		err := b.reader.walk(ctx, w.scope, from, deep, func(s seen) {
			b.entries++
			if i, ok := base.index(s.path); ok {
				met[i] = true
			} else {
				strangers[s.path] = true
			}
			w.look(ctx, b, s)
		})
		if err != nil {
			return err
		}
	}
	if !deep {
		return nil
	}
	for _, from := range starts {
		i, j := base.below(from.path)
		for ; i < j; i++ {
			if path := base.entries[i].path; !met[i] && w.scope.holds(path, from.root) {
				w.look(ctx, b, seen{entry: entry{path: path}})
			}
		}
		for _, path := range w.strangersBelow(from.path, strangers) {
			w.look(ctx, b, seen{entry: entry{path: path}})
		}
	}
	return ctx.Err()
}

// strangersBelow are the paths below one that should not have been there, and were not met now.
func (w *Watch) strangersBelow(path string, met map[string]bool) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var paths []string
	for p, d := range w.deviations {
		if d.was.form == gone && within(p, path) && !met[p] {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}

// findings are the open ones, by path.
func (w *Watch) findings() []Finding {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]Finding, 0, len(w.seals)+len(w.deviations))
	for _, f := range w.seals {
		all = append(all, f)
	}
	for _, d := range w.deviations {
		if d.told && (d.other == nil || d.was.form != gone) {
			all = append(all, d.finding)
		}
	}
	slices.SortFunc(all, func(a, b Finding) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// newReader makes a reader that has the folders it opens watched.
func (w *Watch) newReader() *reader {
	r := newReader()
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.notifier; n != nil {
		r.folder, r.file = n.folder, n.file
	}
	return r
}

// collect looks at everything, for a new baseline.
func (w *Watch) collect(ctx context.Context) (entries []entry, unstable int, err error) {
	aside(w.nice, func() {
		r := w.newReader()
		for _, from := range w.scope.starts(w.scope.roots) {
			err = r.walk(ctx, w.scope, from, true, func(s seen) {
				if s.form == gone {
					return
				}
				entries = append(entries, s.entry)
				if s.unstable {
					unstable++
				}
			})
			if err != nil {
				return
			}
		}
	})
	sortEntries(entries)
	return entries, unstable, err
}
