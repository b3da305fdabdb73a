package forecast

import (
	"bytes"
	"context"
	"math"
	"slices"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
)

const (
	// alarming is the score of an anomaly from which on it is an alarm.
	alarming = 0.5
	// Evidence: an anomaly announces a failure from that many times on, and from that share of its alarms.
	leastFollowed = 3
	leastShare    = 0.3
	// priorNot is how many alarms without a failure are assumed before any was seen, priorFollowed how many with one.
	priorNot, priorFollowed = 4.5, 0.5
	// The most that is kept: alarms and failures whose outcome is open, and kinds of alarms that are counted for a subsystem.
	mostAlarms, mostFailures, mostCounted = 5000, 1000, 500
)

// alarm is an anomaly of a series.
type alarm struct {
	Series string    `json:"series"`
	Kind   string    `json:"kind"`
	At     time.Time `json:"at"`
}

// failure is one of a subsystem: a fault of a component of which it has a series, or a capacity that was reached.
type failure struct {
	Subsystem string    `json:"subsystem"`
	At        time.Time `json:"at"`
}

// evidence is how often alarms of one kind and series were followed by a failure of a subsystem within its horizon.
type evidence struct {
	Series   string  `json:"series"`
	Kind     string  `json:"kind"`
	Followed float64 `json:"followed"`
	Not      float64 `json:"not"`
}

// share is the part of the alarms that was followed by a failure, drawn towards few while little was seen: the mean of a Beta
// distribution.
func (v evidence) share() float64 {
	return (v.Followed + priorFollowed) / (v.Followed + v.Not + priorFollowed + priorNot)
}

// precursors learns which anomalies of which series of the host announce failures: results of the past are labels.
type precursors struct {
	// Alarms and Failures are those of late, in the order in which they were found.
	Alarms   []alarm   `json:"alarms,omitempty"`
	Failures []failure `json:"failures,omitempty"`
	// Counted is the evidence by subsystem.
	Counted map[string][]evidence `json:"counted,omitempty"`
	// Learned is by subsystem up to when alarms were counted: a past that is read again counts once.
	Learned map[string]time.Time `json:"learned,omitempty"`
	// changes is how often there was something to keep.
	changes int
}

func newPrecursors() precursors {
	return precursors{Counted: map[string][]evidence{}, Learned: map[string]time.Time{}}
}

// notice takes a step of a series that is over: was it strange, has it reached its capacity?
func (p *precursors) notice(s *subsystem, t *tracker, began time.Time, mean float64) {
	if t.strange.Score >= alarming {
		p.alarm(alarm{t.name, t.strange.Reasons[0].Kind.String(), began})
	}
	before := math.Inf(-1)
	if t.seen > 1 {
		before = float64(t.recent[(t.seen-2)%recentSteps])
	}
	if s.reached(mean) && !s.reached(before) {
		p.failed(s.Name, began)
	}
}

func (p *precursors) alarm(a alarm) {
	if !slices.Contains(p.Alarms, a) { // two subsystems may watch one series, and a past is read again
		p.changes++
		p.Alarms = append(p.Alarms, a)
		p.Alarms = p.Alarms[max(0, len(p.Alarms)-mostAlarms):]
	}
}

func (p *precursors) failed(subsystem string, at time.Time) {
	if f := (failure{subsystem, at}); !slices.Contains(p.Failures, f) {
		p.changes++
		p.Failures = append(p.Failures, f)
		p.Failures = p.Failures[max(0, len(p.Failures)-mostFailures):]
	}
}

// learn counts the alarms whose horizon is over, each once for each subsystem, and forgets what no horizon needs any more.
func (p *precursors) learn(now time.Time, horizons map[string]time.Duration) {
	longest := time.Duration(0)
	for name, horizon := range horizons {
		longest = max(longest, horizon)
		until := now.Add(-horizon)
		for _, a := range p.Alarms {
			if a.At.After(p.Learned[name]) && !a.At.After(until) {
				p.count(name, a, p.followed(name, a.At, horizon))
			}
		}
		if until.After(p.Learned[name]) || p.Learned[name].After(now) { // a clock that went back is followed
			p.Learned[name] = until
		}
	}
	useless := func(at time.Time) bool { return at.Before(now.Add(-2*longest)) || at.After(now.Add(longest)) }
	p.Alarms = slices.DeleteFunc(p.Alarms, func(a alarm) bool { return useless(a.At) })
	p.Failures = slices.DeleteFunc(p.Failures, func(f failure) bool { return useless(f.At) })
}

