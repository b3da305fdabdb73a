package detect

import (
	"math"
	"slices"
	"time"
)

// record is one failure, or several at the same time for the same account. A network's records are the
// sources in it, with what they did for n.
type record struct {
	at int64  // µs
	id uint32 // hash of the account, 0: none was named; number of the source
	n  uint16
}

const (
	recordWords  = 3
	recordsBlock = blockWords / recordWords
	// timeBits of a time are kept: those of microseconds that differ by less than four years.
	timeBits = 48
	countMax = 1<<16 - 1
)

func micros(ns int64) int64 { return ns / int64(time.Microsecond) }

// fullTime adds to the lower bits of a time what is missing, by a time that is near.
func fullTime(low uint64, near int64) int64 {
	return near - int64(uint64(near)-low)<<(64-timeBits)>>(64-timeBits)
}

// load reads an entry's records, oldest first, into the detector's own space.
func (d *Detector) load(e *entry, near int64) []record {
	out := d.space[:0]
	for i, left := e.records, int(e.nrecords); i != 0 && left > 0; {
		b := d.blocks.at(i)
		for r := range min(left, recordsBlock) {
			w := b.words[r*recordWords:][:recordWords]
			out = append(out, record{
				at: fullTime(uint64(w[0])|uint64(w[1]>>16)<<32, near), n: uint16(w[1]), id: w[2],
			})
		}
		left -= recordsBlock
		i = b.next
	}
	d.space = out[:0]
	return out
}

// store writes an entry's records, of which those before from are as they were loaded. When there is no
// block left, the oldest are lost.
func (d *Detector) store(e *entry, records []record, from int) {
	need := (len(records) + recordsBlock - 1) / recordsBlock
	at, have := &e.records, 0
	for ; have < need; have++ {
		if *at == 0 {
			i := d.take()
			if i == 0 {
				break
			}
			*at = i
		}
		at = &d.blocks.at(*at).next
	}
	*at = d.blocks.give(*at)
	if lost := len(records) - have*recordsBlock; lost > 0 {
		records, from = records[lost:], 0
	}
	e.nrecords, e.failed = uint16(len(records)), uint16(min(total(records), countMax))
	i := e.records
	for ; len(records) > 0 && from >= recordsBlock; from -= recordsBlock {
		records = records[min(len(records), recordsBlock):]
		i = d.blocks.at(i).next
	}
	for len(records) > 0 {
		b := d.blocks.at(i)
		for r, rec := range records[:min(len(records), recordsBlock)] {
			w := b.words[r*recordWords:][:recordWords]
			w[0], w[1], w[2] = uint32(rec.at), uint32(uint64(rec.at)>>32)<<16|uint32(rec.n), rec.id
		}
		records = records[min(len(records), recordsBlock):]
		i = b.next
	}
}

// insert adds a record where its time belongs, and says which is the first that has changed.
func insert(records []record, r record) ([]record, int) {
	i := len(records)
	for i > 0 && records[i-1].at > r.at {
		i--
	}
	for j := i - 1; j >= 0 && records[j].at == r.at; j-- {
		if records[j].id == r.id {
			records[j].n = uint16(min(int(records[j].n)+int(r.n), countMax))
			return records, j
		}
	}
	return slices.Insert(records, i, r), i
}

// total counts the failures.
func total(records []record) int {
	n := 0
	for _, r := range records {
		n += int(r.n)
	}
	return n
}

// most counts the windows (end − window, end] that contain a time: where events come in order there is
// one, which ends then. So failures that are told out of order are found all the same.
func most(records []record, at int64, window time.Duration) int {
	w := window.Microseconds()
	best, sum, from := 0, 0, 0
	if n := len(records); n > 0 && records[n-1].at <= at {
		for n--; n >= 0 && records[n].at > at-w; n-- {
			sum += int(records[n].n)
		}
		return sum
	}
	for i, r := range records {
		if r.at >= at+w {
			break
		}
		sum += int(r.n)
		for records[from].at <= max(r.at, at)-w {
			sum -= int(records[from].n)
			from++
			if from > i {
				break
			}
		}
		if i+1 < len(records) && records[i+1].at <= max(r.at, at) {
			continue // the window goes on to at, or to others of the same time
		}
		best = max(best, sum)
	}
	return best
}

// mostAccounts is like most for the number of different accounts.
func (d *Detector) mostAccounts(records []record, at int64, window time.Duration) int {
	w := window.Microseconds()
	best := 0
	for end := len(records); end > 0; end-- {
		newest := max(records[end-1].at, at)
		if newest < at+w {
			best = max(best, d.accounts(since(records[:end], newest-w)))
		}
		if records[end-1].at <= at {
			break
		}
	}
	return best
}

// since returns the records after a time.
func since(records []record, at int64) []record {
	i := 0
	for i < len(records) && records[i].at <= at {
		i++
	}
	return records[i:]
}

// latest is the time of the newest record.
func latest(records []record) int64 {
	if len(records) == 0 {
		return math.MinInt64
	}
	return records[len(records)-1].at
}

// accounts counts the different accounts.
func (d *Detector) accounts(records []record) int {
	ids := d.ids[:0]
	for _, r := range records {
		if r.id != 0 {
			ids = append(ids, r.id)
		}
	}
	d.ids = ids
	if len(ids) > 0 && !slices.ContainsFunc(ids, func(id uint32) bool { return id != ids[0] }) {
		return 1
	}
	slices.Sort(ids)
	return len(slices.Compact(ids))
}
