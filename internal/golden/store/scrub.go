package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx/internal/golden/format"
)

// ScrubOptions say how a store is read.
type ScrubOptions struct {
	// From is the Position of an earlier scrub that did not come to the end; empty: the begin.
	From string
	// For is how long it reads at most; zero: to the end.
	For time.Duration
	// Rate is how many bytes a second it reads at most; zero: as many as it can.
	Rate int64
	// Repair repairs what parity can, once everything was read. It needs the store for itself, for a short time.
	Repair bool
	// Salvage writes anew, with Repair, what is whole of packs that parity cannot repair. Their goldens are signed
	// anew, and lack what is damaged for good: that is for people to decide.
	Salvage bool
	// Parity is what is written for objects whose parity was damaged; nil: 20 and 2 shards.
	Parity *ParityOptions
	// Progress, if not nil, is told now and then, by one goroutine at a time.
	Progress func(ScrubProgress)
}

// ScrubProgress is how far a scrub is.
type ScrubProgress struct {
	// Objects and Bytes were read, of those of All and AllBytes that this scrub may come to.
	Objects, All    int
	Bytes, AllBytes int64
	Problems        int
	// Position is where to go on after an end at this time.
	Position string
}

// ScrubReport is what a scrub has found.
type ScrubReport struct {
	Objects  int
	Bytes    int64
	Took     time.Duration
	Problems []Problem
	// Position is where the next scrub goes on; empty: the end was reached.
	Position string
}

// Damaged says whether anything is damaged or missing, and was not repaired.
func (r *ScrubReport) Damaged() bool {
	return slices.ContainsFunc(r.Problems, func(p Problem) bool {
		return !p.Repaired && p.Kind.damage()
	})
}

// ProblemKind says what a problem is.
type ProblemKind string

// damage says whether something may not be restored.
func (k ProblemKind) damage() bool {
	return k == ProblemDamaged || k == ProblemUnreadable || k == ProblemMissing
}

// The kinds. Only the first three mean that something may not be restored.
const (
	// ProblemDamaged is an object that is not as it was written.
	ProblemDamaged ProblemKind = "damaged"
	// ProblemUnreadable is an object that cannot be read at some place; it may be whole, and be read another
	// time.
	ProblemUnreadable ProblemKind = "unreadable"
	// ProblemMissing is an object that goldens need and the store has not.
	ProblemMissing ProblemKind = "missing"
	// ProblemParity is a sidecar that is damaged, or that of an object which is not there.
	ProblemParity ProblemKind = "parity"
	// ProblemUntrusted is a golden signed by a key that is not trusted.
	ProblemUntrusted ProblemKind = "untrusted"
	// ProblemOrphan is a pack that no golden needs: an interrupted backup's. Prune removes it.
	ProblemOrphan ProblemKind = "orphan"
	// ProblemForeign is an object that is none of a store.
	ProblemForeign ProblemKind = "foreign"
)

// Problem is something about an object that an operator may want to know.
type Problem struct {
	Kind ProblemKind
	Name string
	// Damages are the places, where there are some.
	Damages []Damage
	// Goldens are those that suffer from it.
	Goldens []Affected
	// Repaired says that it is no more; Err why it is not, where a repair was asked for.
	Repaired bool
	Err      error
	// Salvaged says that the blocks of a pack which are whole were written anew, and the pack lies in
	// quarantine: the next backup stores again what is lost.
	Salvaged bool
}

// Affected is a golden that damage concerns.
type Affected struct {
	Set, ID string
	// Files are some of those that cannot be restored from it, Count is how many there are. A Count
	// of 0 means that it is not known: no single block is damaged, or the golden cannot be read.
	Files []string
	Count int
}

// Scrub reads the store, all of it or a part, and reports what is wrong. It locks the store as
// readers do.
func (s *Store) Scrub(ctx context.Context, o ScrubOptions) (*ScrubReport, error) {
	begun := time.Now()
	release, err := s.Lock(ctx, Shared)
	if err != nil {
		return nil, err
	}
	k := &scrub{s: s, o: o, end: o.From, begun: begun}
	err = k.read(ctx)
	if err = errors.Join(err, release()); err != nil {
		return nil, fmt.Errorf("scrub: %w", err)
	}
	if o.Repair && len(k.report.Problems) > 0 {
		if err := k.repair(ctx); err != nil {
			return nil, fmt.Errorf("scrub: %w", err)
		}
	}
	k.report.Took = time.Since(begun)
	return &k.report, nil
}

type scrub struct {
	s      *Store
	o      ScrubOptions
	begun  time.Time
	census *census
	// todo are the objects to read, end is the last that was.
	todo []ObjectInfo
	end  string
	// blocks finds a pack for each block.
	blocks index

	mu       sync.Mutex
	report   ScrubReport
	progress ScrubProgress
}

