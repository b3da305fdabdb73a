package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/durable"
	"github.com/shivx/shivx/internal/golden/format"
)

// Stage verifies every byte that is needed and builds the new state beside its targets. When it fails
// nothing was changed and nothing is left behind. What it returns must be ended by Finish, Undo or
// Discard; until then no other restore can use the same journal.
func Stage(ctx context.Context, g Golden, o Options) (*Staged, error) {
	h := g.Header()
	fail := func(err error) error { return fmt.Errorf("restore golden %s: %w", h.ID, err) }
	if !filepath.IsAbs(o.Journal) {
		return nil, fail(errors.New("the folder for the journal must be absolute"))
	}
	id := newID(h.ID)
	if o.ID != "" {
		id = o.ID
	}
	if err := format.CheckName(id); err != nil {
		return nil, fail(err)
	}
	locked, err := lockIdle(o.Journal)
	if err != nil {
		return nil, fail(err)
	}
	s := &Staged{lock: locked, j: Journal{
		ID: id, Golden: h.ID, Set: h.Set, Begun: time.Now().UTC(),
		InPlace: o.To == "" && (o.InPlace || len(o.Only) > 0), Exclude: h.Exclude, Skipped: skippedIn(h), Sources: h.Sources, Keep: o.KeepOld, dir: o.Journal, step: o.step,
	}}
	if err := s.stage(ctx, g, o); err != nil {
		return nil, fail(errors.Join(err, s.discard(), s.release()))
	}
	return s, nil
}

// lockIdle takes the folder of journals while no restore is in it. Until then its files are not ours, also
// those of the name that the new restore has.
func lockIdle(dir string) (*os.File, error) {
	locked, err := lock(dir)
	if err != nil {
		return nil, err
	}
	pending, err := Pending(dir)
	if err == nil && len(pending) > 0 {
		err = shivx.Hint(fmt.Errorf("the restore %s was cut off while %s", pending[0].ID, pending[0].State), "resume it first")
	}
	if err == nil {
		err = sweep(dir)
	}
	if err != nil {
		return nil, errors.Join(err, durable.Unlock(locked))
	}
	return locked, nil
}

func (s *Staged) stage(ctx context.Context, g Golden, o Options) error {
	r, err := newRun(g, o)
	if err != nil {
		return err
	}
	s.places = r.places
	if r.spool, err = createUnits(s.j.path(stagedFile)); err != nil {
		return err
	}
	if err := s.build(ctx, r); err != nil {
		r.spool.abort()
		return err
	}
	return nil
}

// build stages what the kind of restore asks for.
func (s *Staged) build(ctx context.Context, r *run) error {
	var tops []top
	var hashes []format.Hash
	var found *findings
	var total int64
	switch {
	case s.j.InPlace:
		var err error
		if found, err = r.compare(ctx); err != nil {
			return err
		}
		hashes, total = found.hashes(), found.bytes
	default:
		n, err := r.survey(ctx)
		if err != nil {
			return err
		}
		if tops, hashes, total = n.tops, n.hashes, n.bytes; r.o.To != "" {
			if err := r.places.checkFree(tops); err != nil {
				return err
			}
		} else if err := r.checkWhole(n.spread); err != nil {
			return err
		}
	}
	if err := r.verify(ctx, hashes); err != nil {
		return err
	}
	if err := s.begin(r, tops); err != nil {
		return err
	}
	b := r.newBuilder(ctx, s.j.mark)
	b.live = found != nil
	defer b.end()
	if err := r.fill(ctx, b, found, total); err != nil {
		return err
	}
	s.tops, s.linked = b.tops, b.linked
	return s.complete(r, b)
}

// fill builds all that is to be staged, which is total bytes without the holes.
func (r *run) fill(ctx context.Context, b *builder, found *findings, total int64) error {
	defer r.meter.begin("write", total)()
	if err := b.close(r.feed(ctx, b, found)); err != nil {
		return err
	}
	r.changes.c.Written = Count{Entries: r.meter.files.Load(), Bytes: r.meter.bytes.Load()}
	return nil
}

