package integrity

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/shivx/shivx"
)

// Rebase makes a baseline of what is there now, and so accepts it: all open findings end. It is
// recorded before it counts.
func (w *Watch) Rebase(ctx context.Context, by, why string) (Summary, error) {
	if strings.TrimSpace(by) == "" {
		return Summary{}, shivx.Hint(errors.New("a new baseline needs to say who accepts it"), `set "by" to your name`)
	}
	w.saving.Lock()
	defer w.saving.Unlock()
	entries, unstable, err := w.collect(ctx)
	if err != nil {
		return Summary{}, fmt.Errorf("make a baseline: %w", err)
	}
	next := w.next(entries, by, why)
	for _, t := range w.state.base.tickets {
		t.Before = nil // what there was is accepted
		next.tickets = append(next.tickets, t)
	}
	w.started = true
	sum, err := w.replace(ctx, next, RecordRebased, unstable)
	if err != nil {
		return sum, err
	}
	w.checkSeal(ctx, &batch{})
	w.requestVerification() // of what has changed since it was looked at
	return sum, nil
}

// nothing of what is known to differ stays.
func nothing(*deviation) bool { return false }

// replace saves a baseline that takes the place of all that was known. It is called with saving held.
func (w *Watch) replace(ctx context.Context, next *baseline, kind string, unstable int) (Summary, error) {
	w.judging.Lock()
	defer w.judging.Unlock()
	return w.save(ctx, next, kind, func(s *Summary) { s.Unstable = unstable }, nothing)
}

// take puts a baseline in force. It is called with judging held.
func (w *Watch) take(b *baseline, stay func(*deviation) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.base = b
	maps.DeleteFunc(w.deviations, func(_ string, d *deviation) bool { return !stay(d) })
}

func (w *Watch) next(entries []entry, by, why string) *baseline {
	return &baseline{entries: entries, head: head{At: w.Now().UTC(), By: by, Why: why, Paths: w.scope.roots, Exclude: w.scope.exclude}}
}

// save makes next the baseline: written, recorded, put in its place, in force. What is known to differ
// is forgotten, and found anew if it still does, but for what stay says. It is called with saving and
// judging held.
func (w *Watch) save(ctx context.Context, next *baseline, kind string, more func(*Summary), stay func(*deviation) bool) (Summary, error) {
	sum, err := w.store.save(next)
	if err != nil {
		return Summary{}, err
	}
	s := next.summary(w.state.base)
	more(&s)
	if err := w.Record(ctx, kind, s); err != nil {
		return Summary{}, shivx.Hint(fmt.Errorf("record the new baseline: %w", err), "the old one holds; try again when the ledger can be written")
	}
	w.state = loaded{base: next, anchor: next.root, trusted: true}
	w.take(next, stay)
	w.Logger.Info("baseline", "event", kind, "root", s.Root, "entries", s.Entries)
	return s, w.store.commit(sum)
}

// start makes the first baseline, or fits the one that is there to the configuration. It is called
// with saving held.
func (w *Watch) start(ctx context.Context) (err error) {
	switch {
	case w.started:
		return nil
	case w.state.fresh && len(w.scope.roots) == 0:
	case w.state.fresh:
		err = w.create(ctx)
	case !w.state.trusted:
		err = w.provisional(ctx)
	case !w.scope.same(w.base.Paths, w.base.Exclude):
		err = w.rescope(ctx)
	case w.state.adopt:
		err = w.Record(ctx, RecordAdopted, w.base.summary(&baseline{}))
	}
	w.started = err == nil
	return err
}

func (w *Watch) create(ctx context.Context) error {
	entries, unstable, err := w.collect(ctx)
	if err != nil {
		return fmt.Errorf("make the first baseline: %w", err)
	}
	next := w.next(entries, shivx.Guardian, "the first start with these paths")
	s, err := w.replace(ctx, next, RecordCreated, unstable)
	if err == nil && s.Unstable+s.Unreadable > 0 {
		w.Logger.Warn("some files could not be read as they are: exclude what is written all the time",
			"written_meanwhile", s.Unstable, "unreadable", s.Unreadable)
	}
	return err
}

// provisional compares with what is there now, in memory, when no baseline of use is left: what
// changes from now on is found all the same.
func (w *Watch) provisional(ctx context.Context) error {
	if len(w.state.base.entries) > 0 {
		return nil // forged as it may be, what it says otherwise than the disk is worth telling
	}
	entries, _, err := w.collect(ctx)
	if err != nil {
		return fmt.Errorf("look at what is there: %w", err)
	}
	w.judging.Lock()
	defer w.judging.Unlock()
	w.take(&baseline{entries: entries}, nothing)
	return nil
}

// rescope fits the baseline to other paths: entries that were covered stay as they were, those that
// were not are taken on trust, like at the first start.
func (w *Watch) rescope(ctx context.Context) error {
	old, err := newScope(w.base.Paths, w.base.Exclude, w.Dir)
	if err != nil {
		return err
	}
	found, unstable, err := w.collect(ctx)
	if err != nil {
		return fmt.Errorf("fit the baseline to the configuration: %w", err)
	}
	var entries []entry
	for _, e := range w.base.entries {
		if w.scope.covers(e.path) {
			entries = append(entries, e)
		}
	}
	for _, e := range found {
		if !old.covers(e.path) {
			entries = append(entries, e)
		}
	}
	sortEntries(entries)
	next := w.next(entries, shivx.Guardian, "the configuration names other paths")
	next.tickets = w.base.tickets
	_, err = w.replace(ctx, next, RecordScope, unstable)
	return err
}
