package resilience

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

const (
	// gapFactor is how many usual sample intervals make a gap: what happened in it is not known.
	gapFactor = 10
	// usualOf is of how many intervals the usual one is the median.
	usualOf = 5
)

// Machine lets a level follow the score: down fast, up slowly. docs/RESILIENCE.md has the rules.
//
// Its only clock is what Observe is told; time without samples, or with too little confidence,
// counts for nothing. Not for concurrent use.
type Machine struct {
	rules         config.LevelRules
	minConfidence float64
	level         shivx.Level
	held          string
	time          observed

	// worse[r] counts the samples in a row that are at rank r or worse.
	worse [5]int
	climb climb

	// wait is how long the score must be good enough; a relapse doubles it.
	wait time.Duration
	// recovered says that the last change was a rise; at risen, and well since then or since the
	// last time that wait was halved.
	recovered   bool
	risen, well time.Duration
}

// climb is how far the score is on its way to the next better level.
type climb struct {
	// on since the first sample that was good enough; clean since the first after the last that was not.
	on, isClean bool
	since       time.Duration
	clean       time.Duration
	// short counts the samples in a row that were not good enough.
	short int
}

// NewMachine returns a Machine at level start. minConfidence is 0–1.
func NewMachine(rules config.LevelRules, minConfidence float64, start shivx.Level) *Machine {
	if start.Rank() < 0 {
		start = shivx.LevelNormal
	}
	rules.DownSamples = max(rules.DownSamples, 1)
	rules.MaxUpAfter = max(rules.MaxUpAfter, rules.UpAfter)
	return &Machine{rules: rules, minConfidence: minConfidence, level: start, wait: rules.UpAfter}
}

// Level is the level by score.
func (m *Machine) Level() shivx.Level { return m.level }

// Held says why the level does not follow the score just now; "" when it does.
func (m *Machine) Held() string { return m.held }

// Observe takes the score of one sample and the monotonic time at which it was taken. It returns
// the level, and if that changed, why, in one line for people.
func (m *Machine) Observe(elapsed time.Duration, s Score) (level shivx.Level, changed bool, reason string) {
	m.held = ""
	confident := s.Confidence > 0 && s.Confidence >= m.minConfidence && !math.IsNaN(s.Value)
	if unbroken := m.time.pass(elapsed, confident); !unbroken || !confident {
		m.worse, m.climb = [5]int{}, climb{}
	}
	if !confident {
		m.held = fmt.Sprintf("confidence too low: %.1f %% of the readings, %.0f %% are needed", math.Floor(s.Confidence*1000)/10, 100*m.minConfidence)
		return m.level, false, ""
	}
	m.forgive()
	from := m.level
	if reason = m.fall(s); reason == "" {
		reason = m.rise(s)
	}
	return m.level, m.level != from, reason
}

// forgive halves the wait for each MaxUpAfter that passes without a change after a rise.
func (m *Machine) forgive() {
	if m.recovered && m.time.now-m.well >= m.rules.MaxUpAfter {
		m.wait = max(m.wait/2, m.rules.UpAfter)
		m.well = m.time.now
	}
}

// fall goes down to the best level among the last DownSamples samples if that is worse than the
// level now.
func (m *Machine) fall(s Score) (reason string) {
	rank := shivx.LevelOf(s.Value).Rank()
	to := 0
	for r := range m.worse {
		if rank < r {
			m.worse[r] = 0
			continue
		}
		m.worse[r]++
		if m.worse[r] >= m.rules.DownSamples {
			to = r
		}
	}
	now := m.level.Rank()
	if to <= now {
		if rank > now {
			m.held = fmt.Sprintf("worse than %s in %d of %d samples", m.level, m.worse[now+1], m.rules.DownSamples)
		}
		return ""
	}
	if m.recovered && m.time.now-m.risen < m.rules.MaxUpAfter {
		m.wait = min(2*m.wait, m.rules.MaxUpAfter)
	}
	m.recovered, m.climb = false, climb{}
	m.level = shivx.Levels()[to]
	reason = fmt.Sprintf("score below %.0f in %d samples, now %.1f", shivx.Levels()[to-1].Floor(), m.rules.DownSamples, s.Value)
	return reason + dearest(s)
}

