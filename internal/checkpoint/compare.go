package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/capture"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/store"
)

// Compare compares a checkpoint with the live files of state now. Content, type, mode and
// owner count; times do not. What either side excludes is left out.
func (s *Store) Compare(ctx context.Context, c Checkpoint, state config.State) (Delta, error) {
	d, err := s.compare(ctx, c, state)
	if err != nil {
		return d, fmt.Errorf("compare with checkpoint %s: %w", c.ID, err)
	}
	return d, nil
}

func (s *Store) compare(ctx context.Context, c Checkpoint, state config.State) (Delta, error) {
	g, c, release, err := s.use(ctx, c.ID)
	if err != nil {
		return Delta{}, err
	}
	defer release()
	seen, err := s.see(state)
	if err != nil {
		return Delta{}, err
	}
	seen.exclude = slices.Concat(c.Exclude, seen.exclude)
	found, err := compare(ctx, g, c.ID, seen)
	return found.delta, err
}

// compared is what a comparison has found.
type compared struct {
	delta Delta
	// unread are live files that cannot be read, and that a restore would take away.
	unread []string
	// unknown are paths that the golden has nothing of, as they could not be taken.
	unknown map[string]bool
}

// compare captures the live state to nowhere, and joins its entries with those of the golden. Files that
// nobody has touched since are not read: the golden's entries say so.
func compare(ctx context.Context, g *store.Golden, id string, seen sight) (compared, error) {
	if len(seen.paths) == 0 {
		return compared{delta: Delta{Checkpoint: id}}, nil
	}
	for _, p := range seen.exclude {
		if !doublestar.ValidatePattern(p) {
			return compared{}, fmt.Errorf("%q is not a glob pattern", p)
		}
	}
	h := g.Header()
	j := &join{unknown: map[string]bool{}}
	for _, n := range h.Skipped {
		j.unknown[n.Path] = true
	}
	next, stop := iter.Pull2(seen.want(j.strike(g.Entries(ctx))))
	defer stop()
	j.next = next
	if err := j.advance(); err != nil {
		return compared{}, err
	}
	o := seen.options()
	o.Previous = iter.Seq2[*format.Entry, error](g.Entries(ctx))
	r, err := capture.Run(ctx, j, o)
	if err == nil {
		err = j.rest()
	}
	var unread []string
	if err == nil {
		unread = j.settleUnread(r.Faults)
		err = errors.Join(j.settleLinks(ctx, g, seen), j.settleSparse(ctx, g, seen))
	}
	if err != nil {
		return compared{}, err
	}
	found := compared{delta: tally(j.found), unread: unread, unknown: j.unknown}
	found.delta.Checkpoint = id
	return found, nil
}

