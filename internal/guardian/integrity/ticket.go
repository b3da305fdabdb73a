package integrity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/shivx/shivx"
)

// Ticket announces changes. What changes at its paths while it is open goes into the baseline when it
// ends. A path that differed before is not covered, whatever is written there now, until it has been as
// the baseline says or a person has accepted it; nor is a copy of what was there.
type Ticket struct {
	// ID is made up when empty.
	ID string `json:"id"`
	// Paths are absolute; each is for itself and all below. "*" stands for any name or part of one,
	// "**" for any number of folders.
	Paths []string  `json:"paths"`
	Until time.Time `json:"until"`
	By    string    `json:"by"`
	Why   string    `json:"why"`
	// Opened is set by OpenTicket.
	Opened time.Time `json:"opened"`
}

// kept is a ticket as the baseline has it.
type kept struct {
	Ticket
	// Before are the entries that differed already when it was opened, by path.
	Before []entry `json:"before,omitempty"`
}

// differed says whether the path differed when the ticket was opened.
func (t *kept) differed(path string) bool {
	_, found := slices.BinarySearchFunc(t.Before, path, func(e entry, path string) int { return strings.Compare(e.path, path) })
	return found
}

// copied says whether it is a file with content that was wrong elsewhere when the ticket was opened: a
// release that moves a folder aside takes along what was planted in it. It is called with mu held.
func (w *Watch) copied(t *kept, s seen) bool {
	wrong := func(e entry) bool {
		was := w.base.find(e.path)
		return !was.hashed || was.sum != s.sum
	}
	return s.hashed && s.size > 0 && wrong(s.entry) && slices.ContainsFunc(t.Before, func(e entry) bool {
		return e.hashed && e.sum == s.sum && wrong(e)
	})
}

// mark is a path of a ticket.
type mark struct{ ticket, path string }

// mend notes that the path is as the baseline says: what was wrong before a ticket is over. A restart
// forgets it, and so tells of too much rather than too little. It is called with mu held.
func (w *Watch) mend(path string) {
	for i := range w.base.tickets {
		if t := &w.base.tickets[i]; t.differed(path) {
			w.mended[mark{t.ID, path}] = true
		}
	}
}

// OpenTicket looks at the ticket's paths and opens it.
func (w *Watch) OpenTicket(ctx context.Context, t Ticket) (Ticket, error) {
	w.saving.Lock()
	defer w.saving.Unlock()
	t.Opened = w.Now().UTC()
	starts, err := w.checkTicket(t)
	if err == nil {
		err = w.start(ctx)
	}
	if err == nil {
		err = w.checkTrust(ctx)
	}
	if err != nil {
		return Ticket{}, err
	}
	if t.ID == "" {
		t.ID = strings.ToLower(rand.Text()[:10])
	}
	if w.state.base.ticket(t.ID) != nil {
		return Ticket{}, shivx.Hint(fmt.Errorf("there is a ticket %q already", t.ID), "leave the ID out to have one made")
	}
	if err := w.sweepNow(ctx, starts); err != nil {
		return Ticket{}, fmt.Errorf("look at the ticket's paths: %w", err)
	}
	w.judging.Lock() // until the ticket holds: nothing slips in between
	defer w.judging.Unlock()
	next := *w.state.base
	next.tickets = append(slices.Clone(next.tickets), kept{Ticket: t, Before: w.differing(t)})
	_, err = w.save(ctx, &next, RecordTicketOpened, func(s *Summary) { s.Ticket = &t }, func(*deviation) bool { return true })
	w.wake()
	return t, err
}

// differing are the entries at the ticket's paths that differ already.
func (w *Watch) differing(t Ticket) []entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	var entries []entry
	for path, d := range w.deviations {
		if d.ticket == "" && t.covers(path) {
			entries = append(entries, d.now)
		}
	}
	sortEntries(entries)
	return entries
}

// sweepNow looks at what the starts cover and tells what is new.
func (w *Watch) sweepNow(ctx context.Context, starts []start) error {
	b := &batch{reader: w.newReader()}
	err := w.sweep(ctx, b, starts, true)
	w.finish(ctx, b)
	return err
}

// CloseTicket ends a ticket before its time: what has changed under it goes into the baseline.
func (w *Watch) CloseTicket(ctx context.Context, id, by string) (Summary, error) {
	if strings.TrimSpace(by) == "" {
		return Summary{}, shivx.Hint(errors.New("closing a ticket needs to say who closes it"), `set "by" to your name`)
	}
	w.saving.Lock()
	defer w.saving.Unlock()
	if err := w.start(ctx); err != nil {
		return Summary{}, err
	}
	return w.closeTicket(ctx, id, by, "closed")
}

