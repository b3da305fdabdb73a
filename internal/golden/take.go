package golden

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/capture"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/source"
	"github.com/shivx/shivx/internal/golden/store"
)

// Order asks for a golden.
type Order struct {
	Set  string
	Kind shivx.GoldenKind
	// Name is one for people.
	Name string
	// Run names the run that asks; a golden that it has taken already is the answer. "": none has.
	Run string
	// Until is the time before which it must not be removed; zero: its set's retention decides.
	Until time.Time
	// AllowMissing stores a golden although paths of the set are missing, or empty, that an earlier one has.
	AllowMissing bool
	// Plan counts what would be stored and stores nothing.
	Plan bool
}

// Take stores a golden of the set as it is now. It is durable when Take returns. It gives up a restore of the set's
// files that nobody goes on with. The error of a backup is restore.ErrBusy while a restore has exchanged files of the
// set and may still be undone, ErrLost when it would lack what the one before has, and store.ErrClock when it would be
// older than one that is there; a snapshot is taken all the same, with a warning.
func (e *Engine) Take(ctx context.Context, o Order, tell func(shivx.GoldenProgress)) (shivx.GoldenInfo, shivx.GoldenCapture, error) {
	set, err := e.Set(o.Set)
	if err != nil {
		return shivx.GoldenInfo{}, shivx.GoldenCapture{}, err
	}
	info, stored, err := e.take(ctx, set, o, tell)
	if err != nil {
		err = fmt.Errorf("back up the set %s: %w", o.Set, err)
	}
	return info, stored, err
}

func (e *Engine) take(ctx context.Context, set Set, o Order, tell func(shivx.GoldenProgress)) (info shivx.GoldenInfo, stored shivx.GoldenCapture, err error) {
	began := time.Now()
	if o.Plan {
		return e.planTake(ctx, set, o, tell)
	}
	s, err := e.open(ctx, true)
	if err != nil {
		return info, stored, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ours, err := e.ours(ctx, s, o.Set)
	if err != nil {
		return info, stored, err
	}
	if i := slices.IndexFunc(ours, func(i store.Info) bool { return o.Run != "" && i.Header.Run == o.Run }); i >= 0 {
		info = infoOf(ours[i].Header, ours[i].Signer)
		stored.Files = info.Files
		return info, stored, nil
	}
	if err := freeName(ours, o); err != nil {
		return info, stored, err
	}
	if err := e.inOrder(ours, o); err != nil {
		return info, stored, err
	}
	e.endStale(ctx, set.Paths)
	known, err := e.notes()
	if err != nil {
		return info, stored, err
	}
	warned, err := e.calm(o, set.Paths, nil)
	if err != nil {
		return info, stored, err
	}
	export, err := source.PrepareAll(ctx, e.exports(o.Set), set.Sources...)
	if err != nil {
		return info, stored, err
	}
	defer func() { err = errors.Join(err, export.Close(ctx)) }()
	previous := e.previous(ctx, s, ours)
	opts := e.captureOptions(ctx, set, export, previous, e.takeMeter(previous, tell))
	w, err := s.Begin(ctx)
	if err != nil {
		return info, stored, err
	}
	defer w.Abort()
	r, warnings, err := e.read(ctx, s, w, ours, set, o, opts)
	if err == nil { // or else it could be of two states
		var more []string
		more, err = e.calm(o, opts.Roots, known)
		warned = slices.Compact(append(warned, more...))
	}
	if err != nil {
		return info, stored, err
	}
	if r.PreviousErr != nil {
		e.o.Logger.Warn("the golden before could not be read; everything was read anew", "set", o.Set, "error", r.PreviousErr)
	}
	g, err := w.Commit(ctx, format.Header{
		Set: o.Set, Host: e.o.Host, Name: o.Name, Run: o.Run, Kind: format.Kind(o.Kind), Taken: time.Since(began).Seconds(), Until: o.Until,
		Roots: r.Roots, Missing: r.Missing, Exclude: slices.Concat(set.Exclude, export.Exclude), Unstable: r.Unstable, Skipped: r.Skipped,
		Sources: export.Sources, Entries: r.Entries, Files: r.Files, Bytes: r.Bytes,
	})
	if err != nil {
		return info, stored, err
	}
	if err := e.protect(ctx, s); err != nil {
		e.o.Logger.Error("no parity", "golden", g.Header().ID, "error", err)
	}
	stored = capturedOf(r)
	stored.BytesStored, stored.Warnings = w.Stored(), slices.Concat(warnings, warned)
	return infoOf(g.Header(), g.Signer()), stored, nil
}

// read captures the set. It looks before and after for what is lost: before, as it may take hours, and after, as
// a disk may have gone meanwhile.
func (e *Engine) read(ctx context.Context, s *store.Store, w *store.Writer, ours []store.Info, set Set, o Order, opts capture.Options) (
	capture.Result, []string, error,
) {
	if _, err := e.lost(ctx, s, ours, set, o); err != nil {
		return capture.Result{}, nil, err
	}
	r, err := capture.Run(ctx, sink{w}, opts)
	if err == nil {
		err = complete(r)
	}
	if err != nil {
		return r, nil, err
	}
	warnings, err := e.lost(ctx, s, ours, set, o)
	return r, warnings, err
}

// mostMissing is how many missing paths a result names.
const mostMissing = 10

func capturedOf(r capture.Result) shivx.GoldenCapture {
	return shivx.GoldenCapture{Files: r.Files, Unchanged: r.Unchanged, BytesRead: r.Read, Missing: r.Missing[:min(mostMissing, len(r.Missing))]}
}

// planTake counts what would be stored. It makes no store and touches no database.
func (e *Engine) planTake(ctx context.Context, set Set, o Order, tell func(shivx.GoldenProgress)) (shivx.GoldenInfo, shivx.GoldenCapture, error) {
	var previous *store.Golden
	s, err := e.open(ctx, false)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return shivx.GoldenInfo{}, shivx.GoldenCapture{}, err
	default:
		defer s.Close()
		ours, err := e.ours(ctx, s, o.Set)
		if err == nil {
			err = freeName(ours, o)
		}
		if err != nil {
			return shivx.GoldenInfo{}, shivx.GoldenCapture{}, err
		}
		previous = e.previous(ctx, s, ours)
	}
	r, err := capture.Run(ctx, nowhere{}, e.captureOptions(ctx, set, &source.Export{}, previous, e.takeMeter(previous, tell)))
	return shivx.GoldenInfo{Set: o.Set, Host: e.o.Host, Name: o.Name, Kind: o.Kind, Files: r.Files, Bytes: r.Bytes},
		capturedOf(r), err
}