// dearest names what costs a score most, to follow other words; "" when nothing costs anything.
func dearest(s Score) string {
	if len(s.Terms) == 0 || s.Terms[0].Cost <= 0 {
		return ""
	}
	return fmt.Sprintf("; %s (%s) costs most", s.Terms[0].Name, s.Terms[0].Reading)
}

// rise goes up by one level once the score was good enough for long enough. What is missing counts
// as it was last known, however long ago: that nobody can see a full disk does not empty it.
//
// Fewer short samples in a row than make the level fall do not start the wait again, but UpAfter
// must have passed since: else single spikes would keep a host down that they cannot bring down.
func (m *Machine) rise(s Score) (reason string) {
	now := m.level.Rank()
	if now == 0 {
		return ""
	}
	to := shivx.Levels()[now-1]
	need := to.Floor() + float64(m.rules.Margin)
	if s.Value < need {
		m.climb.fallShort(m.rules.DownSamples)
		if s.Value >= to.Floor() {
			m.held = fmt.Sprintf("score %.1f, rises to %s only from %.0f on", s.Value, to, need)
		}
		return ""
	}
	if !s.lets(need) {
		m.climb.fallShort(m.rules.DownSamples)
		m.held = fmt.Sprintf("%s is missing: with what was last known of it (%s) the score is %.1f, rises to %s from %.0f on",
			s.lost.term, s.lost.reading, s.lost.value, to, need)
		return ""
	}
	m.climb.goOn(m.time.now)
	since := m.time.now - m.climb.since
	left := max(m.wait-since, m.rules.UpAfter-(m.time.now-m.climb.clean))
	if left > 0 {
		m.held = fmt.Sprintf("good enough since %s, rises after %s", short(since), short(since+left))
		return ""
	}
	m.level, m.climb = to, climb{}
	m.recovered, m.risen, m.well = true, m.time.now, m.time.now
	if now > 1 && s.lets(shivx.Levels()[now-2].Floor()+float64(m.rules.Margin)) {
		m.climb.goOn(m.time.now)
		m.held = fmt.Sprintf("good enough since 0s, rises after %s", short(m.wait))
	}
	return fmt.Sprintf("score at least %.0f for %s, now %.1f", need, short(since), s.Value)
}

func (c *climb) goOn(now time.Duration) {
	if !c.on {
		c.on, c.since = true, now
	}
	if !c.isClean {
		c.isClean, c.clean = true, now
	}
	c.short = 0
}

func (c *climb) fallShort(tooMany int) {
	c.short++
	c.isClean = false
	if c.short >= tooMany {
		c.on = false
	}
}

// short is d for people: whole seconds.
func short(d time.Duration) time.Duration { return d.Round(time.Second) }

// observed is the time during which the host was observed.
type observed struct {
	now   time.Duration
	last  time.Duration // elapsed at the sample before
	begun bool
	gaps  []time.Duration // the last intervals between two samples, at most usualOf
}

// pass counts the time since the sample before if it is known what happened in it, and says
// whether it is: not after a gap, and not when the clock went back.
func (o *observed) pass(elapsed time.Duration, counts bool) (unbroken bool) {
	gap := elapsed - o.last
	o.last = elapsed
	if !o.begun {
		o.begun = true
		return true
	}
	if gap < 0 {
		return false
	}
	unbroken = len(o.gaps) == 0 || gap/gapFactor <= o.usual()
	if gap > 0 {
		if len(o.gaps) == usualOf {
			o.gaps = slices.Delete(o.gaps, 0, 1)
		}
		o.gaps = append(o.gaps, gap)
	}
	if unbroken && counts {
		o.now += gap
	}
	return unbroken
}

// usual is the median of the last intervals: one that is out of the ordinary does not move it, a
// lasting change does.
func (o *observed) usual() time.Duration {
	var sorted [usualOf]time.Duration
	n := copy(sorted[:], o.gaps)
	slices.Sort(sorted[:n])
	return sorted[n/2]
}
