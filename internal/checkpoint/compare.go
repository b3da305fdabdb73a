package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx/internal/config"
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

// Within returns the part of d that lies at or below paths; what is unchanged is not counted.
func (d Delta) Within(paths []string) Delta {
	part := tally(slices.DeleteFunc(slices.Clone(d.Changes), func(c Change) bool {
		return !slices.ContainsFunc(paths, func(p string) bool { return within(c.Path, filepath.Clean(p)) })
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

// Compare compares a checkpoint with the live files of state now. Content, type, mode and
// owner count; times do not. What either side excludes is left out.
func Compare(ctx context.Context, c Checkpoint, state config.State) (Delta, error) {
	paths, err := cleanPaths(state.Paths)
	if err != nil {
		return Delta{}, fmt.Errorf("compare with checkpoint %s: %w", c.ID, err)
	}
	exclude := slices.Concat(c.Exclude, state.Exclude)
	if err := checkPatterns(exclude); err != nil {
		return Delta{}, fmt.Errorf("compare with checkpoint %s: %w", c.ID, err)
	}
	live, err := walk(ctx, paths, exclude)
	if err != nil {
		return Delta{}, fmt.Errorf("compare with checkpoint %s: %w", c.ID, err)
	}
	var want []File
	for _, f := range c.Files {
		if i := slices.IndexFunc(paths, func(p string) bool { return within(f.Path, p) }); i >= 0 && !leftOut(f.Path, paths[i], exclude) {
			want = append(want, f)
		}
	}
	d, err := diff(ctx, want, live.entries, nil)
	d.Checkpoint = c.ID
	if err != nil {
		return d, fmt.Errorf("compare with checkpoint %s: %w", c.ID, err)
	}
	return d, nil
}

// leftOut says whether path or a folder above it, below root, is excluded.
func leftOut(path, root string, exclude []string) bool {
	for p := path; within(p, root) && p != root; p = filepath.Dir(p) {
		if rel, err := filepath.Rel(root, p); err == nil && isExcluded(rel, exclude) {
			return true
		}
	}
	return false
}

// diff compares entry by entry; live files are hashed only where sizes agree.
func diff(ctx context.Context, want []File, live []entry, m *meter) (Delta, error) {
	before := make(map[string]File, len(want))
	for _, f := range want {
		before[f.Path] = f
	}
	found := make([]Change, len(live))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for i, e := range live {
		f, ok := before[e.path]
		delete(before, e.path)
		if !ok {
			found[i] = Change{Path: e.path, Kind: Added}
			continue
		}
		group.Go(func() (err error) {
			found[i], err = compareEntry(ctx, f, e, m)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Delta{}, err
	}
	for path := range before {
		found = append(found, Change{Path: path, Kind: Removed})
	}
	return tally(found), nil
}

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

// compareEntry returns a Change without a kind when nothing differs.
func compareEntry(ctx context.Context, f File, e entry, m *meter) (Change, error) {
	mode, uid, gid := e.stat.Mode&0o7777, int(e.stat.Uid), int(e.stat.Gid)
	change := func(kind ChangeKind, format string, args ...any) (Change, error) {
		return Change{Path: f.Path, Kind: kind, Detail: fmt.Sprintf(format, args...)}, nil
	}
	switch {
	case e.typ != f.Type:
		return change(Changed, "a %s became a %s", f.Type, e.typ)
	case e.typ == TypeFile && e.stat.Size < f.Size:
		return change(Shrunk, "%d bytes became %d", f.Size, e.stat.Size)
	case e.typ == TypeFile && e.stat.Size > f.Size:
		return change(Changed, "%d bytes became %d", f.Size, e.stat.Size)
	case uid != f.UID || gid != f.GID:
		return change(Changed, "owner %d:%d became %d:%d", f.UID, f.GID, uid, gid)
	case e.typ != TypeSymlink && mode != f.Mode:
		return change(Changed, "mode %04o became %04o", f.Mode, mode)
	}
	if e.typ == TypeSymlink {
		if link, err := os.Readlink(e.real); err != nil || link != f.Link {
			return change(Changed, "link to %q became %q", f.Link, link)
		}
	}
	if e.typ != TypeFile {
		return Change{Path: f.Path}, nil
	}
	return compareContent(ctx, f, e, m)
}

func compareContent(ctx context.Context, f File, e entry, m *meter) (Change, error) {
	src, err := openRegular(e.real)
	if errors.Is(err, fs.ErrNotExist) {
		return Change{Path: f.Path, Kind: Removed}, nil
	}
	if err != nil {
		return Change{}, err
	}
	defer func() { _ = src.Close() }()
	got, err := hashFile(ctx, src, m)
	if err != nil {
		return Change{}, fmt.Errorf("hash %s: %w", e.path, err)
	}
	if got.sum == f.SHA256 {
		return Change{Path: f.Path}, nil
	}
	kind := Changed
	if got.size < f.Size {
		kind = Shrunk
	}
	return Change{Path: f.Path, Kind: kind, Detail: fmt.Sprintf("SHA-256 %.12s became %.12s", f.SHA256, got.sum)}, nil
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
