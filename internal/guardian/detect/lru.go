package detect

import "time"

// rank is how much it would cost to forget an entry, and the list it is in.
type rank uint8

const (
	rankAsked  rank = iota // has only asked
	rankBusy               // has only asked, and takes blocks
	rankFailed             // has failed, probed, or asks half as often as is recorded
	rankNear               // is half way to a threshold, or has passed one
	rankPinned             // is isolated, and stays
	ranks
)

// list is ordered from those that came last to those that came first. An entry that is seen again does
// not move, which would touch its neighbours' memory at each event: it is marked, and goes to the front
// instead of being evicted when it has come to the end.
type list struct {
	front, back uint32
	n           int
}

func (d *Detector) pushFront(i uint32, r rank) {
	l, e := &d.lists[r], d.table.at(i)
	e.list, e.prev, e.next = r, 0, l.front
	e.flags &^= flagAgain
	if l.front != 0 {
		d.table.at(l.front).prev = i
	} else {
		l.back = i
	}
	l.front = i
	l.n++
}

func (d *Detector) unlink(e *entry) {
	l := &d.lists[e.list]
	if e.prev != 0 {
		d.table.at(e.prev).next = e.next
	} else {
		l.front = e.next
	}
	if e.next != 0 {
		d.table.at(e.next).prev = e.prev
	} else {
		l.back = e.prev
	}
	l.n--
}

// file puts an entry into the list where it belongs by now.
func (d *Detector) file(i uint32, e *entry) {
	if r := d.rankOf(e); r != e.list {
		d.unlink(e)
		d.pushFront(i, r)
	}
}

func (d *Detector) rankOf(e *entry) rank {
	if e.list == rankPinned {
		return rankPinned
	}
	if e.kind.network() {
		return d.networkRank(e)
	}
	l := &d.limits
	switch {
	case e.marks != 0, e.failed > 0 && 2*int(e.failed) >= l[burstMetric].warning,
		e.points|e.missed != 0 && 2*d.score(e) >= l[scanMetric].warning:
		return rankNear
	case e.nrecords > 0, e.points > 0, e.probes > 0, 2*int(e.asked) >= l[rateMetric].warning:
		return rankFailed
	case e.ring != 0, e.paths != 0:
		return rankBusy
	default:
		return rankAsked
	}
}

// matters is for how long after its last event an entry can still change a decision.
func (d *Detector) matters(e *entry) time.Duration {
	switch {
	case e.records != 0, e.marks != 0, e.probes != 0:
		return d.longest
	case e.points|e.missed|e.hits != 0:
		return max(minute, 8*d.rules.ScannerHalfLife)
	default:
		return minute
	}
}

// secondChances bounds how long a search for a victim takes.
const secondChances = 32

// victim returns the entry of a list that is to go first, but not one that is being worked on.
func (d *Detector) victim(r rank) uint32 {
	l := &d.lists[r]
	for range secondChances {
		i := l.back
		if i == 0 {
			return 0
		}
		e := d.table.at(i)
		if e.flags&flagAgain == 0 && !d.busy(i) {
			return i
		}
		d.unlink(e)
		d.pushFront(i, r)
	}
	i := l.back
	for i != 0 && d.busy(i) {
		i = d.table.at(i).prev
	}
	return i
}

func (d *Detector) busy(i uint32) bool { return i == d.working[0] || i == d.working[1] }

// outdated returns an entry at the end of a list that can change no decision any more.
func (d *Detector) outdated(r rank) uint32 {
	i := d.lists[r].back
	if i == 0 || d.busy(i) {
		return 0
	}
	if e := d.table.at(i); time.Duration(d.clock.now-e.last) > d.matters(e) {
		return i
	}
	return 0
}

// nextVictim returns the entry to evict, 0 if none can go. Those near a threshold may take three quarters of
// the room that the pinned leave, and seven eighths together with those that have failed: newcomers
// need some to get anywhere.
func (d *Detector) nextVictim(from rank) uint32 {
	for r := rankNear; r >= rankFailed; r-- {
		if i := d.outdated(r); i != 0 {
			return i
		}
	}
	room := d.table.limit - d.lists[rankPinned].n
	near, failed := d.lists[rankNear].n, d.lists[rankFailed].n
	order := [...]rank{rankAsked, rankBusy, rankFailed, rankNear}
	switch {
	case near > room/4*3:
		order = [...]rank{rankNear, rankAsked, rankBusy, rankFailed}
	case near+failed > room/8*7 && failed > 0:
		order = [...]rank{rankFailed, rankAsked, rankBusy, rankNear}
	}
	for _, r := range order {
		if r < from {
			continue
		}
		if i := d.victim(r); i != 0 {
			return i
		}
	}
	return 0
}

// evict forgets one entry of at least the rank from; false if none can go.
func (d *Detector) evict(from rank) bool {
	i := d.nextVictim(from)
	if i == 0 {
		return false
	}
	d.forget(i)
	d.evicted++
	return true
}

// forget removes an entry with all it has.
func (d *Detector) forget(i uint32) {
	e := d.table.at(i)
	d.unlink(e)
	d.clear(e)
	d.table.remove(i)
}

// clear gives back all blocks of an entry.
func (d *Detector) clear(e *entry) {
	for _, chain := range []*uint32{&e.ring, &e.records, &e.names, &e.paths, &e.marks} {
		*chain = d.blocks.give(*chain)
	}
	e.nrecords, e.npaths, e.failed = 0, 0, 0
}

// take returns a block, from whoever costs least if there is no other; 0 if nobody can go.
func (d *Detector) take() uint32 {
	for d.blocks.full() {
		if !d.evict(rankBusy) {
			return 0
		}
	}
	return d.blocks.take()
}

// enter makes an entry, at the cost of another if there is no room; 0 if nobody can go.
func (d *Detector) enter(key uint64, k kind, at int64) uint32 {
	if d.table.used >= d.table.limit && !d.evict(rankAsked) {
		return 0
	}
	i := d.table.add(key, k)
	e := d.table.at(i)
	e.last, e.first = at, at
	d.pushFront(i, rankAsked)
	return i
}
