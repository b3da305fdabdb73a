package ingest

import (
	"sync"
	"time"
)

// LogStatus is how the reading of a log goes.
type LogStatus struct {
	Name string `json:"name"`
	// Path is the file, the units of the journal, or the address that is listened on.
	Path   string `json:"path"`
	Format string `json:"format"`
	Lines  uint64 `json:"lines"`
	Events uint64 `json:"events"`
	// Cut counts lines that were left out because they were too long or broken off.
	Cut uint64 `json:"cut,omitempty"`
	// Dropped counts messages from the network that were refused: of a sender who may not send, of no
	// known program, malformed, or more than could be taken.
	Dropped uint64 `json:"dropped,omitempty"`
	// Lag is how many bytes are written and not read.
	Lag int64 `json:"lag"`
	// LastRead is when a line was read last, LastEvent when one said something.
	LastRead  time.Time `json:"last_read,omitzero"`
	LastEvent time.Time `json:"last_event,omitzero"`
	// Silent is true while nothing has been read for longer than the log's quiet_after.
	Silent bool `json:"silent"`
	// Error is why nothing can be read or taken, with what to do; "" when all is well.
	Error string `json:"error,omitempty"`
}

// status is a LogStatus that is written by one goroutine and read by others.
type status struct {
	mu sync.Mutex
	s  LogStatus
}

func (s *status) get() LogStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.s
}

func (s *status) set(change func(*LogStatus)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.s)
}

// quiet notices when a log that should speak does not.
type quiet struct {
	after time.Duration
	since time.Time
	// silent is set once it was told.
	silent bool
}

// heard notes that something was read; it returns how long nothing was, when that had been told.
func (q *quiet) heard(now time.Time) (time.Duration, bool) {
	was, since := q.silent, q.since
	q.since, q.silent = now, false
	return now.Sub(since), was
}

// check returns true once when the time is over.
func (q *quiet) check(now time.Time) bool {
	if q.after <= 0 || q.silent || now.Sub(q.since) < q.after {
		return false
	}
	q.silent = true
	return true
}
