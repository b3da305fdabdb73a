package detect

import (
	"fmt"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// Detector turns events into decisions. It is not safe for concurrent use.
type Detector struct {
	host       string
	rules      config.ThreatRules
	signatures Signatures
	agents     *agents
	limits     [metrics]limit // as they are now, see Tighten
	seed       uint64
	secret     secret // not that of the table: it is part of what Save writes

	table  table
	blocks blocks
	lists  [ranks]list
	// working are the entries that must not be evicted just now.
	working [2]uint32

	seen  int64 // when the last event was
	clock streamClock

	longest    time.Duration // how long anything matters
	decayStep  int64         // ns
	halving    [decaySteps]uint64
	maxRecords int
	maxPaths   int

	// out has what is decided; it is not in the sight, whose event would escape with it.
	out []Decision
	// Space that is used again for each event.
	space []record
	ids   []uint32

	events, evicted uint64
}

// sight is one event in the making of decisions.
type sight struct {
	event  *logs.Event
	entry  *entry
	at     int64 // ns
	count  int
	late   time.Duration // behind the source's clock
	probed bool          // or failed
	sure   bool          // no honest client does this
	// records are those of the source's failures.
	records []record
}

// New makes a detector that has seen nothing.
func New(o Options) (*Detector, error) {
	if err := check(o.Rules); err != nil {
		return nil, err
	}
	d := &Detector{
		host: o.Host, rules: o.Rules, signatures: o.Signatures, halving: decayTable(),
		longest:   max(o.Rules.SlowWindow, o.Rules.FailureWindow),
		decayStep: max(int64(o.Rules.ScannerHalfLife)/decaySteps, 1),
	}
	if d.signatures == nil {
		s, err := logs.NewSignatures(o.Rules.Weights.Paths, o.Rules.Weights.Tools)
		if err != nil {
			return nil, fmt.Errorf("read the signatures of scanners: %w", err)
		}
		d.signatures = s
	}
	d.maxRecords = max(o.Rules.FailuresCritical, o.Rules.SlowFailures, o.Rules.SprayedAccounts)
	paths := o.Rules.ScannerCritical / max(o.Rules.Weights.NotFound, 1)
	d.maxPaths = min(max(paths/blockWords+1, minPathBlocks), maxPathBlocks) * blockWords
	d.agents = &agents{seed: mix(o.Seed^hashC, hashB)}
	d.Tighten(1)
	d.secret = newSecret(o.Seed)
	d.reset(o.Seed)
	return d, nil
}

const (
	// mostCounted is the highest threshold of what is counted one by one.
	mostCounted   = 1000
	mostSources   = 1 << 28
	longestWindow = 365 * 24 * time.Hour
	minPathBlocks = 4
	maxPathBlocks = 32
	// blocksPerHundred sources are what the sources have together beside their entries.
	blocksPerHundred = 200
	blocksAtLeast    = 256
)

// check says which rules cannot be kept.
func check(r config.ThreatRules) error {
	for _, n := range []struct {
		name        string
		value, most int
	}{
		{"max_sources", r.MaxSources, mostSources},
		{"requests_warning", r.RequestsWarning, 1 << 30}, {"requests_critical", r.RequestsCritical, 1 << 30},
		{"failures_warning", r.FailuresWarning, mostCounted}, {"failures_critical", r.FailuresCritical, mostCounted},
		{"slow_failures", r.SlowFailures, mostCounted}, {"sprayed_accounts", r.SprayedAccounts, mostCounted},
		{"scanner_warning", r.ScannerWarning, pointMax}, {"scanner_critical", r.ScannerCritical, pointMax},
		{"network_sources", r.NetworkSources, mostCounted},
	} {
		if n.value < 1 || n.value > n.most {
			return shivx.Hint(fmt.Errorf("guardian.rules.%s is %d", n.name, n.value), fmt.Sprintf("write a number from 1 to %d", n.most))
		}
	}
	for _, w := range []struct {
		name  string
		value time.Duration
	}{{"failure_window", r.FailureWindow}, {"slow_window", r.SlowWindow}, {"scanner_half_life", r.ScannerHalfLife}} {
		if w.value < time.Millisecond || w.value > longestWindow {
			return shivx.Hint(fmt.Errorf("guardian.rules.%s is %s", w.name, w.value), fmt.Sprintf("write a time from 1ms to %s", longestWindow))
		}
	}
	return nil
}

// reset forgets everything.
func (d *Detector) reset(seed uint64) {
	d.seed = seed
	n := d.rules.MaxSources
	d.table = newTable(n, seed)
	d.blocks = blocks{limit: n/100*blocksPerHundred + blocksAtLeast}
	d.lists = [ranks]list{}
	d.seen, d.clock = 0, streamClock{}
	d.events, d.evicted = 0, 0
}

// Observe takes the next event and appends what it decides to out. An event without an address or count,
// or of no known kind, decides nothing.
func (d *Detector) Observe(ev *logs.Event, out []Decision) []Decision {
	if !ev.Addr.IsValid() || ev.Count <= 0 || ev.Kind < logs.Request || ev.Kind > logs.Denied {
		return out
	}
	d.events++
	s := sight{event: ev, at: d.timeOf(ev), count: ev.Count}
	d.clock.pass(s.at)
	key, k := keyOf(ev.Addr)
	i := d.table.find(key, k)
	if i != 0 && d.table.at(i).flags&flagHeld != 0 {
		d.forget(i)
		i = 0
	}
	if i == 0 {
		if i = d.enter(key, k, s.at); i == 0 {
			return out
		}
		s.entry = d.table.at(i)
	} else {
		s.entry = d.table.at(i)
		s.entry.flags |= flagAgain
	}
	d.working[0], d.out = i, out
	s.late = d.pass(s.entry, s.at)
	if ev.Kind == logs.Request && d.heldOpen(s.entry.last, s.at) {
		s.at, s.late = s.entry.last, 0
	}
	d.count(&s)
	d.file(i, s.entry)
	out = d.out
	d.working[0], d.out = 0, nil
	return out
}

// count adds the event to the figures it belongs to.
func (d *Detector) count(s *sight) {
	e := s.entry
	score := 0
	if e.marks != 0 {
		score = d.score(e)
	}
	rose := false
	switch s.event.Kind {
	case logs.Request:
		d.judgeRate(s)
		rose = d.scoreRequest(s)
	case logs.Failure:
		d.fail(s)
	case logs.Success:
		d.succeed(s)
	default:
		rose = d.scoreOther(s)
	}
	if rose {
		d.judgeScore(s, score)
	}
	if s.probed && d.bad(s) {
		d.join(s, memberBad)
	}
}

// judgeRate counts requests and decides on the rate; those told too late to count decide nothing.
func (d *Detector) judgeRate(s *sight) {
	e, before := s.entry, int(s.entry.asked)
	d.countRequests(e, s.at, s.count)
	n := int(e.asked)
	if n == before {
		return
	}
	if level := d.passes(e, s.at, rateMetric, before, n); level != 0 {
		d.decide(s, e, rateMetric, level, n, map[string]any{"requests_per_minute": n})
	}
}

// judgeScore decides on a score that has risen.
func (d *Detector) judgeScore(s *sight, before int) {
	e := s.entry
	n := d.score(e)
	level := d.passes(e, s.at, scanMetric, before, n)
	if level == 0 {
		return
	}
	evidence := map[string]any{
		"score": n, "not_found": int(e.missed >> fraction), "answered": int(e.hits >> fraction),
		"half_life": d.rules.ScannerHalfLife.String(),
	}
	if len(s.event.Path) > 0 {
		evidence["path"] = text(s.event.Path)
	}
	d.decide(s, e, scanMetric, level, n, evidence)
}

// Tighten sets what is left of each threshold: 1 is normal, 0.5 half of it, at least 1 in any case. It
// holds for the next events; it is no part of what Save writes.
func (d *Detector) Tighten(factor float64) {
	if !(factor > 0) { // also what is no number
		factor = 0
	}
	factor = min(factor, 1)
	r := &d.rules
	scale := func(n int) int { return max(int(float64(n)*factor+1-1e-9), 1) } // rounded up
	pair := func(warning, critical int, window time.Duration) limit {
		c := scale(critical)
		return limit{min(scale(warning), c), c, window, window, max(window, warnAgain)}
	}
	one := func(critical int, window time.Duration) limit {
		return limit{0, scale(critical), window, window, window}
	}
	d.limits = [metrics]limit{
		rateMetric:    pair(r.RequestsWarning, r.RequestsCritical, minute),
		burstMetric:   pair(r.FailuresWarning, r.FailuresCritical, r.FailureWindow),
		slowMetric:    one(r.SlowFailures, r.SlowWindow),
		sprayMetric:   one(r.SprayedAccounts, r.SlowWindow),
		scanMetric:    pair(r.ScannerWarning, r.ScannerCritical, r.ScannerHalfLife),
		networkMetric: pair((r.NetworkSources+1)/2, r.NetworkSources, r.SlowWindow),
	}
}

// warnAgain is how long a source that stays above a warning is not told of again, at least.
const warnAgain = 10 * time.Minute
