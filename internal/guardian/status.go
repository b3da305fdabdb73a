package guardian

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian/abuse"
	"github.com/shivx/shivx/internal/guardian/detect"
	"github.com/shivx/shivx/internal/guardian/enforce"
	"github.com/shivx/shivx/internal/guardian/ingest"
	"github.com/shivx/shivx/internal/guardian/integrity"
)

// Status is the answer of GET /api/guardian/status.
type Status struct {
	Host string `json:"host"`
	// Mode in force, with the change that led to it.
	Mode    shivx.DefenseMode `json:"mode"`
	Change  shivx.ModeChange  `json:"change"`
	Threats Threats           `json:"threats"`
	// Isolated is how many sources are; Isolations are those that were isolated last, at most 200.
	Isolated   int                      `json:"isolated"`
	Isolations []shivx.Isolation        `json:"isolations"`
	Logs       []ingest.LogStatus       `json:"logs"`
	Enforcers  []enforce.EnforcerStatus `json:"enforcers"`
	Sources    detect.Stats             `json:"sources"`
	// Busiest are the sources that are closest to a threshold.
	Busiest   []detect.Sighting `json:"busiest,omitempty"`
	Integrity *integrity.Status `json:"integrity,omitempty"`
	Budgets   *abuse.Status     `json:"budgets,omitempty"`
	// Unrecorded is how many records wait for the disk, Lost how many were given up.
	Unrecorded int       `json:"unrecorded,omitempty"`
	Lost       uint64    `json:"lost,omitempty"`
	Since      time.Time `json:"since"`
}

// Threats counts what the audit holds.
type Threats struct {
	Total   uint64                       `json:"total"`
	ByType  map[shivx.ThreatType]uint64  `json:"by_type"`
	ByLevel map[shivx.ThreatLevel]uint64 `json:"by_level"`
}

// listed is how many isolations the status has.
const listed = 200

// Status tells how the guardian is, with who is isolated and who is busiest.
func (g *Guardian) Status() Status {
	s := g.Brief()
	s.Isolations = g.Isolations()
	s.Isolations = s.Isolations[:min(len(s.Isolations), listed)]
	g.mu.Lock()
	defer g.mu.Unlock()
	s.Busiest = g.detector.Top(10)
	return s
}

// Brief is Status without what takes long to list.
func (g *Guardian) Brief() Status {
	s := Status{
		Host: g.o.Host, Logs: g.inputs.Status(), Enforcers: g.board.Status(), Since: g.begun, Isolated: g.set.Len(),
		Isolations: []shivx.Isolation{},
		Threats:    Threats{ByType: map[shivx.ThreatType]uint64{}, ByLevel: map[shivx.ThreatLevel]uint64{}},
	}
	s.Unrecorded, s.Lost, _ = g.records.trouble()
	if g.watch != nil {
		st := g.watch.Status()
		s.Integrity = &st
	}
	if g.abuse != nil {
		st := g.abuse.Status()
		s.Budgets = &st
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.Change = g.mode(g.o.Now())
	s.Mode = s.Change.To
	s.Sources = g.detector.Stats()
	for k, n := range g.state.ByType {
		s.Threats.ByType[k] = n
		s.Threats.Total += n
	}
	maps.Copy(s.Threats.ByLevel, g.state.ByLevel)
	return s
}

// Isolations returns those in force, the newest first.
func (g *Guardian) Isolations() []shivx.Isolation {
	now := g.o.Now()
	all := slices.DeleteFunc(g.set.All(), func(i shivx.Isolation) bool { return !i.InForce(now) })
	slices.SortFunc(all, func(a, b shivx.Isolation) int {
		if c := b.Since.Compare(a.Since); c != 0 {
			return c
		}
		return strings.Compare(a.Source, b.Source)
	})
	return all
}

// Stream returns what bouncers are to enforce.
func (g *Guardian) Stream() *enforce.Stream { return g.stream }

// Integrity returns the watch of files; nil when none are watched.
func (g *Guardian) Integrity() *integrity.Watch { return g.watch }

// LetGo ends what was done to a process or cgroup.
func (g *Guardian) LetGo(ctx context.Context, source, by, why string) error {
	if g.abuse == nil {
		return shivx.Hint(fmt.Errorf("%s: %w", source, ErrNotIsolated), "this host has no budgets: guardian.budgets")
	}
	if err := g.abuse.Release(ctx, source); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.o.Now().UTC()
	g.records.put(shivx.GuardianRecord{
		EventID:   fmt.Sprintf("release/%s/%s/%d", g.o.Host, source, now.UnixNano()),
		Timestamp: now, EventType: shivx.EventEnforcement, Source: source,
		Details: map[string]string{"by": by, "why": why}, ActionTaken: shivx.ActionRestored,
	})
	return nil
}
