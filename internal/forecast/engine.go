// Package forecast watches the subsystems of a host: it takes what was measured, says of each series whether and when it reaches
// its capacity, and learns from what came true.
//
// It needs no Temporal. Series come from the host's own history, from a server that answers PromQL, or are measured here. Their
// models live in memory: after a restart they are made anew from what was measured before. What cannot be made
// anew is kept below one folder, each file written whole: what was said and is not yet seen to have come true, how it came true
// before, which alerts are open, and what was forecast without an action that was taken. All of it can be lost: the forecasts go on.
//
// Locks: looking is held while a look is taken, and is taken first; mu guards all that is known, never while something is read.
package forecast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/forecasting"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/vitals"
)

// Ledger is where alerts are recorded, and where faults and heals are learned of.
type Ledger interface {
	Append(ctx context.Context, key string, fields any) (ledger.Record, error)
	Follow(ctx context.Context, from uint64, fn func(ledger.Record) error) error
	// Last returns the number of the newest record.
	Last() (uint64, string)
}

var _ Ledger = (*ledger.Ledger)(nil)

// Options of New. Host, Rules and Dir are required.
type Options struct {
	// Host is the agent's name.
	Host  string
	Rules config.Forecast
	// Components of the host, whose processes may be watched.
	Components []config.Component
	// Dir is the folder of what cannot be made anew.
	Dir string
	// Root is where the host's file system is seen; "": at /.
	Root string
	// History is what was measured before; nil: there is none.
	History History
	// Keep writes what was measured here to the history; nil: it is not kept.
	Keep func(at time.Time, figures []vitals.Figure)
	// Ledger of the host's operations; nil: nothing is recorded and no faults are learned of.
	Ledger Ledger
	Logger *slog.Logger
	// Now is the clock; nil: the host's.
	Now func() time.Time
}

// Engine forecasts the faults of a host. It may be used by many goroutines.
type Engine struct {
	o          Options
	log        *slog.Logger
	prometheus *promServer
	costs      forecasting.Costs

	looking sync.Mutex // held by the one look that is taken
	// figures are what it measured.
	figures []vitals.Figure

	mu         sync.RWMutex
	subsystems []*subsystem
	marks      map[string]mark
	precursors precursors
	// unwritten are records that are to be appended to the ledger, next is the first record that was not yet followed.
	unwritten []shivx.RecoveryRecord
	next      uint64
	// caught is the record up to which must be followed before something is learned of the past.
	caught  uint64
	heatmap shivx.Heatmap

	// savedAt is when the state was written, saved the changes that it has; unsaved says that it lacks more: an alert.
	savedAt time.Time
	saved   int
	unsaved bool
	// marking is held while the marks are written, and is taken before mu.
	marking sync.Mutex
}

