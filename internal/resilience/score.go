package resilience

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/vitals"
)

const (
	// staleFor is how long the last known reading is counted for one that is missing.
	staleFor = time.Minute
	// modulesWeight is what all modules together weigh in the confidence: less than any half of
	// the host's readings, so that programs which register themselves cannot freeze the level.
	modulesWeight = 2.0
	// moduleResource is the "resource" of a module's term.
	moduleResource vitals.Resource = "module"
)

// Scorer makes a Score out of samples; docs/RESILIENCE.md explains the formula. It remembers the
// last known readings, so samples go through one Scorer in their order. Not for concurrent use.
type Scorer struct {
	rules            map[vitals.Resource]*rule
	critical, module float64
	known            map[termKey]*known
	round            uint64
}

type termKey struct {
	resource vitals.Resource
	subject  string
}

// known is what was last known of a term.
type known struct {
	name    string
	percent float64
	detail  string
	reading string
	score   float64
	at      time.Duration
	// ever is false as long as there was no reading at all.
	ever bool
	// round is when the term was last listed.
	round uint64
}

// NewScorer returns a Scorer that knows nothing yet.
func NewScorer(rules config.ScoreRules) *Scorer {
	return &Scorer{
		rules:    newRules(rules.Curves),
		critical: float64(rules.CriticalModule),
		module:   float64(rules.Module),
		known:    map[termKey]*known{},
	}
}

// Score judges one sample and the modules at that time.
//
// Each term has a score of its own, 0–100, and so a deficit d = 100 − score. The whole deficit is
// the 4-norm of all, D = min(100, (Σ d⁴)^¼): at least the worst one, and never more than n^¼ times
// that (a p-norm lies between the maximum and n^(1/p) times the maximum). The score is 100 − D, and
// a term costs the share d⁴/Σd⁴ of D. Scores are rounded to tenths.
func (s *Scorer) Score(sample vitals.Sample, modules []Module) Score {
	s.round++
	t := tally{scorer: s, now: sample.Elapsed, terms: make([]Term, 0, len(sample.Readings)+len(modules))}
	for _, r := range s.rules {
		r.readings = 0
	}
	for i := range sample.Readings {
		if r := s.rules[sample.Readings[i].Resource]; r != nil {
			r.readings++
		}
	}
	for i := range sample.Readings {
		t.reading(&sample.Readings[i])
	}
	share := moduleShare(modules)
	for i := range modules {
		t.module(&modules[i], share)
	}
	for k, v := range s.known {
		if v.round != s.round {
			delete(s.known, k)
		}
	}
	if len(sample.Readings) == 0 {
		t.fresh = 0
	}
	return t.score()
}

// moduleShare is the weight of one module in the confidence; a critical one has twice as much.
func moduleShare(modules []Module) float64 {
	n := len(modules)
	for i := range modules {
		if modules[i].Critical {
			n++
		}
	}
	return modulesWeight / float64(max(n, 1))
}

// tally adds up the terms of one sample.
type tally struct {
	scorer          *Scorer
	now             time.Duration
	terms           []Term
	missing         []string
	sum             float64 // of the fourth powers of the deficits
	fresh, expected float64 // weights
	// lost is the worst of the terms that are missing and not counted any more, lostSum as sum of them all.
	lost    *known
	lostSum float64
}

func (t *tally) reading(r *vitals.Reading) {
	k := t.scorer.remember(r.Resource, r.Subject)
	weight, why := 1.0, r.Missing
	rule := t.scorer.rules[r.Resource]
	if rule != nil {
		weight = rule.weight / float64(rule.readings)
	}
	if why == "" {
		switch {
		case math.IsNaN(r.Percent), math.IsInf(r.Percent, 0):
			why = "not a number"
		case r.Percent < 0:
			why = "below zero"
		case rule == nil:
			why = "no curve to score it by"
		}
	}
	if why == "" {
		if !k.ever || k.percent != r.Percent || k.detail != r.Detail {
			k.percent, k.detail, k.reading = r.Percent, r.Detail, readingText(r)
			k.score = subscore(rule.points, r.Percent)
		}
		k.at, k.ever = t.now, true
	}
	t.add(k, why, weight)
}

