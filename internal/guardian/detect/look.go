package detect

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/shivx/shivx"
)

// Pin keeps a source or network from being evicted while it is isolated. One that is not counted, such
// as a /16, is left alone. Pinned sources take at most seven eighths of the table; false: there is no
// room, and the source is kept as long as any other.
func (d *Detector) Pin(p netip.Prefix) bool {
	key, k, counted := keyOfPrefix(p)
	if !counted {
		return false
	}
	i := d.table.find(key, k)
	if i != 0 && d.table.at(i).list == rankPinned {
		return true
	}
	if limit := d.table.limit; d.lists[rankPinned].n >= limit-limit/8-1 {
		return false
	}
	if i == 0 {
		if i = d.enter(key, k, d.seen); i == 0 {
			return false
		}
	}
	e := d.table.at(i)
	d.unlink(e)
	d.pushFront(i, rankPinned)
	e.flags &^= flagHeld
	return true
}

// Unpin lets a source go and forgets what it did: it starts afresh, also in its network.
func (d *Detector) Unpin(p netip.Prefix) {
	key, k, counted := keyOfPrefix(p)
	if !counted {
		return
	}
	i := d.table.find(key, k)
	if i == 0 {
		return
	}
	if !k.network() {
		d.leave(d.table.at(i))
	}
	d.forget(i)
}

// Look returns what is known of a source or network; false if nothing is.
func (d *Detector) Look(p netip.Prefix) (Sighting, bool) {
	key, k, counted := keyOfPrefix(p)
	if !counted {
		return Sighting{}, false
	}
	i := d.table.find(key, k)
	if i == 0 {
		return Sighting{}, false
	}
	return d.sighting(d.table.at(i)), true
}

func (d *Detector) sighting(e *entry) Sighting {
	return Sighting{
		Source: shivx.SourceString(e.prefix()), First: time.Unix(0, e.first).UTC(), Last: time.Unix(0, e.last).UTC(),
		Requests: int(e.asked), Failures: d.failures(e), Score: float64(d.scoreFine(e)) / one,
	}
}

// failures of a source within failure_window; of a network, the sources that fail.
func (d *Detector) failures(e *entry) int {
	if e.kind.network() {
		return d.members(e, e.last)
	}
	at := micros(e.last)
	return most(d.load(e, at), at, d.rules.FailureWindow)
}

// topSearched bounds how many of each list Top looks at, those that came last.
const topSearched = 4096

// Top returns the n sources and networks that came nearest to a threshold that isolates, the nearest first.
func (d *Detector) Top(n int) []Sighting {
	type placed struct {
		e    *entry
		near float64
	}
	var all []placed
	for _, l := range d.lists {
		i := l.front
		for range topSearched {
			if i == 0 {
				break
			}
			e := d.table.at(i)
			all = append(all, placed{e, d.nearness(e)})
			i = e.next
		}
	}
	slices.SortFunc(all, func(a, b placed) int {
		return cmp.Or(cmp.Compare(b.near, a.near), cmp.Compare(a.e.kind, b.e.kind), cmp.Compare(a.e.key, b.e.key))
	})
	out := make([]Sighting, 0, min(n, len(all)))
	for _, p := range all[:min(max(n, 0), len(all))] {
		out = append(out, d.sighting(p.e))
	}
	return out
}

// nearness is 1 at a threshold that isolates.
func (d *Detector) nearness(e *entry) float64 {
	part := func(n int, m metric) float64 { return float64(n) / float64(d.limits[m].critical) }
	if e.kind.network() {
		return part(d.failures(e), networkMetric)
	}
	slow := 0
	at := micros(e.last)
	if e.nrecords > 0 {
		slow = most(d.load(e, at), at, d.rules.SlowWindow)
	}
	return max(part(d.failures(e), burstMetric), part(slow, slowMetric), part(int(e.asked), rateMetric), part(d.score(e), scanMetric))
}

// Stats returns how full the table is, and what it takes.
func (d *Detector) Stats() Stats {
	return Stats{
		Sources: d.table.used, Capacity: d.table.limit, Evicted: d.evicted,
		Bytes: d.table.bytes() + d.blocks.bytes(), Events: d.events,
	}
}
