package store

import (
	"fmt"
	"time"

	"github.com/shivx/shivx/internal/golden/format"
)

// Policy says which goldens stay. The rules add up: a golden that one of them keeps is kept. Without
// any count all are kept.
type Policy struct {
	// Last is how many of the newest are kept; Daily, Weekly and Monthly of how many days, weeks and
	// months, of those that have a golden, the newest is kept.
	Last, Daily, Weekly, Monthly int
	// MinAge is how old a golden must be before it may be removed, whatever else holds.
	MinAge time.Duration
	// MaxAge is the age from which Last does not keep a golden, but for the newest; 0: it always does.
	MaxAge time.Duration
	// Zone is where days begin at midnight; nil: UTC.
	Zone *time.Location
}

func (p Policy) counts() bool { return p.Last > 0 || p.Daily > 0 || p.Weekly > 0 || p.Monthly > 0 }

// period is a rule that keeps the newest of each of some spans of time.
type period struct {
	word string
	left int
	key  func(time.Time) string
	last string
}

func (p *Policy) periods() []*period {
	week := func(t time.Time) string {
		year, week := t.ISOWeek()
		return fmt.Sprintf("%d-W%02d", year, week)
	}
	return []*period{
		{word: "daily", left: p.Daily, key: func(t time.Time) string { return t.Format(time.DateOnly) }},
		{word: "weekly", left: p.Weekly, key: week},
		{word: "monthly", left: p.Monthly, key: func(t time.Time) string { return t.Format("2006-01") }},
	}
}

// Fate is what prune does with a golden, and why.
type Fate struct {
	Set, ID, Host, Name string
	Kind                format.Kind
	Created             time.Time
	Keep                bool
	// Why it stays, or goes; a kept one may have several reasons.
	Why []string

	golden *counted
}

func (f *Fate) keep(format string, args ...any) {
	if !f.Keep {
		f.Keep, f.Why = true, nil
	}
	f.Why = append(f.Why, fmt.Sprintf(format, args...))
}

// decide applies the policy to goldens of one set, host and kind, newest first.
func (p Policy) decide(fates []*Fate, now time.Time) {
	zone := p.Zone
	if zone == nil {
		zone = time.UTC
	}
	periods := p.periods()
	for i, f := range fates {
		if !p.counts() {
			f.keep("no rule says how many are kept")
		}
		if i < p.Last && (i == 0 || p.MaxAge == 0 || now.Before(f.Created.Add(p.MaxAge))) {
			f.keep("last %d", p.Last)
		}
		local := f.Created.In(zone)
		for _, period := range periods {
			key := period.key(local)
			if period.left == 0 || key == period.last {
				continue
			}
			period.left--
			period.last = key
			f.keep("%s %s", period.word, key)
		}
		if f.Name != "" {
			f.keep("named %s", f.Name)
		}
		if !f.Keep {
			f.Why = []string{"no rule keeps it"}
		}
		f.protect(p, zone, now)
	}
}

// protect keeps what must not be removed yet, whoever wishes it.
func (f *Fate) protect(p Policy, zone *time.Location, now time.Time) {
	if until := f.golden.header.Until; now.Before(until) {
		f.keep("immutable until %s", until.In(zone).Format(time.DateTime))
	}
	if end := f.Created.Add(p.MinAge); now.Before(end) {
		f.keep("not older than %v before %s", p.MinAge, end.In(zone).Format(time.DateTime))
	}
}
