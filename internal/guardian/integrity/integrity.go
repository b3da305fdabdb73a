// Package integrity finds tampering: entries of watched folders that are not what a signed baseline
// says.
//
// The baseline holds the facts of every entry: type, mode, owner, the SHA-256 of its content, the
// target of a link. The kernel tells of changes through inotify, and what it tells of is looked at
// within a fraction of a second; every so often everything is read again, whatever sizes and times
// say, because an edit can hide from both. A change is tampering unless a ticket has announced it.
//
// The baseline can be edited and signed again by whoever is root. So its root hash is recorded in a
// tamper-evident ledger before the baseline counts (Options.Record), and comes back at the next start
// (Options.Anchor); while the agent runs, the copy in its memory is what counts.
package integrity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// Options of Open.
type Options struct {
	Rules config.Integrity
	// Dir holds the baseline and its key; it is made. It is never part of what is watched.
	Dir string
	// Anchor is the field "root" of the newest record that Record was given and that has one; "": none.
	Anchor string
	// Found is told of each finding, in order. It may call Status, and no other method of the Watch.
	Found func(ctx context.Context, f Finding)
	// Record appends to the ledger and returns once the record is safe. What holds for Found holds
	// for it. The kinds are the Record constants.
	Record func(ctx context.Context, kind string, details any) error
	Logger *slog.Logger
	// Now is the clock of tickets and reports; nil: time.Now.
	Now func() time.Time
}

// Kinds of records. Those whose details have a field "root" change the baseline.
const (
	// RecordCreated: details Summary. The first baseline, taken on trust.
	RecordCreated = "baseline_created"
	// RecordAdopted: details Summary. A signed baseline was there, and no record of it.
	RecordAdopted = "baseline_adopted"
	// RecordScope: details Summary. The configuration names other paths; what is new is taken on trust.
	RecordScope = "baseline_scope"
	// RecordRebased: details Summary. A person has accepted what is there.
	RecordRebased = "baseline_rebased"
	// RecordTicketOpened and RecordTicketClosed: details Summary with Ticket.
	RecordTicketOpened = "ticket_opened"
	RecordTicketClosed = "ticket_closed"
	// RecordExpected: details Expected. A change that a ticket has announced.
	RecordExpected = "expected_change"
	// RecordResolved: details Resolved. What was found is again as the baseline says.
	RecordResolved = "resolved"
	// RecordUnwatched: details Watching. The kernel does not tell of everything; verification does.
	RecordUnwatched = "watch_incomplete"
)

// Watch compares what is there with the baseline. Its methods may be called at the same time.
type Watch struct {
	Options
	scope *scope
	store *store
	queue *queue
	// nice is lowPriority.
	nice int
	// again asks for a verification of everything before it is due.
	again chan struct{}
	// woken tells Run that tickets have changed.
	woken chan struct{}

	// saving is held by who changes the baseline, and by who checks the files against memory.
	saving sync.Mutex
	// judging is held while one difference is looked at again and told, so that findings and their
	// resolutions come in the order of what was seen. It is taken after saving.
	judging sync.Mutex
	// verifying lets one verification of everything run at a time.
	verifying sync.Mutex

	// state is what the baseline's files should be, and is guarded by saving.
	state   loaded
	started bool

	// mu guards all below, for a short time each.
	mu         sync.Mutex
	base       *baseline
	deviations map[string]*deviation
	// mended are the paths that differed before a ticket, and were as they should be since.
	mended map[mark]bool
	// seals are the open findings about the baseline's own files.
	seals    map[string]Finding
	last     Report
	watching Watching
	notifier *notifier
}

// Open reads the baseline; nothing is watched before Run. A baseline that is not what was recorded is
// no error: it is found by Run and Verify. A path that is new in the configuration, and a link to what no
// path covers, is an error.
func Open(o Options) (*Watch, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Found == nil || o.Record == nil {
		return nil, errors.New("integrity: Found and Record are needed")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("integrity: %w", err)
	}
	o.Dir = dir
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, shivx.Hint(fmt.Errorf("make the baseline's folder: %w", err), "the agent needs to write there")
	}
	s, err := newScope(o.Rules.Paths, o.Rules.Exclude, dir)
	if err != nil {
		return nil, err
	}
	w := &Watch{
		Options: o, scope: s, store: &store{dir: dir, disk: folder{dir}}, queue: newQueue(), nice: lowPriority,
		again: make(chan struct{}, 1), woken: make(chan struct{}, 1),
		base: &baseline{}, deviations: map[string]*deviation{}, mended: map[mark]bool{}, seals: map[string]Finding{},
	}
	if w.state, err = w.store.load(o.Anchor); err != nil {
		return nil, err
	}
	w.base = w.state.base
	if err := w.refuseLinks(); err != nil {
		return nil, err
	}
	return w, nil
}

// Finding is one entry that is not as it should be.
type Finding struct {
	Path string `json:"path"`
	// Kind is the gravest of what differs; Details has all.
	Kind Kind `json:"kind"`
	// ExpectedHash and CurrentHash are SHA-256 in hexadecimal digits; "" where there is none.
	ExpectedHash string `json:"expected_hash,omitempty"`
	CurrentHash  string `json:"current_hash,omitempty"`
	// Details has the facts that differ, each with what was expected and what is there.
	Details map[string]any `json:"details,omitempty"`
	At      time.Time      `json:"at"`
}

// Kind of a finding.
type Kind string

// The kinds of findings.
const (
	KindContent Kind = "content"
	KindAdded   Kind = "added"
	KindRemoved Kind = "removed"
	// KindMode is a change of permissions, also by capabilities or access control lists.
	KindMode  Kind = "mode"
	KindOwner Kind = "owner"
	KindType  Kind = "type"
	// KindSymlink is another target, or a link in the place of something else.
	KindSymlink Kind = "symlink"
	// KindRenamed has the new path in Details["to"].
	KindRenamed Kind = "renamed"
	// KindBaseline is about the baseline or its key.
	KindBaseline Kind = "baseline"
)

// Resolved is the details of RecordResolved.
type Resolved struct {
	Path string    `json:"path"`
	Kind Kind      `json:"kind"`
	At   time.Time `json:"at"`
	// Found is when it was found.
	Found time.Time `json:"found"`
}

// Expected is the details of RecordExpected.
type Expected struct {
	Ticket string  `json:"ticket"`
	By     string  `json:"by"`
	Change Finding `json:"change"`
}

// Summary says what a baseline became.
type Summary struct {
	// Root is the hash over the baseline: the next Options.Anchor.
	Root string    `json:"root"`
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Why  string    `json:"why,omitempty"`
	// Before is the root of the baseline before.
	Before  string `json:"before,omitempty"`
	Entries int    `json:"entries"`
	// Paths and Exclude are what the baseline covers.
	Paths   []string `json:"paths"`
	Exclude []string `json:"exclude,omitempty"`
	// Added, Removed and Changed count the entries that differ from the baseline before.
	Added   int `json:"added,omitempty"`
	Removed int `json:"removed,omitempty"`
	Changed int `json:"changed,omitempty"`
	// Differ are some of their paths.
	Differ []string `json:"differ,omitempty"`
	// Unreadable counts entries whose content could not be read, Unstable those that were written
	// while they were read: exclude the latter.
	Unreadable int `json:"unreadable,omitempty"`
	Unstable   int `json:"unstable,omitempty"`
	// Ticket that was opened or closed.
	Ticket *Ticket `json:"ticket,omitempty"`
}
