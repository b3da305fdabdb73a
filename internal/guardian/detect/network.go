package detect

import "slices"

// A network is attacked from when many of its sources attack, however few attempts each makes. Its
// records are its sources: those that are bad, and those that logged in. The latter are taken off:
// where as many get in as fail there are people.
//
// A source is bad from its third failure or probe within slow_window on (probes: without a pause as
// long as that): web logs do not tell who got it right at last, and a network of people is not shut out
// for a typing error each. It is bad at once by a probe path or the signature of a tool, and by a
// failure or probe after a warning of its own. Requests, not-founds and access denied count for nothing.

// badTries is from which failure or probe on a source is bad for its network.
const badTries = 3

// bad says whether a source that failed or probed now counts for its network.
func (d *Detector) bad(s *sight) bool {
	e, at := s.entry, micros(s.at)
	if s.sure {
		return true
	}
	records := s.records
	if records == nil && e.nrecords > 0 {
		records = d.load(e, at)
	}
	if d.tries(e, records, at) >= badTries {
		return true
	}
	if e.marks == 0 {
		return false
	}
	for m := burstMetric; m <= scanMetric; m++ {
		if level, since := d.mark(e, m, s.at); level != 0 && !over(s.at, since, d.rules.SlowWindow) {
			return true
		}
	}
	return false
}

// tries counts the failures within slow_window, and the probes.
func (d *Detector) tries(e *entry, records []record, at int64) int {
	return total(since(records, at-d.rules.SlowWindow.Microseconds())) + int(e.probes)
}

// member is what a source did, in the upper bit of its record.
const (
	memberBad  uint32 = 0
	memberGood uint32 = 1 << 31
)

// join notes what the source of an event did for its network.
func (d *Detector) join(s *sight, what uint32) {
	key, k, member := networkOf(s.entry.key, s.entry.kind)
	i := d.table.find(key, k)
	if i == 0 {
		if i = d.enter(key, k, s.at); i == 0 {
			return
		}
	}
	d.working[1] = i
	e := d.table.at(i)
	e.flags |= flagAgain
	d.pass(e, s.at)
	before := 0
	if e.marks != 0 {
		before = d.members(e, s.at)
	}
	d.noteMember(e, member|what, micros(s.at))
	if what == memberBad {
		n := d.members(e, s.at)
		if level := d.passes(e, s.at, networkMetric, before, n); level != 0 {
			d.decide(s, e, networkMetric, level, n, map[string]any{"sources": n, "window": d.rules.SlowWindow.String()})
		}
	}
	d.file(i, e)
	d.working[1] = 0
}

// noteMember notes when a source of the network did something last.
func (d *Detector) noteMember(e *entry, id uint32, at int64) {
	left := int(e.nrecords)
	for i := e.records; i != 0; i = d.blocks.at(i).next {
		b := d.blocks.at(i)
		for r := range min(left, recordsBlock) {
			if w := b.words[r*recordWords:][:recordWords]; w[2] == id {
				have := fullTime(uint64(w[0])|uint64(w[1]>>16)<<32, at)
				have = max(have, at)
				w[0], w[1] = uint32(have), uint32(uint64(have)>>32)<<16
				return
			}
		}
		left -= recordsBlock
	}
	records := d.load(e, at)
	same := func(r record) bool { return r.id&memberGood == id&memberGood }
	if n := count(records, same); n >= d.limits[networkMetric].critical {
		oldest := -1
		for i, r := range records {
			if same(r) && (oldest < 0 || r.at < records[oldest].at) {
				oldest = i
			}
		}
		records = slices.Delete(records, oldest, oldest+1)
	}
	records = append(records, record{at: at, id: id})
	d.space = records[:0]
	d.store(e, records, 0)
}

func count(records []record, what func(record) bool) int {
	n := 0
	for _, r := range records {
		if what(r) {
			n++
		}
	}
	return n
}

// members returns how many more sources are bad than log in.
func (d *Detector) members(e *entry, now int64) int {
	at := micros(now)
	after, left, n := at-d.rules.SlowWindow.Microseconds(), int(e.nrecords), 0
	for i := e.records; i != 0; i = d.blocks.at(i).next {
		b := d.blocks.at(i)
		for r := range min(left, recordsBlock) {
			w := b.words[r*recordWords:][:recordWords]
			if fullTime(uint64(w[0])|uint64(w[1]>>16)<<32, at) <= after {
				continue
			}
			if w[2]&memberGood == 0 {
				n++
			} else {
				n--
			}
		}
		left -= recordsBlock
	}
	return max(n, 0)
}

// leave takes back that a source was bad, when its failures were taken back.
func (d *Detector) leave(e *entry) {
	key, k, member := networkOf(e.key, e.kind)
	i := d.table.find(key, k)
	if i == 0 {
		return
	}
	network := d.table.at(i)
	records := d.load(network, micros(network.last))
	records = slices.DeleteFunc(records, func(r record) bool { return r.id == member|memberBad })
	d.store(network, records, 0)
}

func (d *Detector) networkRank(e *entry) rank {
	switch {
	case e.marks != 0, 2*int(e.nrecords) >= d.limits[networkMetric].warning && d.members(e, e.last)*2 >= d.limits[networkMetric].warning:
		return rankNear
	case e.nrecords > 0:
		return rankFailed
	default:
		return rankAsked
	}
}