func (t *tally) module(m *Module, share float64) {
	k := t.scorer.remember(moduleResource, m.Name)
	worth := t.scorer.module
	if m.Critical {
		share *= 2
		worth = t.scorer.critical
	}
	why := ""
	switch {
	case m.State != "healthy" && m.State != "failing":
		why = cmp.Or(m.LastError, "not checked yet")
	case math.IsNaN(m.Score):
		why = "not a number"
	default:
		health := min(max(m.Score, 0), 100)
		k.reading = m.State + ", health " + strconv.FormatFloat(health, 'f', 0, 64)
		k.score = tenths(100 - worth*(100-health)/100)
		k.at, k.ever = t.now, true
	}
	t.add(k, why, share)
}

// add counts a term as it is now known; why says why it has no reading, "" when it has one.
func (t *tally) add(k *known, why string, weight float64) {
	t.expected += weight
	term := Term{Name: k.name, Missing: why}
	counts := why == ""
	if counts {
		t.fresh += weight
	} else {
		t.missing = append(t.missing, k.name)
		age := t.now - k.at
		term.Stale = k.ever && age >= 0 && age <= staleFor
		counts = term.Stale
		if k.ever && !counts {
			t.lose(k)
		}
	}
	if counts {
		d := 100 - k.score
		term.Reading, term.Score, term.Cost = k.reading, k.score, d*d*d*d
		t.sum += term.Cost
	}
	t.terms = append(t.terms, term)
}

// lose notes a term that is not counted any more: nobody knows that it got better.
func (t *tally) lose(k *known) {
	d := 100 - k.score
	t.lostSum += d * d * d * d
	if d > 0 && (t.lost == nil || k.score < t.lost.score) {
		t.lost = k
	}
}

// wholeOf is the score of a sum of fourth powers of deficits.
func wholeOf(sum float64) float64 { return tenths(100 - min(100, math.Sqrt(math.Sqrt(sum)))) }

// score turns the fourth powers, which the terms hold as their costs, into points.
func (t *tally) score() Score {
	out := Score{Value: 100, Terms: t.terms, Missing: t.missing}
	if t.sum > 0 {
		out.Value = wholeOf(t.sum)
	}
	if t.lost != nil {
		out.lost = &lost{value: wholeOf(t.sum + t.lostSum), term: t.lost.name, reading: t.lost.reading}
	}
	for i := range out.Terms {
		if c := &out.Terms[i].Cost; *c > 0 {
			*c *= (100 - out.Value) / t.sum
		}
	}
	if t.expected > 0 {
		out.Confidence = t.fresh / t.expected
	}
	slices.SortStableFunc(out.Terms, dearestFirst)
	return out
}

// lets says whether the score is at least need, and would be if what is missing were as last known.
func (s *Score) lets(need float64) bool {
	return s.Value >= need && (s.lost == nil || s.lost.value >= need)
}

// dearestFirst orders the terms by their cost; of those without one the missing come first.
func dearestFirst(a, b Term) int {
	switch {
	case a.Cost != b.Cost:
		return cmp.Compare(b.Cost, a.Cost)
	case (a.Missing == "") == (b.Missing == ""):
		return 0
	case a.Missing != "":
		return -1
	}
	return 1
}

// remember returns what is known of a term and notes that it is still listed.
func (s *Scorer) remember(resource vitals.Resource, subject string) *known {
	key := termKey{resource, subject}
	k := s.known[key]
	if k == nil {
		k = &known{name: termName(resource, subject)}
		s.known[key] = k
	}
	k.round = s.round
	return k
}

func termName(resource vitals.Resource, subject string) string {
	switch {
	case resource == moduleResource:
		return "module " + subject
	case subject == "":
		return string(resource)
	}
	return string(resource) + "[" + subject + "]"
}

// readingText is a reading for people, e.g. "97.3 %, 7.8 of 8.0 GiB".
func readingText(r *vitals.Reading) string {
	format, digits := byte('f'), 1
	if r.Percent >= 1e6 {
		format, digits = 'g', 3
	}
	text := strconv.FormatFloat(r.Percent, format, digits, 64) + " %"
	if r.Detail != "" {
		text += ", " + r.Detail
	}
	return text
}