// expire closes the tickets whose time is over.
func (w *Watch) expire(ctx context.Context) error {
	w.saving.Lock()
	defer w.saving.Unlock()
	var errs []error
	for _, t := range w.state.base.tickets {
		if w.state.trusted && !w.Now().Before(t.Until) {
			_, err := w.closeTicket(ctx, t.ID, shivx.Guardian, "its time is over")
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// closeTicket is called with saving held.
func (w *Watch) closeTicket(ctx context.Context, id, by, why string) (Summary, error) {
	t := w.state.base.ticket(id)
	if t == nil {
		return Summary{}, shivx.Hint(fmt.Errorf("there is no open ticket %q", id), "`shivx guardian status` lists them")
	}
	if err := w.checkTrust(ctx); err != nil {
		return Summary{}, err
	}
	if err := w.sweepNow(ctx, w.scope.starts(t.folders())); err != nil {
		return Summary{}, fmt.Errorf("look at the ticket's paths: %w", err)
	}
	w.judging.Lock()
	defer w.judging.Unlock()
	changes := map[string]entry{}
	w.mu.Lock()
	for path, d := range w.deviations {
		if d.ticket == id {
			changes[path] = d.now
		}
	}
	w.mu.Unlock()
	next := w.next(w.state.base.with(changes), by, fmt.Sprintf("ticket %s (%s): %s", id, t.Why, why))
	for _, other := range w.state.base.tickets {
		if other.ID != id {
			next.tickets = append(next.tickets, other)
		}
	}
	sum, err := w.save(ctx, next, RecordTicketClosed, func(s *Summary) { s.Ticket = &t.Ticket }, func(d *deviation) bool { return d.ticket != id })
	if err == nil {
		w.mu.Lock()
		maps.DeleteFunc(w.mended, func(m mark, _ bool) bool { return m.ticket == id }) // the next may have its name
		w.mu.Unlock()
	}
	w.wake()
	return sum, err
}

// checkTrust refuses to build on a baseline that was tampered with. It is called with saving held.
func (w *Watch) checkTrust(ctx context.Context) error {
	w.checkSeal(ctx, &batch{})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state.fresh {
		return shivx.Hint(errors.New("nothing is watched"), "name paths in guardian.integrity.paths")
	}
	if len(w.seals) > 0 || !w.state.trusted {
		return shivx.Hint(errors.New("the baseline was tampered with"),
			"put it back from a backup, or look at what has changed and make a new one with `shivx guardian baseline`")
	}
	return nil
}

// checkTicket says what is wrong with a ticket, and where to look for what it covers.
func (w *Watch) checkTicket(t Ticket) ([]start, error) {
	longest := t.Opened.Add(w.Rules.MaxTicket)
	switch {
	case strings.TrimSpace(t.By) == "":
		return nil, shivx.Hint(errors.New("a ticket needs to say who opens it"), `set "by" to your name`)
	case !t.Until.After(t.Opened):
		return nil, shivx.Hint(errors.New("the ticket's time is over"), `set "until" to a time to come`)
	case t.Until.After(longest):
		return nil, shivx.Hint(fmt.Errorf("the ticket is open for longer than %s", w.Rules.MaxTicket),
			"end it earlier, or raise guardian.integrity.max_ticket")
	case len(t.Paths) == 0:
		return nil, shivx.Hint(errors.New("a ticket needs paths"), `set "paths" to what will change`)
	}
	var all []start
	for i, p := range t.Paths {
		if !filepath.IsAbs(p) || !doublestar.ValidatePattern(p) {
			return nil, shivx.Hint(fmt.Errorf("%q is neither an absolute path nor a pattern of such", p), `write one such as "/opt/app" or "/opt/app/*.conf"`)
		}
		folder := t.folders()[i]
		starts := w.scope.starts([]string{folder})
		if len(starts) == 0 || within(folder, w.Dir) {
			return nil, shivx.Hint(fmt.Errorf("nothing is watched at %q", p), "no ticket is needed there, or the path is mistyped")
		}
		all = append(all, starts...)
	}
	return all, nil
}

// hasPattern says whether a path of a ticket is a pattern.
func hasPattern(p string) bool { return strings.ContainsAny(p, `*?[{\`) }

// folders are what to look at for each path.
func (t Ticket) folders() []string {
	folders := make([]string, len(t.Paths))
	for i, p := range t.Paths {
		folders[i] = filepath.Clean(p)
		if hasPattern(p) {
			folders[i], _ = doublestar.SplitPattern(p)
		}
	}
	return folders
}

// covers says whether the ticket is for the path, or for a folder above it.
func (t Ticket) covers(path string) bool {
	return slices.ContainsFunc(t.Paths, func(p string) bool {
		if !hasPattern(p) {
			return within(path, filepath.Clean(p))
		}
		for at := path; at != "/"; at = filepath.Dir(at) {
			if ok, _ := doublestar.Match(p, at); ok {
				return true
			}
		}
		return false
	})
}

func (b *baseline) ticket(id string) *kept {
	if i := slices.IndexFunc(b.tickets, func(t kept) bool { return t.ID == id }); i >= 0 {
		return &b.tickets[i]
	}
	return nil
}

func (b *baseline) ticketBy(id string) string {
	if t := b.ticket(id); t != nil {
		return t.By
	}
	return ""
}

// ticketOf returns the ID of the ticket that has announced what was seen, "" for none. The kernel's own
// time of the change must lie within the ticket's, as nobody may have looked in time. It is called with
// mu held; known is what is known of the path.
func (w *Watch) ticketOf(s seen, known *deviation) string {
	when := w.Now()
	if s.ctime != 0 {
		when = time.Unix(0, s.ctime)
	}
	for i := range w.base.tickets {
		t := &w.base.tickets[i]
		if !t.covers(s.path) || w.copied(t, s) || t.differed(s.path) && !w.mended[mark{t.ID, s.path}] {
			continue
		}
		if !when.After(t.Until) || known != nil && known.ticket == t.ID && known.now.facts == s.facts {
			return t.ID
		}
	}
	return ""
}
