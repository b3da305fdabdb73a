package workflows

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
)

// How much a DefenseMode remembers: threats, for their names must be known when they are told again,
// and changes.
const (
	threatsKept        = 200
	defenseChangesKept = 50
)

// mostThreats is the highest number of threats that a policy may ask for: as many are always known.
const mostThreats = threatsKept / 2

// DefenseState is what a DefenseMode knows; it is the answer to the query "status".
type DefenseState struct {
	// Shown is what holds for the fleet: the memo "mode".
	Shown  shivx.FleetMode     `json:"shown"`
	Policy shivx.DefensePolicy `json:"policy"`
	// Restored is when a person ended a lockdown last, or chose ELEVATED.
	Restored *shivx.ModeChange `json:"restored,omitempty"`
	// Calmed is when a person ended ELEVATED on a host last. Threats before it, as before Restored, do
	// not count.
	Calmed *shivx.ModeChange `json:"calmed,omitempty"`
	// Lockdowns were begun or confirmed since Restored; of these the longest holds.
	Lockdowns []shivx.ModeChange `json:"lockdowns,omitempty"`
	// Threats of the level high or critical, the latest, oldest first.
	Threats []SeenThreat `json:"threats,omitempty"`
	// Tight is a time at which the mode was ELEVATED by threats that are not kept any more.
	Tight time.Time `json:"tight,omitzero"`
	// Changes of the mode, the latest, oldest first.
	Changes []shivx.FleetMode `json:"changes,omitempty"`
	Messages
}

// SeenThreat is what is kept of a threat.
type SeenThreat struct {
	ID     string           `json:"id"`
	At     time.Time        `json:"at"`
	Host   string           `json:"host"`
	Type   shivx.ThreatType `json:"threat_type"`
	Source string           `json:"source"`
}

// defenseMode is the running DefenseMode.
type defenseMode struct {
	DefenseState
	signals []signalReader
	teller
	// due is when the mode changes by itself; zero: it does not.
	due time.Time
	// asked is when a person has asked for a lockdown last.
	asked time.Time
}

func lockdownSpan(c shivx.ModeChange) (made, until time.Time) { return c.At, c.Until }

// lockDown takes a lockdown, or the word that keeps one.
func (s *DefenseState) lockDown(c shivx.ModeChange) {
	c.To = shivx.DefenseLockdown
	s.Lockdowns = addClaim(s.Lockdowns, c, lockdownSpan)
	s.forget()
}

// restore takes the end of a lockdown.
func (s *DefenseState) restore(c shivx.ModeChange) {
	s.Restored = latestChange(s.Restored, &c)
	s.forget()
}

// latestChange returns the later one of two changes; nil stands for none.
func latestChange(a, b *shivx.ModeChange) *shivx.ModeChange {
	switch {
	case a == nil:
		return b
	case b == nil, a.At.After(b.At), a.At.Equal(b.At) && wording(*a) > wording(*b):
		return a
	}
	return b
}

// forget drops the lockdowns that were ended.
func (s *DefenseState) forget() {
	if s.Restored != nil {
		s.Lockdowns = claimsAfter(s.Lockdowns, s.Restored.At, lockdownSpan)
	}
}

// lastWord is when somebody said something about the mode last.
func (s *DefenseState) lastWord() time.Time {
	last := s.Shown.At
	if c := latestChange(s.Restored, s.Calmed); c != nil {
		last = later(last, c.At)
	}
	for _, c := range s.Lockdowns {
		last = later(last, c.At)
	}
	return last
}

// seen keeps a threat and says whether it is new. What is late takes its place in time, so that the
// order in which threats are told does not matter.
func (s *DefenseState) seen(t SeenThreat) bool {
	if slices.ContainsFunc(s.Threats, func(k SeenThreat) bool { return k.ID == t.ID }) {
		return false
	}
	if len(s.Threats) == threatsKept {
		if !t.At.After(s.Threats[0].At) {
			return false
		}
		s.dropOldest(t.At)
	}
	at, _ := slices.BinarySearchFunc(s.Threats, t, func(a, b SeenThreat) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID))
	})
	s.Threats = slices.Insert(s.Threats, at, t)
	return true
}

// dropOldest forgets the oldest threat, but not that the mode was ELEVATED by it.
func (s *DefenseState) dropOldest(now time.Time) {
	from := s.calmSince(now)
	before, dropped := s.elevated(from), s.Threats[0].At
	s.Threats = slices.Delete(s.Threats, 0, 1)
	if t := s.elevated(from); !before.since.IsZero() && !t.since.Equal(before.since) {
		s.Tight = later(before.since, dropped)
	}
}

// calmSince is the time from which on threats count at now.
func (s *DefenseState) calmSince(now time.Time) time.Time {
	var from time.Time
	if c := latestChange(s.Restored, s.Calmed); c != nil {
		from = c.At
	}
	if len(s.Lockdowns) > 0 {
		if l, _ := joinClaims(s.Lockdowns, lockdownSpan); !outlasts(l.Until, now) {
			from = later(from, l.Until)
		}
	}
	return from
}

