package abuse

import (
	"fmt"
	"math"
	"time"

	"github.com/shivx/shivx"
)

const (
	// horizon is how far growth is looked ahead at most: what jitters for a few seconds says nothing
	// about the next hour.
	horizon = time.Minute
	// exhaustion is how near the end of the machine's memory must be to count before the budget's.
	exhaustion = 10 * time.Second
	// lookback is for how long growth must have lasted without a break, at most.
	lookback = 5 * time.Second
	// crowd is how many processes beyond the budget, or new within a second, are a bomb at least: fewer
	// may be a restart.
	crowd = 10
	// forgiveness is how many seconds beyond a budget one second within it takes back. So a dip does not
	// begin everything anew, and who is within the budget for more than a tenth of the time is spared.
	forgiveness = 9
	megabyte    = 1 << 20
)

// limits are what a target may use; 0: as much as it likes.
type limits struct {
	// cpu is in percent of one core, memory in bytes.
	cpu, memory int64
	processes   int
	span        time.Duration
}

// reading is what a target used up to one moment.
type reading struct {
	at time.Time
	// cpu is the time used in total.
	cpu    time.Duration
	memory int64
	// processes live now, of which so many were not there at the last reading.
	processes, born int
	// available is the memory that the machine has left; 0: not known.
	available int64
}

// breach is a use beyond the limits.
type breach struct {
	kind shivx.ThreatType
	// bomb needs no waiting: it grows.
	bomb bool
	// used and allowed are words for people.
	used, allowed string
	evidence      map[string]any
}

// meter judges the readings of one target in the order of their times. It has no clock.
type meter struct {
	limits
	// recent readings, oldest first: as many as growth is judged by.
	recent []reading
	// hot, full and crowded say for how long CPU, memory and processes have been beyond the budget.
	hot, full, crowded held
	percent            int64
}

// held is for how long something has been beyond its limit.
type held struct {
	time.Duration
	since reading
}

func (h *held) add(over bool, last reading, dt time.Duration) {
	switch {
	case !over:
		h.Duration = max(0, h.Duration-forgiveness*dt)
	case h.Duration == 0:
		h.since = last
		fallthrough
	default:
		h.Duration += dt
	}
}

// add takes a reading and returns a breach, or nil.
func (m *meter) add(r reading) *breach {
	m.recent = append(m.recent, r)
	for len(m.recent) > 3 && r.at.Sub(m.recent[1].at) >= m.window() {
		m.recent = m.recent[1:]
	}
	if len(m.recent) == 1 {
		return m.swarm(r, 0)
	}
	last := m.recent[len(m.recent)-2]
	dt := r.at.Sub(last.at)
	if dt <= 0 {
		m.recent = m.recent[:len(m.recent)-1]
		return nil
	}
	m.percent = percent(last, r)
	m.hot.add(m.cpu > 0 && m.percent > m.cpu, last, dt)
	m.full.add(m.memory > 0 && min(last.memory, r.memory) > m.memory, last, dt)
	m.crowded.add(m.processes > 0 && min(last.processes, r.processes) > m.processes, last, dt)
	for _, b := range []*breach{m.swarm(r, dt), m.multiplying(r), m.swelling(r), m.exhausting(r), m.lasting(r)} {
		if b != nil {
			return b
		}
	}
	return nil
}

// percent is the use of CPU between two readings.
func percent(from, to reading) int64 {
	return int64(math.Round(100 * float64(to.cpu-from.cpu) / float64(to.at.Sub(from.at))))
}

// swarm finds more processes at once than anything honest starts.
func (m *meter) swarm(r reading, dt time.Duration) *breach {
	if m.processes == 0 {
		return nil
	}
	newPerSecond := 0.0
	if dt > 0 {
		newPerSecond = float64(r.born) / max(dt.Seconds(), 1) // several rounds a second are still one wave
	}
	twice := r.processes > 2*m.processes && r.processes-m.processes >= crowd
	if !twice && newPerSecond <= float64(max(m.processes, crowd)) {
		return nil
	}
	b := m.tooMany(r)
	b.bomb = true
	if newPerSecond >= 1 {
		b.used += fmt.Sprintf(", %.0f new within a second", newPerSecond)
		b.evidence["new_per_second"] = int(newPerSecond)
	}
	return b
}

// multiplying finds processes beyond the budget that will be twice as many soon.
func (m *meter) multiplying(r reading) *breach {
	rate := m.lastingRise(func(r reading) int64 { return int64(r.processes) })
	if m.processes == 0 || r.processes <= m.processes || rate*m.ahead() < float64(r.processes) {
		return nil
	}
	b := m.tooMany(r)
	b.bomb = true
	b.used += fmt.Sprintf(", and %.0f more every second", rate)
	b.evidence["more_per_second"] = int(rate)
	return b
}