// followed says whether a failure of the subsystem came after a time, within the horizon.
func (p *precursors) followed(subsystem string, at time.Time, horizon time.Duration) bool {
	return slices.ContainsFunc(p.Failures, func(f failure) bool {
		return f.Subsystem == subsystem && f.At.After(at) && !f.At.After(at.Add(horizon))
	})
}

func (p *precursors) count(subsystem string, a alarm, followed bool) {
	all := p.Counted[subsystem]
	i := slices.IndexFunc(all, func(v evidence) bool { return v.Series == a.Series && v.Kind == a.Kind })
	switch {
	case i < 0 && (!followed || len(all) >= mostCounted):
		return // what never announced anything needs no room
	case i < 0:
		all = append(all, evidence{Series: a.Series, Kind: a.Kind})
		i = len(all) - 1
	}
	if followed {
		all[i].Followed++
	} else {
		all[i].Not++
	}
	p.Counted[subsystem] = all
	p.changes++
}

// announcement is an alarm of late and the share of those like it that a failure followed; 0: there is none.
type announcement struct {
	alarm alarm
	share float64
}

// announces returns the alarm of late that most often announced a failure of the subsystem.
func (p *precursors) announces(subsystem string, horizon time.Duration, now time.Time) (best announcement) {
	counted := p.Counted[subsystem]
	if len(counted) == 0 {
		return best
	}
	late := map[[2]string]alarm{}
	for _, a := range p.Alarms {
		if a.At.After(now.Add(-horizon)) && !a.At.After(now) {
			late[[2]string{a.Series, a.Kind}] = a
		}
	}
	for _, v := range counted {
		if v.Followed < leastFollowed || v.share() < max(leastShare, best.share) {
			continue
		}
		if a, ok := late[[2]string{v.Series, v.Kind}]; ok {
			best = announcement{a, v.share()}
		}
	}
	return best
}

// follow learns from the ledger of faults and of heals, until ctx ends.
func (e *Engine) follow(ctx context.Context) {
	for ctx.Err() == nil {
		e.mu.RLock()
		from := e.next
		e.mu.RUnlock()
		err := e.o.Ledger.Follow(ctx, from, func(r ledger.Record) error { e.learnOf(r); return nil })
		if ctx.Err() != nil {
			return
		}
		e.log.Warn("the forecasts cannot follow the ledger", "error", err, "retry", followRetry)
		pause(ctx, followRetry)
	}
}

const followRetry = 30 * time.Second

// learnOf takes a record of the ledger.
func (e *Engine) learnOf(r ledger.Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next = r.Seq + 1
	if !bytes.Contains(r.Raw, []byte(`"event_type":"`+shivx.EventFault+`"`)) && !bytes.Contains(r.Raw, []byte(`"event_type":"`+shivx.EventStepStarted+`"`)) {
		return
	}
	var rec shivx.RecoveryRecord
	if err := r.Decode(&rec); err != nil || rec.Component == "" {
		return // the ledger's own checks tell of damage
	}
	for _, s := range e.subsystems {
		switch {
		case !s.has(rec.Component):
		case rec.EventType == shivx.EventFault:
			e.precursors.failed(s.Name, rec.Timestamp.UTC())
		case rec.EventType == shivx.EventStepStarted && rec.Step == shivx.StepRecover:
			s.healed(rec.Component, rec.Timestamp)
		}
	}
}

// has says whether the subsystem has a series of the component.
func (s *subsystem) has(component string) bool {
	return slices.ContainsFunc(s.feeds, func(f *feed) bool { return f.component == component })
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
