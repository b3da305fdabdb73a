package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/shivx/shivx/internal/golden/capture"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/restore"
	"github.com/shivx/shivx/internal/golden/store"
)

// holes describes the places of a sparse file that hold data.
func holes(e *format.Entry) string {
	if e.Data == nil {
		return ""
	}
	return fmt.Sprint("data at ", e.Data)
}

// settleSparse compares files by content whose holes are elsewhere than they were.
func (j *join) settleSparse(ctx context.Context, g *store.Golden, seen sight) error {
	if len(j.sparse) == 0 {
		return nil
	}
	var sites []site
	for _, path := range j.sparse {
		sites = append(sites, site{path: path, real: seen.real(path)})
	}
	p, err := partOf(ctx, g, sites)
	if err != nil {
		return err
	}
	r, err := restore.Plan(ctx, p, restore.Options{})
	if err != nil {
		return err
	}
	for _, s := range sites {
		change := Change{Path: s.path}
		for _, c := range r.List {
			if c.Path == s.real && c.Kind != restore.Metadata {
				change.Kind, change.Detail = Changed, c.Detail
			}
		}
		j.found = append(j.found, change)
	}
	return nil
}

// settleLinks compares files by content that have several names on one side alone: that a name stands for
// a file of its own now is no change of the state.
func (j *join) settleLinks(ctx context.Context, g *store.Golden, seen sight) error {
	if len(j.links) == 0 {
		return nil
	}
	files := map[string]*format.Entry{}
	for _, p := range j.links {
		files[p.was] = nil
	}
	for e, err := range g.Entries(ctx) {
		if err != nil {
			return err
		}
		if _, wanted := files[e.Path]; wanted {
			files[e.Path] = cloneEntry(e)
		}
	}
	for _, p := range j.links {
		was := files[p.was]
		if was == nil {
			return fmt.Errorf("%w: %s is another name of what is not there", ErrDamaged, p.path)
		}
		change, err := seen.against(ctx, p, was)
		if err != nil {
			return err
		}
		j.found = append(j.found, change)
	}
	return nil
}

// against compares what lives at the path of a pair with the file that was there.
func (s sight) against(ctx context.Context, p pair, was *format.Entry) (Change, error) {
	live, why := p.live, ""
	if live == nil {
		var err error
		if live, why, err = readAgain(ctx, s.real(p.path)); err != nil {
			return Change{}, err
		}
	}
	change := Change{Path: p.path, Kind: Removed, Detail: why}
	if live != nil {
		change = differs(was, live)
		change.Path = p.path
	}
	return change, nil
}

// readAgain returns the entry of a path as if its file had no other name; nil: there is none, or, with a word why
// not, it cannot be read.
func readAgain(ctx context.Context, path string) (e *format.Entry, why string, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && !info.Mode().IsRegular() {
		// A link or a pipe can be no root of a capture.
		e = &format.Entry{Path: path, Type: format.TypeFIFO, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid}
		if info.Mode().Type() == os.ModeSymlink {
			e.Type = format.TypeSymlink
			e.Link, err = os.Readlink(path)
		}
		return e, "", err
	}
	live := &single{}
	r, err := capture.Run(ctx, live, capture.Options{Roots: []string{path}})
	if err == nil && len(r.Faults) > 0 {
		why = unreadable(r.Faults[0].Why)
	}
	return live.entry, why, err
}

// single takes the one entry of a capture.
type single struct {
	join
	entry *format.Entry
}

func (s *single) Entry(e *format.Entry) error {
	if s.entry != nil {
		return errors.New("a file became a folder while it was read")
	}
	c := *e
	s.entry = &c
	return nil
}
