package detect

import "time"

// The requests of a source are counted by the second of its own clock, for the minute up to its newest
// event: exact to a second, also for one that comes rarely. Up to eight seconds with requests stand in
// the entry itself, as the second's last six bits and a count of ten bits; beyond that a ring of sixty
// counts takes two blocks until the source has been quiet for a minute.

const (
	minute      = time.Minute
	seconds     = 60
	fewMax      = 1<<10 - 1
	ringHalf    = seconds / 2 // counts of 16 bits in one block
	ringMax     = 1<<16 - 1
	wholeSecond = int64(time.Second)
)

func second(at int64) int64 { return at / wholeSecond }

// countRequests adds n requests at a time at most a minute before the entry's newest event.
func (d *Detector) countRequests(e *entry, at int64, n int) {
	sec := second(at)
	if second(e.last)-sec >= seconds {
		return
	}
	if e.ring == 0 && (e.addFew(sec, n) || !d.makeRing(e)) {
		return
	}
	w, shift := d.ringSlot(e, sec)
	have := *w >> shift & ringMax
	n = min(n, ringMax-int(have))
	*w += uint32(n) << shift
	e.asked += uint32(n)
}

// addFew counts within the entry; false if there is no room for it.
func (e *entry) addFew(sec int64, n int) bool {
	for i := range e.few[:e.nfew] {
		if e.few[i]>>10 != uint16(sec&63) {
			continue
		}
		if n > fewMax-int(e.few[i]&fewMax) {
			return false
		}
		e.few[i] += uint16(n)
		e.asked += uint32(n)
		return true
	}
	if int(e.nfew) == len(e.few) || n > fewMax {
		return false
	}
	e.few[e.nfew] = uint16(sec&63)<<10 | uint16(n)
	e.nfew++
	e.asked += uint32(n)
	return true
}

// makeRing moves what the entry has counted to a ring; false if there is no block left.
func (d *Detector) makeRing(e *entry) bool {
	first := d.take()
	if first == 0 {
		return false
	}
	other := d.take()
	if other == 0 {
		d.blocks.give(first)
		return false
	}
	d.blocks.at(first).next = other
	e.ring = first
	newest := second(e.last)
	for _, f := range e.few[:e.nfew] {
		w, shift := d.ringSlot(e, newest-(newest-int64(f>>10))&63)
		*w += uint32(f&fewMax) << shift
	}
	e.nfew = 0
	return true
}

// ringSlot returns where the count of a second is.
func (d *Detector) ringSlot(e *entry, sec int64) (word *uint32, shift int) {
	b, i := d.blocks.at(e.ring), int(sec%seconds)
	if i >= ringHalf {
		b, i = d.blocks.at(b.next), i-ringHalf
	}
	return &b.words[i/2], i % 2 * 16
}

// passSeconds lets the entry's newest second go from one to a later one: what is a minute old by then
// no longer counts.
func (d *Detector) passSeconds(e *entry, from, to int64) {
	switch {
	case e.asked == 0 || from == to:
	case to-from >= seconds:
		d.dropRequests(e)
	case e.ring != 0:
		first := d.blocks.at(e.ring)
		halves := [2]*block{first, d.blocks.at(first.next)}
		for s := int((from + 1) % seconds); from < to; from++ {
			w, shift := &halves[s/ringHalf].words[s%ringHalf/2], s%2*16
			have := *w >> shift & ringMax
			*w -= have << shift
			e.asked -= have
			if s++; s == seconds {
				s = 0
			}
		}
	default:
		kept := e.few[:0]
		for _, f := range e.few[:e.nfew] {
			if (from-int64(f>>10))&63+to-from < seconds {
				kept = append(kept, f)
			} else {
				e.asked -= uint32(f & fewMax)
			}
		}
		e.nfew = uint8(len(kept))
	}
}

// dropRequests forgets all requests.
func (d *Detector) dropRequests(e *entry) {
	e.ring = d.blocks.give(e.ring)
	e.asked, e.nfew = 0, 0
}