// swelling finds memory beyond the budget that will be twice as much soon.
func (m *meter) swelling(r reading) *breach {
	rate := m.lastingRise(memoryOf)
	if m.memory == 0 || r.memory <= m.memory || rate*m.ahead() < float64(r.memory) {
		return nil
	}
	return m.growing(r, rate)
}

// exhausting finds memory that will take all that the machine has left before anybody can look.
func (m *meter) exhausting(r reading) *breach {
	if m.memory == 0 || r.memory < m.memory/2 || r.available <= 0 || len(m.recent) < 3 {
		return nil
	}
	rate := rising(m.recent[len(m.recent)-3:], memoryOf)
	if rate*min(m.span, exhaustion).Seconds() < float64(r.available) {
		return nil
	}
	b := m.growing(r, rate)
	b.used += fmt.Sprintf(" with %d MB left on the machine", r.available/megabyte)
	b.evidence["machine_has_left_mb"] = r.available / megabyte
	return b
}

func memoryOf(r reading) int64 { return r.memory }

// ahead is how many seconds growth is looked ahead.
func (m *meter) ahead() float64 { return min(m.span, horizon).Seconds() }

// window is for how long growth must have lasted.
func (m *meter) window() time.Duration { return min(lookback, m.span/3) }

// lastingRise is rising over the whole window; 0 before that is known.
func (m *meter) lastingRise(of func(reading) int64) float64 {
	n := len(m.recent)
	if n < 3 || m.recent[n-1].at.Sub(m.recent[0].at) < m.window() {
		return 0
	}
	return rising(m.recent, of)
}

// rising returns the growth per second over readings that all grow; 0 when one does not.
func rising(readings []reading, of func(reading) int64) float64 {
	for i := 1; i < len(readings); i++ {
		if of(readings[i]) <= of(readings[i-1]) {
			return 0
		}
	}
	first, last := readings[0], readings[len(readings)-1]
	return float64(of(last)-of(first)) / last.at.Sub(first.at).Seconds()
}

// lasting finds what has been beyond the budget for its whole time.
func (m *meter) lasting(r reading) *breach {
	switch {
	case m.full.Duration >= m.span:
		b := m.tooMuch(r)
		b.lasts(m.full.Duration)
		return b
	case m.crowded.Duration >= m.span:
		b := m.tooMany(r)
		b.lasts(m.crowded.Duration)
		return b
	case m.hot.Duration < m.span:
		return nil
	}
	average := percent(m.hot.since, r)
	b := &breach{
		kind: shivx.ThreatCPU, used: fmt.Sprintf("%d %% of a core", average), allowed: fmt.Sprintf("%d %%", m.cpu),
		evidence: map[string]any{"cpu_percent": average, "allowed_cpu_percent": m.cpu},
	}
	b.lasts(m.hot.Duration)
	return b
}

func (b *breach) lasts(d time.Duration) {
	b.used += " for " + d.Round(100*time.Millisecond).String()
	b.evidence["beyond_for_seconds"] = d.Round(100 * time.Millisecond).Seconds()
}

func (m *meter) tooMany(r reading) *breach {
	return &breach{
		kind: shivx.ThreatFork, used: fmt.Sprintf("%d processes", r.processes), allowed: fmt.Sprint(m.processes),
		evidence: map[string]any{"processes": r.processes, "allowed_processes": m.processes},
	}
}

func (m *meter) tooMuch(r reading) *breach {
	return &breach{
		kind: shivx.ThreatMemory, used: fmt.Sprintf("%d MB of memory", r.memory/megabyte), allowed: fmt.Sprintf("%d MB", m.memory/megabyte),
		evidence: map[string]any{"memory_mb": r.memory / megabyte, "allowed_memory_mb": m.memory / megabyte},
	}
}

func (m *meter) growing(r reading, rate float64) *breach {
	b := m.tooMuch(r)
	b.bomb = true
	b.used += fmt.Sprintf(", growing by %.0f MB a second", rate/megabyte)
	b.evidence["grows_mb_per_second"] = int(rate / megabyte)
	return b
}

// beyond is for how long the target has been beyond any limit.
func (m *meter) beyond() time.Duration {
	return max(m.hot.Duration, m.full.Duration, m.crowded.Duration)
}

// tense says that the next reading should not wait: what is counted is past half of its budget and
// grows fast.
func (m *meter) tense() bool {
	n := len(m.recent)
	if n < 2 {
		return false
	}
	last, now := m.recent[n-2], m.recent[n-1]
	return tense(int64(last.processes), int64(now.processes), int64(m.processes)) || tense(last.memory, now.memory, m.memory)
}

func tense(last, now, limit int64) bool {
	return limit > 0 && now > limit/2 && now > last+last/10
}
