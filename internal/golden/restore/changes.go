package restore

import (
	"slices"
	"sync"

	"github.com/shivx/shivx/internal/golden/format"
)

// Kind says what a restore does to a path.
type Kind string

// The kinds.
const (
	// Added: the golden has it, the host does not.
	Added Kind = "added"
	// Removed: the host has it, the golden does not.
	Removed Kind = "removed"
	// Content: its bytes, its type or its links differ.
	Content Kind = "content"
	// Metadata: only its owner, mode, time or attributes differ.
	Metadata Kind = "metadata"
)

// Change is one path that differs. A folder that is added or removed stands for all in it.
type Change struct {
	Path string      `json:"path"`
	Kind Kind        `json:"kind"`
	Type format.Type `json:"type"`
	// Entries counts the path and what is below it, Bytes their sizes.
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
	// Detail is for people: what it is and what it was.
	Detail string `json:"detail,omitempty"`
}

// Count sums up changes of one kind.
type Count struct {
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
}

// Changes says what differs, or what a restore did. A whole restore replaces without comparing: it
// has Written only.
type Changes struct {
	Added    Count `json:"added"`
	Removed  Count `json:"removed"`
	Content  Count `json:"content"`
	Metadata Count `json:"metadata"`
	// Same is what needs no change.
	Same Count `json:"same"`
	// Written is what was staged.
	Written Count `json:"written"`
	// List is in the order of the paths; More counts those beyond its first 100,000.
	List []Change `json:"list,omitempty"`
	More int64    `json:"more,omitempty"`
	// Kept are the folders that hold the old state after Finish.
	Kept []string `json:"kept,omitempty"`
	// Notes are for people: what the caller of a restore does besides.
	Notes []string `json:"notes,omitempty"`
}

// Any says whether something differs.
func (c *Changes) Any() bool {
	return c.Added.Entries+c.Removed.Entries+c.Content.Entries+c.Metadata.Entries > 0
}

// mostListed bounds the memory of a list of changes.
const mostListed = 100_000

// tally gathers changes from all workers.
type tally struct {
	mu sync.Mutex
	c  Changes
}

func (t *tally) add(c Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := &t.c.Content
	switch c.Kind {
	case Added:
		n = &t.c.Added
	case Removed:
		n = &t.c.Removed
	case Metadata:
		n = &t.c.Metadata
	case Content:
	}
	n.Entries += c.Entries
	n.Bytes += c.Bytes
	if len(t.c.List) < mostListed {
		t.c.List = append(t.c.List, c)
		return
	}
	t.c.More++
}

// same counts an entry that needs no change.
func (t *tally) same(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.c.Same.Entries++
	t.c.Same.Bytes += bytes
}

func (t *tally) result() Changes {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.c.List, func(a, b Change) int { return format.ComparePaths(a.Path, b.Path) })
	return t.c
}