// read does what needs no changes.
func (k *scrub) read(ctx context.Context) error {
	var err error
	if k.census, err = k.s.census(ctx); err != nil {
		return err
	}
	if err := k.list(ctx); err != nil {
		return err
	}
	k.bystanders()
	if !k.s.locked && slices.ContainsFunc(k.todo, func(o ObjectInfo) bool { return strings.HasPrefix(o.Name, goldensDir) }) {
		if err := k.loadBlocks(ctx); err != nil {
			return err
		}
	}
	for batch := range slices.Chunk(k.todo, 2*runtime.GOMAXPROCS(0)) {
		if err := k.batch(ctx, batch); err != nil {
			return err
		}
		k.end = batch[len(batch)-1].Name
		k.tell()
		if k.o.For > 0 && time.Since(k.begun) >= k.o.For && k.end != k.todo[len(k.todo)-1].Name {
			k.report.Position = k.end
			break
		}
	}
	slices.SortFunc(k.report.Problems, func(a, b Problem) int { return strings.Compare(a.Name, b.Name) })
	return k.affected(ctx)
}

// list finds what is to be read, and what does not belong to a store. Names below the position that is
// gone on from were read by an earlier scrub.
func (k *scrub) list(ctx context.Context) error {
	for info, err := range k.s.backend.List(ctx, "") {
		if err != nil {
			return fmt.Errorf("list the store: %w", err)
		}
		_, sidecar := parityOf(info.Name)
		switch {
		case strings.HasPrefix(info.Name, quarantineDir):
		case !protectable(info.Name) && !sidecar:
			k.add(Problem{Kind: ProblemForeign, Name: info.Name})
		case info.Name > k.o.From:
			k.todo = append(k.todo, info)
			k.progress.AllBytes += info.Size
		}
	}
	k.progress.All = len(k.todo)
	return nil
}

func (k *scrub) add(p Problem) {
	k.mu.Lock()
	k.report.Problems = append(k.report.Problems, p)
	k.mu.Unlock()
}

// bystanders are problems that are seen without reading packs: they are reported each time.
func (k *scrub) bystanders() {
	for _, g := range k.census.goldens {
		if errors.Is(g.err, ErrUntrusted) {
			k.add(Problem{Kind: ProblemUntrusted, Name: g.name, Err: g.err})
		}
	}
	for _, p := range k.census.packs {
		switch {
		case p.size == 0 && p.users > 0:
			err := fmt.Errorf("%w: it is missing", format.ErrDamaged)
			k.add(Problem{Kind: ProblemMissing, Name: packName(p.name), Damages: []Damage{{Name: packName(p.name), Err: err}}})
		case p.users == 0 && len(k.census.blind) == 0:
			k.add(Problem{Kind: ProblemOrphan, Name: packName(p.name)})
		}
	}
}

// batch reads some objects at once.
func (k *scrub) batch(ctx context.Context, objects []ObjectInfo) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, info := range objects {
		group.Go(func() error { return k.object(ctx, info) })
	}
	return group.Wait()
}

// object reads one object.
func (k *scrub) object(ctx context.Context, info ObjectInfo) error {
	told := func(n int64) { k.pace(ctx, n) }
	var damages []Damage
	var err error
	kind := ProblemDamaged
	if subject, ok := parityOf(info.Name); ok {
		kind = ProblemParity
		damages, err = k.s.checkSidecar(ctx, subject, told)
	} else {
		damages, err = k.checkWhole(ctx, info.Name, told)
	}
	if err != nil {
		return err
	}
	if kind == ProblemDamaged && !proven(damages) {
		kind = ProblemUnreadable
	}
	if len(damages) > 0 {
		k.add(Problem{Kind: kind, Name: info.Name, Damages: damages})
	}
	k.mu.Lock()
	k.progress.Objects++
	k.mu.Unlock()
	return nil
}

// pace counts bytes, and waits where there were too many.
func (k *scrub) pace(ctx context.Context, n int64) {
	k.mu.Lock()
	k.progress.Bytes += n
	due := time.Duration(0)
	if k.o.Rate > 0 {
		due = time.Duration(float64(k.progress.Bytes)/float64(k.o.Rate)*float64(time.Second)) - time.Since(k.begun)
	}
	k.mu.Unlock()
	if due <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(due):
	}
}

func (k *scrub) tell() {
	k.progress.Problems, k.progress.Position = len(k.report.Problems), k.end
	k.report.Objects, k.report.Bytes = k.progress.Objects, k.progress.Bytes
	if k.o.Progress != nil {
		k.o.Progress(k.progress)
	}
}