// New builds an engine from what was kept. Nothing is measured yet: the subsystems say so until the first Look.
func New(o Options) (*Engine, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Root == "" {
		o.Root = "/"
	}
	c := o.Rules.Costs
	e := &Engine{o: o, log: o.Logger, marks: map[string]mark{}, precursors: newPrecursors(), next: 1,
		costs: forecasting.Costs{Miss: 100, Look: c.Look, Prepare: c.Prepare, Act: c.Act}}
	if err := e.costs.Check(); err != nil {
		return nil, fmt.Errorf("forecast.costs: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o750); err != nil {
		return nil, shivx.Hint(fmt.Errorf("make the folder of the forecasts: %w", err), "check paths.var and its rights")
	}
	if o.Rules.Prometheus != nil {
		var err error
		if e.prometheus, err = newPromServer(*o.Rules.Prometheus); err != nil {
			return nil, err
		}
	}
	for _, s := range o.Rules.Subsystems {
		if !s.Enabled {
			continue
		}
		sub, err := e.newSubsystem(s)
		if err != nil {
			return nil, err
		}
		e.subsystems = append(e.subsystems, sub)
	}
	if o.Ledger != nil {
		e.caught, _ = o.Ledger.Last()
	}
	e.loadMarks()
	e.load()
	for _, s := range e.subsystems {
		e.applyMarks(s)
	}
	e.show(o.Now())
	return e, nil
}

// Run looks until ctx ends, and learns of faults meanwhile. It keeps the state when it ends.
func (e *Engine) Run(ctx context.Context) error {
	var following sync.WaitGroup
	if e.o.Ledger != nil {
		following.Go(func() { e.follow(ctx) })
	}
	tick := time.NewTicker(e.o.Rules.Every)
	defer tick.Stop()
	said := "" // what was wrong last, so that it is said once
	for ctx.Err() == nil {
		now := ""
		if err := e.Look(ctx); err != nil && ctx.Err() == nil {
			if now = err.Error(); now != said {
				e.log.Warn("forecasts are not kept", "error", err, "hint", shivx.HintOf(err))
			}
		}
		said = now
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	following.Wait()
	if err := e.save(); err != nil {
		e.log.Warn("forecasts are not kept", "error", err, "hint", shivx.HintOf(err))
	}
	return nil
}

// Look takes what was measured since the last look and forecasts anew. A source that cannot be read is no error: its
// series say so. An error tells that something could not be kept or recorded; the forecasts hold all the same.
func (e *Engine) Look(ctx context.Context) error {
	e.looking.Lock()
	defer e.looking.Unlock()
	now := e.o.Now()
	e.figures = e.figures[:0]
	if e.prometheus != nil {
		e.prometheus.away.Store(nil)
	}
	for _, s := range e.subsystems {
		e.mu.Lock()
		s.cut = 0
		over := e.over(s)
		e.mu.Unlock()
		for _, f := range s.feeds {
			err := f.pull(ctx, now, s.Subsystem, func(got []reading) {
				e.mu.Lock()
				defer e.mu.Unlock()
				s.take(f, got, over)
			})
			if ctx.Err() != nil {
				return ctx.Err()
			}
			e.noteAway(s, f, err)
		}
	}
	if e.o.Keep != nil && len(e.figures) > 0 {
		e.o.Keep(now, e.figures)
	}
	due := e.forecastAll(now)
	var err error
	if due { // before it is recorded: an alert that is recorded is open after a crash, too
		err = e.save()
	}
	return errors.Join(err, e.record(ctx))
}

// forecastAll forecasts from what was taken, and says whether the state should be kept now.
func (e *Engine) forecastAll(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unsaved = e.predictAll(now) || e.unsaved
	if e.next > e.caught {
		e.precursors.learn(now, e.horizons())
	}
	e.show(now)
	return e.unsaved || e.changes() != e.saved && (now.Sub(e.savedAt) >= saveEvery || now.Before(e.savedAt))
}

// changes is a number that is another one when there is something to keep.
func (e *Engine) changes() int {
	n := e.precursors.changes
	for _, s := range e.subsystems {
		n += s.changes()
	}
	return n
}

// noteAway keeps why a feed could not be read, and logs it once.
func (e *Engine) noteAway(s *subsystem, f *feed, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil && (f.away == nil || f.away.Error() != err.Error()) {
		e.log.Warn("a series cannot be read", "subsystem", s.Name, "error", err, "hint", shivx.HintOf(err))
	}
	f.away = err
}

// over returns what is done with each step that is over.
func (e *Engine) over(s *subsystem) closed {
	return func(t *tracker, began time.Time, mean float64) {
		s.settle(t, began, mean)
		e.precursors.notice(s, t, began, mean)
	}
}

// predictAll forecasts all series, and says whether an alert opened or closed.
func (e *Engine) predictAll(now time.Time) bool {
	changed := false
	for _, s := range e.subsystems {
		s.forget(now, e.o.Rules.Every)
		s.announced = e.precursors.announces(s.Name, s.Horizon, now)
		for _, name := range s.order {
			t := s.series[name]
			e.predict(s, t, now)
			changed = e.judge(s, t, now) || changed
			s.decide(t, now)
		}
		if s.cut > 0 && !s.cutSaid {
			e.log.Warn("a subsystem has more series than are watched", "subsystem", s.Name, "watched", maxSeries, "left_out", s.cut,
				"hint", "take series together by a query, or match fewer")
		}
		s.cutSaid = s.cut > 0
	}
	return changed
}

// subsystem returns the one of that name.
func (e *Engine) subsystem(name string) (*subsystem, error) {
	for _, s := range e.subsystems {
		if s.Name == name {
			return s, nil
		}
	}
	return nil, shivx.Hint(fmt.Errorf("%w %q", errUnknown, name), "shivx forecast heatmap lists those of a host")
}

// horizons of the subsystems by name.
func (e *Engine) horizons() map[string]time.Duration {
	out := map[string]time.Duration{}
	for _, s := range e.subsystems {
		out[s.Name] = s.Horizon
	}
	return out
}
