package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxBlackout is how far ahead the end of blackouts that follow each other is looked for.
const maxBlackout = 8 * 24 * time.Hour

// BlackoutUntil returns when the blackout ends in which at is; zero: it is in none. Blackouts that follow each
// other are one, which ends after eight days at the latest as far as is told.
func (f *Forecast) BlackoutUntil(at time.Time) time.Time {
	end := at
	for grown := true; grown && end.Sub(at) < maxBlackout; {
		grown = false
		for _, b := range f.Blackouts {
			if until := b.until(end); until.After(end) {
				end, grown = until, true
			}
		}
	}
	if end.Equal(at) {
		return time.Time{}
	}
	return end.UTC()
}

// until returns when b ends that holds at a time; zero: it does not hold then.
func (b Blackout) until(at time.Time) time.Time {
	zone, err := time.LoadLocation(b.TimeZone)
	if err != nil { // refused when the file is read
		zone = time.UTC
	}
	at = at.In(zone)
	var end time.Time
	for _, back := range []int{0, 1} { // it may have begun yesterday
		day := at.AddDate(0, 0, -back)
		if len(b.Days) > 0 && !slices.Contains(b.Days, strings.ToLower(day.Weekday().String()[:3])) {
			continue
		}
		from, to := clockOn(day, b.From, 0), clockOn(day, b.To, 0)
		if !to.After(from) {
			to = clockOn(day, b.To, 1)
		}
		if !at.Before(from) && at.Before(to) && to.After(end) {
			end = to
		}
	}
	return end
}

// clockOn is the time of day on the day of t, some days later.
func clockOn(t time.Time, clock string, later int) time.Time {
	var hour, minute int
	_, _ = fmt.Sscanf(clock, "%d:%d", &hour, &minute) // checked when the file is read
	return time.Date(t.Year(), t.Month(), t.Day()+later, hour, minute, 0, 0, t.Location())
}
