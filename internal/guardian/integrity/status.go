package integrity

import "time"

// openShown is how many findings a status lists.
const openShown = 100

// Status is the state of a Watch.
type Status struct {
	// Entries, Root, CreatedAt, By and Why are those of the baseline; Trusted is false when it is not
	// the one that was recorded.
	Entries   int       `json:"entries"`
	Root      string    `json:"root"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	By        string    `json:"by,omitempty"`
	Why       string    `json:"why,omitempty"`
	Trusted   bool      `json:"trusted"`
	// Last is the last verification of everything; its findings are left out.
	Last     Report   `json:"last"`
	Watching Watching `json:"watching"`
	Tickets  []Ticket `json:"tickets,omitempty"`
	// Findings is how many are open, Open lists the first of them by path.
	Findings int       `json:"findings"`
	Open     []Finding `json:"open,omitempty"`
}

// Watching says how much the kernel tells of.
type Watching struct {
	// Watched counts folders and files, Unwatched those that the kernel did not take.
	Watched   int    `json:"watched"`
	Unwatched int    `json:"unwatched"`
	Error     string `json:"error,omitempty"`
	// Overflows counts how often more had changed than could be told.
	Overflows int `json:"overflows"`
}

// Status returns at once.
func (w *Watch) Status() Status {
	open := w.findings()
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.base
	s := Status{
		Entries: len(b.entries), Root: b.root, CreatedAt: b.At, By: b.By, Why: b.Why, Trusted: b.root != "" && len(w.seals) == 0,
		Last: w.last, Watching: w.watching, Findings: len(open), Open: open[:min(len(open), openShown)],
	}
	if w.notifier != nil {
		s.Watching.Watched, s.Watching.Unwatched, _ = w.notifier.counts()
	}
	for _, t := range b.tickets {
		s.Tickets = append(s.Tickets, t.Ticket)
	}
	return s
}