// verify has every byte that is needed checked, before anything is touched.
func (r *run) verify(ctx context.Context, hashes []format.Hash) error {
	if err := r.places.checkSites(); err != nil {
		return err
	}
	if r.o.Checked || hashes != nil && len(hashes) == 0 {
		return nil
	}
	defer r.meter.begin("verify", 0)()
	err := r.g.Check(ctx, hashes, func(n int64) { r.meter.bytes.Add(n) })
	if err != nil {
		return shivx.Hint(fmt.Errorf("verify the golden: %w", err),
			"nothing was changed; repair the store with: shivx golden scrub --repair, or restore an older golden")
	}
	return nil
}

// begin writes the journal, then makes the staging folders that it names.
func (s *Staged) begin(r *run, tops []top) error {
	if err := r.places.checkName(s.j.ID); err != nil {
		return err
	}
	r.places.claim(s.j.ID, tops)
	s.j.Roots, s.j.To, s.j.Sites, s.j.Made = r.places.roots, name(r.places.to), r.places.sites, r.places.made
	if err := s.j.write(StateStaging); err != nil {
		return err
	}
	return r.places.make()
}

// feed hands the builder all that is to be staged.
func (r *run) feed(ctx context.Context, b *builder, found *findings) error {
	switch {
	case found == nil:
		return r.feedWhole(ctx, b)
	case found.over:
		return r.feedSelected(ctx, b, found)
	}
	slices.SortFunc(found.entries, func(x, y *format.Entry) int { return format.ComparePaths(x.Path, y.Path) })
	for _, e := range found.entries {
		if err := b.add(item{Entry: e}); err != nil {
			return err
		}
	}
	return nil
}

// feedSelected reads the golden once more for what differs.
func (r *run) feedSelected(ctx context.Context, b *builder, found *findings) error {
	slices.SortFunc(found.tops, format.ComparePaths)
	tops := found.tops
	for it, err := range r.items(ctx) {
		if err != nil {
			return err
		}
		for len(tops) > 0 && format.ComparePaths(tops[0], it.Path) < 0 && !format.Below(tops[0], it.Path) {
			tops = tops[1:]
		}
		if len(tops) > 0 && format.Below(tops[0], it.Path) {
			if err := b.add(it); err != nil {
				return err
			}
		}
	}
	return nil
}

// complete makes what was built durable and says so.
func (s *Staged) complete(r *run, b *builder) error {
	if err := b.writeUnits(); err != nil {
		return err
	}
	if err := r.places.sync(); err != nil {
		return err
	}
	var err error
	if s.j.Units, err = r.spool.finish(); err != nil {
		return err
	}
	s.j.Changes = r.changes.result()
	s.changes = s.j.Changes
	if err := s.j.write(StateStaged); err != nil {
		return err
	}
	// What would stop the swap is better known now.
	return s.survey(false)
}

// writeUnits writes down what is to be put into place.
func (b *builder) writeUnits() error {
	for _, t := range b.tops {
		f := b.coming[t.site]
		st, ok, err := statAt(f.fd, t.name)
		if err != nil || !ok {
			return fmt.Errorf("look at what was staged for %s: %w", t.path, join(err, os.ErrNotExist))
		}
		u := unit{New: st.Ino, Staged: name(comingDir + "/" + t.name)}
		if err := b.r.spoolUnit(u, t.path, ""); err != nil {
			return err
		}
	}
	return b.checkNames()
}

// checkNames refuses names that the folder they are put into takes for one.
func (b *builder) checkNames() error {
	seen := map[string]int{}
	for i, t := range b.tops {
		folded := strings.ToLower(b.r.places.real(t.path))
		first, ok := seen[folded]
		if !ok {
			seen[folded] = i
			continue
		}
		_, rel := b.r.places.at(t.path)
		dir, _ := split(rel)
		fd, err := openBeneath(t.site.base, dir, openFolder)
		if err != nil {
			continue // it is not there yet, and what will be is the staged one
		}
		folds := t.site.folds(fd)
		_ = closeFD(fd)
		if folds {
			return collision(b.tops[first].path+" and "+t.path, filepath.Dir(b.r.places.real(t.path)))
		}
	}
	return nil
}