func (e *Engine) captureOptions(ctx context.Context, set Set, export *source.Export, previous *store.Golden, m *meter) capture.Options {
	o := capture.Options{
		Roots: withOverlays(set.Paths, export.Overlays), Exclude: slices.Concat(set.Exclude, export.Exclude), Overlays: export.Overlays, Absent: export.Absent,
		Progress: func(p capture.Progress) { m.at(p.Bytes, p.Files) },
	}
	if previous != nil {
		o.Previous = iter.Seq2[*format.Entry, error](previous.Entries(ctx))
	}
	return o
}

// withOverlays adds what is exported to a place that no root has.
func withOverlays(roots []string, overlays map[string]string) []string {
	roots = slices.Clone(roots)
	for path := range overlays {
		if !slices.ContainsFunc(roots, func(r string) bool { return format.Below(r, path) }) {
			roots = append(roots, path)
		}
	}
	return roots
}

// ours are the goldens of the set that this host has signed and that can be read, newest first. Others can write into
// a store what they like; nothing is decided by it.
func (e *Engine) ours(ctx context.Context, s *store.Store, set string) ([]store.Info, error) {
	all, err := s.List(ctx, set)
	if err != nil {
		return nil, err
	}
	own, err := e.own()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(i store.Info) bool { return i.Err != nil || i.Header.Host != e.o.Host || !own(i.Signer) }), nil
}

// takeMeter expects as much as there was the last time.
func (e *Engine) takeMeter(previous *store.Golden, tell func(shivx.GoldenProgress)) *meter {
	if previous == nil {
		return e.meter(shivx.GoldenStepTake, tell, 0, 0)
	}
	h := previous.Header()
	return e.meter(shivx.GoldenStepTake, tell, h.Bytes, h.Files)
}

// previous is the newest of the goldens that can be read, of whatever kind; nil if there is none.
func (e *Engine) previous(ctx context.Context, s *store.Store, ours []store.Info) *store.Golden {
	for _, i := range ours {
		g, err := s.Open(ctx, i)
		if err == nil {
			return g
		}
		e.o.Logger.Warn("an earlier golden cannot be used to find what is unchanged", "golden", i.ID, "error", err)
	}
	return nil
}

// complete refuses what lacks something: a restore of the whole set would remove it.
func complete(r capture.Result) error {
	if r.Unreadable == 0 {
		return nil
	}
	var first []string
	for _, n := range r.Faults[:min(3, len(r.Faults))] {
		first = append(first, n.Path+": "+n.Why)
	}
	return shivx.Hint(fmt.Errorf("%d files could not be read, such as %s", r.Unreadable, strings.Join(first, "; ")),
		"a golden that lacks files would remove them when it is restored: run as root, repair the disk, or exclude them in the set")
}

// sink gives a capture's blocks to a store.
type sink struct{ *store.Writer }

func (s sink) Lane() capture.Lane { return s.Writer.Lane() }

// nowhere is where a plan stores: it knows every block.
type nowhere struct{}

func (nowhere) Use(format.Hash) bool                           { return true }
func (n nowhere) Lane() capture.Lane                           { return n }
func (nowhere) Entry(*format.Entry) error                      { return nil }
func (nowhere) Put(context.Context, format.Hash, []byte) error { return nil }
func (nowhere) Close() error                                   { return nil }
