package checkpoint

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/format"
)

// ChangeKind says what happened to an entry since the checkpoint.
type ChangeKind string

// The kinds of change; they are the words of [config.Rule.Allow].
const (
	Added   ChangeKind = "added"
	Removed ChangeKind = "removed"
	Changed ChangeKind = "changed"
	Shrunk  ChangeKind = "shrunk"
)

// Change is one entry that differs.
type Change struct {
	Path string     `json:"path"`
	Kind ChangeKind `json:"kind"`
	// Detail is for people: sizes, types, modes or the first digits of both hashes.
	Detail string `json:"detail,omitempty"`
}

// Delta is the difference between a checkpoint and the live state, ordered by path.
type Delta struct {
	Checkpoint string   `json:"checkpoint"`
	Changes    []Change `json:"changes,omitempty"`
	Added      int      `json:"added"`
	Removed    int      `json:"removed"`
	Changed    int      `json:"changed"`
	Shrunk     int      `json:"shrunk"`
	Unchanged  int      `json:"unchanged"`
}

// String returns the counts in words.
func (d Delta) String() string {
	return fmt.Sprintf("%d added, %d removed, %d changed, %d shrunk, %d unchanged",
		d.Added, d.Removed, d.Changed, d.Shrunk, d.Unchanged)
}

// Within returns the part of d that lies at or below paths, which are as the checkpoint has them: see
// [Checkpoint.Held]. What is unchanged is not counted.
func (d Delta) Within(paths []string) Delta {
	part := tally(slices.DeleteFunc(slices.Clone(d.Changes), func(c Change) bool {
		return !slices.ContainsFunc(paths, func(p string) bool { return format.Below(filepath.Clean(p), c.Path) })
	}))
	part.Checkpoint = d.Checkpoint
	return part
}

// Verdict says whether a delta may stand.
type Verdict struct {
	Acceptable bool `json:"acceptable"`
	// Reasons against it, ordered by path; the first ones, when there are many.
	Reasons []string `json:"reasons,omitempty"`
}

// maxReasons is how many reasons a verdict names.
const maxReasons = 20

func tally(found []Change) Delta {
	var d Delta
	for _, c := range found {
		switch c.Kind {
		case Added:
			d.Added++
		case Removed:
			d.Removed++
		case Changed:
			d.Changed++
		case Shrunk:
			d.Shrunk++
		default:
			d.Unchanged++
			continue
		}
		d.Changes = append(d.Changes, c)
	}
	slices.SortFunc(d.Changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return d
}

// Judge applies the rules, the first that matches an entry's path deciding. An entry that no
// rule matches may be added, changed or shrunk, but not removed.
func (d Delta) Judge(rules []config.Rule) Verdict {
	v := Verdict{Acceptable: true}
	more := 0
	for _, c := range d.Changes {
		reason := objection(c, rules)
		if reason == "" {
			continue
		}
		v.Acceptable = false
		if len(v.Reasons) == maxReasons {
			more++
			continue
		}
		v.Reasons = append(v.Reasons, reason)
	}
	if more > 0 {
		v.Reasons = append(v.Reasons, fmt.Sprintf("and %d more", more))
	}
	return v
}

// objection returns what speaks against c, or "".
func objection(c Change, rules []config.Rule) string {
	what := fmt.Sprintf("%s was %s", c.Path, c.Kind)
	if c.Detail != "" {
		what += " (" + c.Detail + ")"
	}
	for i, r := range rules {
		ok, err := doublestar.Match(r.Match, c.Path)
		if err != nil {
			return fmt.Sprintf("%s, and rule %d has the unusable pattern %q", what, i+1, r.Match)
		}
		if !ok {
			continue
		}
		if slices.Contains(r.Allow, string(c.Kind)) {
			return ""
		}
		return fmt.Sprintf("%s, which rule %d (%s) does not allow", what, i+1, r.Match)
	}
	if c.Kind == Removed {
		return what + ", and no rule allows it"
	}
	return ""
}
