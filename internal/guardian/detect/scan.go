package detect

import (
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/shivx/shivx/internal/guardian/logs"
)

// The score of a scanner has two parts, which both halve every ScannerHalfLife:
//
//	score = P + w·N·g,  g = (2N − H) / (N + H), at least 0 and at most 1
//
// P are the points of what no honest client does: probe paths (each once), the signature of a tool
// (once), probes, and access denied (each path once). A path is a probe only while the server has no
// such thing: who logs in to the WordPress that is there does not scan for one.
//
// N is how many different paths were not found, H how many requests were answered, w the weight
// NotFound. A scanner guesses, and misses nearly always: from two misses to a hit on, g is 1 and each
// miss counts in full. People with a broken icon and crawlers of a site that has lost pages hit at
// least twice as often as they miss: g is 0, however many misses there are. In between it rises evenly,
// so that there is no step to stay just below of. As the share is taken now and not when a path was
// missed, a visitor who first meets the holes of a site is cleared by what he finds later.
//
// Redirects count as neither: a server that sends each guess from http to https has answered nothing.
// Nor do server errors and a refused login, which say nothing about whether the path exists.

const (
	// fraction is how a point is divided: scores are whole numbers, so that they are the same on every
	// processor.
	fraction = 12
	one      = 1 << fraction
	pointMax = 1<<20 - 1

	// decaySteps are the steps in which a score halves.
	decaySteps = 256
)

// decayTable has 2^(-i/decaySteps) in fractions of 2^32.
func decayTable() (t [decaySteps]uint64) {
	for i := range t {
		t[i] = uint64(math.Round(math.Exp2(32 - float64(i)/decaySteps)))
	}
	return t
}

func (d *Detector) decayed(x uint32, steps int64) uint32 {
	if x == 0 || steps >= 32*decaySteps {
		return 0
	}
	return uint32(uint64(x) * d.halving[steps%decaySteps] >> 32 >> (steps / decaySteps))
}

// decay lets an entry's score go from one time to a later one. A source that was silent for as long as
// anything matters may be told the same paths again,
// and its probes are over.
func (d *Detector) decay(e *entry, from, to int64) {
	if e.paths|uint32(e.probes) != 0 && time.Duration(to-from) >= d.rules.SlowWindow {
		e.paths, e.npaths, e.probes = d.blocks.give(e.paths), 0, 0
	}
	if e.points|e.missed|e.hits == 0 {
		return
	}
	if steps := to/d.decayStep - from/d.decayStep; steps > 0 {
		e.points, e.missed, e.hits = d.decayed(e.points, steps), d.decayed(e.missed, steps), d.decayed(e.hits, steps)
	}
}

// score returns an entry's score in whole points.
func (d *Detector) score(e *entry) int { return int(d.scoreFine(e) >> fraction) }

func (d *Detector) scoreFine(e *entry) uint64 {
	score := uint64(e.points)
	if n, h := uint64(e.missed), uint64(e.hits); 2*n > h {
		hi, lo := bits.Mul64(uint64(d.rules.Weights.NotFound)*n, min(2*n-h, n+h))
		share, _ := bits.Div64(hi, lo, n+h)
		score += share
	}
	return score
}

// add adds n points of an event that is late behind the clock.
func (d *Detector) add(to *uint32, n int, late time.Duration) {
	points := d.decayed(uint32(min(n, pointMax))<<fraction, int64(late)/d.decayStep)
	*to = uint32(min(uint64(*to)+uint64(points), pointMax<<fraction))
}

// scoreRequest scores one answered request; true if the score may have risen.
func (d *Detector) scoreRequest(s *sight) bool {
	ev, e, w := s.event, s.entry, &d.rules.Weights
	rose := false
	if len(ev.Agent) > 0 && d.agents.tool(d.signatures, ev.Agent) && d.meet(e, toolID) {
		d.add(&e.points, w.Tool, s.late)
		s.probed, s.sure, rose = true, true, true
	}
	switch {
	case answered(ev.Status):
		d.add(&e.hits, s.count, s.late)
		return rose
	case !missed(ev.Status) && ev.Status != 0 || len(ev.Path) == 0:
		return rose
	case d.signatures.ProbePath(ev.Path):
		s.probed, s.sure = true, true
		if d.meet(e, d.secret.sum(ev.Path, saltPath)) {
			d.add(&e.points, w.ProbePath, s.late)
			rose = true
		}
	case ev.Status != 0 && d.meet(e, d.secret.sum(ev.Path, saltPath)):
		d.add(&e.missed, 1, s.late)
		rose = true
	}
	return rose
}

// scoreOther scores a probe, or access denied.
func (d *Detector) scoreOther(s *sight) bool {
	if s.event.Kind == logs.Probe {
		s.probed = true
		s.entry.probes = uint8(min(int(s.entry.probes)+min(s.count, badTries), badTries))
		d.add(&s.entry.points, min(s.count, pointMax)*d.rules.Weights.Probe, s.late)
		return true
	}
	n := s.count
	if p := s.event.Path; len(p) > 0 {
		if !d.meet(s.entry, d.secret.sum(p, saltDenied)) {
			return false
		}
		n = 1
	}
	d.add(&s.entry.points, min(n, pointMax)*d.rules.Weights.Denied, s.late)
	return true
}

func answered(status int) bool {
	return status >= 200 && status < 300 || status == 304 || status == 101
}

func missed(status int) bool {
	switch status {
	case 400, 403, 404, 405, 406, 410, 444: // 444: nginx hung up, as it was told to
		return true
	}
	return false
}

const (
	saltPath, saltDenied, saltAccount = 1, 2, 3
	// toolID stands for the signature of a tool among the paths.
	toolID = 0
)

// meet says whether the entry meets a path for the first time. Those met last are kept, at least as
// many as it takes to be isolated: what has been forgotten counts anew.
func (d *Detector) meet(e *entry, id uint32) bool {
	in := (int(e.npaths)+blockWords-1)%blockWords + 1 // used of the first block
	for i, n := e.paths, in; i != 0; n = blockWords {
		b := d.blocks.at(i)
		if slices.Contains(b.words[:n], id) {
			return false
		}
		i = b.next
	}
	if e.npaths == 0 || in == blockWords {
		if !d.freshPaths(e) {
			return true
		}
		in = 0
	}
	d.blocks.at(e.paths).words[in] = id
	e.npaths++
	return true
}

// freshPaths puts an empty block before the paths: a new one, or the one with the oldest.
func (d *Detector) freshPaths(e *entry) bool {
	var i uint32
	if int(e.npaths) < d.maxPaths {
		if i = d.take(); i == 0 {
			return false
		}
	} else {
		last := &e.paths
		for d.blocks.at(*last).next != 0 {
			last = &d.blocks.at(*last).next
		}
		i, *last = *last, 0
		e.npaths -= blockWords
		*d.blocks.at(i) = block{}
	}
	d.blocks.at(i).next = e.paths
	e.paths = i
	return true
}