// tight is a stretch of time over which the mode is ELEVATED.
type tight struct {
	since, last time.Time // zero: it never was
	by          SeenThreat
}

// elevated returns the last stretch of time, after from, that began when there were enough threats within
// the window, and went on for as long as one followed the other within it.
func (s *DefenseState) elevated(from time.Time) (out tight) {
	n, window := s.Policy.Threats, s.Policy.Window.Std()
	if s.Restored != nil && s.Restored.To == shivx.DefenseElevated && !s.Restored.At.Before(from) {
		out.since, out.last = s.Restored.At, s.Restored.At
	}
	if s.Tight.After(from) && !s.Tight.Before(out.last) {
		out.since, out.last = s.Tight, s.Tight
	}
	first := slices.IndexFunc(s.Threats, func(t SeenThreat) bool { return t.At.After(from) })
	if first < 0 {
		return out
	}
	counted := s.Threats[first:]
	for i, t := range counted {
		if !out.since.IsZero() && t.At.Sub(out.last) >= window {
			out.since = time.Time{}
		}
		enough := i >= n-1 && t.At.Sub(counted[i-(n-1)].At) <= window
		if out.since.IsZero() && enough {
			out.since, out.by = t.At, t
		}
		out.last = later(out.last, t.At)
	}
	return out
}

// holds is the mode at now, and what led to it. It follows from what was said alone, and not from the
// order in which that came.
func (s *DefenseState) holds(now time.Time) shivx.ModeChange {
	var rolledBack *shivx.ModeChange
	if len(s.Lockdowns) > 0 {
		l, at := joinClaims(s.Lockdowns, lockdownSpan)
		l.At = at
		if outlasts(l.Until, now) {
			return l
		}
		rolledBack = &l
	}
	from, window := s.calmSince(now), s.Policy.Window.Std()
	t := s.elevated(from)
	if until := t.last.Add(window); !t.since.IsZero() && now.Before(until) {
		return s.elevation(t, until.UTC())
	}
	switch {
	case !t.since.IsZero():
		return shivx.ModeChange{To: shivx.DefenseNormal, By: shivx.Guardian, At: t.last.Add(window).UTC(),
			Reason: "there was no serious threat for " + shivx.Duration(window).String()}
	case rolledBack != nil:
		return shivx.ModeChange{To: shivx.DefenseNormal, By: shivx.Guardian, At: rolledBack.Until, Host: rolledBack.Host,
			Reason: "nobody has confirmed the lockdown in time, which was: " + rolledBack.Reason}
	case s.Restored != nil || s.Calmed != nil:
		c := *latestChange(s.Restored, s.Calmed)
		c.To, c.Until = shivx.DefenseNormal, time.Time{}
		return c
	}
	return shivx.ModeChange{To: shivx.DefenseNormal, By: byTemporal, Reason: "nothing has happened yet"}
}

func (s *DefenseState) elevation(t tight, until time.Time) shivx.ModeChange {
	c := shivx.ModeChange{To: shivx.DefenseElevated, By: shivx.Guardian, At: t.since, Until: until}
	switch {
	case t.by.ID != "":
		c.Host = t.by.Host
		c.Reason = fmt.Sprintf("%d threats of the level high or critical within %s, the last one %s of %s",
			s.Policy.Threats, s.Policy.Window, t.by.Type, t.by.Source)
	case s.Restored != nil && s.Restored.To == shivx.DefenseElevated && s.Restored.At.Equal(t.since):
		c.By, c.Reason = s.Restored.By, s.Restored.Reason
	default:
		c.At, c.Reason = s.Shown.At, s.Shown.Reason
	}
	return c
}

// worthShowing says whether hosts must know of the difference. That the end of ELEVATED moves with
// every threat is shown from time to time.
func (d *defenseMode) worthShowing(c shivx.ModeChange, restoredAt, now time.Time) bool {
	s := d.Shown
	switch {
	case s.Number == 0 || c.To != s.To || !restoredAt.Equal(s.RestoredAt):
		return true
	case c.To == shivx.DefenseElevated:
		return c.Until.Sub(s.Until) >= d.Policy.Window.Std()/4 || c.Until.Before(s.Until) || !now.Before(s.Until)
	case c.To == shivx.DefenseLockdown:
		return !c.At.Equal(s.At) || !c.Until.Equal(s.Until) || c.Unconfirmed != s.Unconfirmed
	}
	return false
}

// clocksApart is how far a host's clock may be ahead.
const clocksApart = time.Hour

// restoredAt is when a person ended a lockdown last.
func (s *DefenseState) restoredAt() time.Time {
	if s.Restored == nil {
		return time.Time{}
	}
	return s.Restored.At
}

// firstNumber is the number before the first change of a run. Messages to people have their names by the
// numbers, and those of a run that was terminated must not come again: there are less changes than seconds.
func firstNumber(ctx workflow.Context) uint64 {
	return uint64(max(0, workflow.Now(ctx).Unix()))
}