// want are the entries of a golden that are compared.
func (s sight) want(all iter.Seq2[*format.Entry, error]) iter.Seq2[*format.Entry, error] {
	return func(yield func(*format.Entry, error) bool) {
		without := "" // a folder that is excluded
		for e, err := range all {
			if err == nil {
				at := slices.IndexFunc(s.paths, func(p string) bool { return format.Below(p, e.Path) })
				if at < 0 || without != "" && format.Below(without, e.Path) {
					continue
				}
				if e.Path != s.paths[at] && matches(s.exclude, e.Path) {
					without = e.Path
					continue
				}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func matches(globs []string, path string) bool {
	return slices.ContainsFunc(globs, func(g string) bool {
		ok, _ := doublestar.Match(g, path)
		return ok
	})
}

// join takes the live entries in order and compares each with that of the same path. It is the sink of a
// capture that stores nothing.
type join struct {
	next  func() (*format.Entry, error, bool)
	now   *format.Entry // of the golden; nil at the end
	found []Change
	// unknown are paths that the golden has no entry of because they could not be taken.
	unknown map[string]bool
	// links are pairs of which one is another name of a file and the other is not, or of another file.
	links []pair
	// sparse are files whose holes differ, which says nothing about what is read from them.
	sparse []string
}

// pair is a path, the one that the golden has its file under, and what lives there unless that is another name.
type pair struct {
	path, was string
	live      *format.Entry
}

var _ capture.Sink = (*join)(nil)

// Use says that nothing need be stored.
func (*join) Use(format.Hash) bool { return true }

// Lane stores nothing.
func (*join) Lane() capture.Lane { return nowhere{} }

type nowhere struct{}

func (nowhere) Put(context.Context, format.Hash, []byte) error { return nil }
func (nowhere) Close() error                                   { return nil }

func (j *join) advance() error {
	e, err, ok := j.next()
	if !ok {
		e = nil
	}
	j.now = e
	return err
}

// Entry takes the next live entry.
func (j *join) Entry(live *format.Entry) error {
	for j.now != nil {
		switch format.ComparePaths(j.now.Path, live.Path) {
		case -1:
			j.found = append(j.found, Change{Path: j.now.Path, Kind: Removed})
		case 0:
			j.pair(j.now, live)
			return j.advance()
		default:
			j.found = append(j.found, Change{Path: live.Path, Kind: Added})
			return nil
		}
		if err := j.advance(); err != nil {
			return err
		}
	}
	j.found = append(j.found, Change{Path: live.Path, Kind: Added})
	return nil
}

// rest takes the entries of the golden that no live ones follow.
func (j *join) rest() error {
	for j.now != nil {
		j.found = append(j.found, Change{Path: j.now.Path, Kind: Removed})
		if err := j.advance(); err != nil {
			return err
		}
	}
	return nil
}

func (j *join) pair(was, live *format.Entry) {
	if was.Type == format.TypeHardlink || live.Type == format.TypeHardlink {
		if was.Type == live.Type && was.Link == live.Link {
			j.found = append(j.found, Change{Path: was.Path})
			return
		}
		p := pair{path: strings.Clone(was.Path), was: strings.Clone(was.Path)}
		if was.Type == format.TypeHardlink {
			p.was = strings.Clone(was.Link)
		}
		if live.Type != format.TypeHardlink {
			p.live = cloneEntry(live)
			p.live.Blocks, p.live.Xattrs = nil, nil // nothing looks at them
		}
		j.links = append(j.links, p)
		return
	}
	change := differs(was, live)
	if change.Kind != "" && holes(was) != holes(live) {
		likewise := *live
		likewise.Sum, likewise.Data = was.Sum, was.Data
		if differs(was, &likewise).Kind == "" {
			j.sparse = append(j.sparse, strings.Clone(was.Path))
			return
		}
	}
	j.found = append(j.found, change)
}

// differs returns a Change without a kind when nothing differs.
func differs(was, live *format.Entry) Change {
	change := func(kind ChangeKind, format string, args ...any) Change {
		return Change{Path: was.Path, Kind: kind, Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case live.Type != was.Type:
		return change(Changed, "a %s became a %s", was.Type, live.Type)
	case live.Size < was.Size:
		return change(Shrunk, "%d bytes became %d", was.Size, live.Size)
	case live.Size > was.Size:
		return change(Changed, "%d bytes became %d", was.Size, live.Size)
	case live.UID != was.UID || live.GID != was.GID:
		return change(Changed, "owner %d:%d became %d:%d", was.UID, was.GID, live.UID, live.GID)
	case live.Type != format.TypeSymlink && live.Mode != was.Mode:
		return change(Changed, "mode %04o became %04o", was.Mode, live.Mode)
	case live.Link != was.Link:
		return change(Changed, "link to %q became %q", was.Link, live.Link)
	case live.Type == format.TypeFile && (live.Sum != was.Sum || !slices.Equal(live.Data, was.Data)):
		return change(Changed, "SHA-256 %.12s became %.12s", was.Sum, live.Sum)
	}
	return Change{Path: was.Path}
}
