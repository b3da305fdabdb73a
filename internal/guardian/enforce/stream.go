package enforce

import (
	"container/heap"
	"container/list"
	"net/netip"
	"sync"
	"time"

	"github.com/shivx/shivx"
)

// maxBouncers is how many bouncers are known at a time; the one that has not asked for longest is
// forgotten, and is told everything when it comes back.
const maxBouncers = 1000

// Stream is the log of changes for bouncers, which ask now and then for what has changed since they
// asked last. It keeps the last change of each source: those in force, and the latest drops.
type Stream struct {
	mu sync.Mutex
	// max is how many drops are kept.
	max int
	now uint64 // number of the last change; 1 before the first, as 0 is what a bouncer has seen that never asked
	// forgotten is the number of the latest drop that was not kept.
	forgotten uint64
	changes   map[netip.Prefix]*change
	// live and gone are those in force and the drops, each in the order of their numbers.
	live, gone list.List
	ends       ends
	lockdown   Lockdown
	bouncers   map[string]*bouncer
}

// change is the last one of a source.
type change struct {
	prefix netip.Prefix
	number uint64
	// known is the number of the source's first change that is kept in mind: a bouncer that has seen
	// that one may hold the source, to another term.
	known uint64
	// isolation is nil once the source was let go.
	isolation *shivx.Isolation
	at        *list.Element
	index     int // in ends, -1 when it is not there
}

// bouncer is one that has asked.
type bouncer struct {
	// seen is the last change it was told of, before the last one that it knew by then; repeat says to
	// begin there.
	seen, before uint64
	repeat       bool
	asked        time.Time
}

// NewStream returns an empty log that keeps the latest max drops.
func NewStream(max int) *Stream {
	return &Stream{max: max, now: 1, changes: map[netip.Prefix]*change{}, bouncers: map[string]*bouncer{}}
}

// Note takes a change down. Isolations whose term is over at now are drops.
func (s *Stream) Note(d Delta, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range d.Drop {
		s.drop(p.Masked())
	}
	for _, i := range d.Put {
		p, err := shivx.ParseSource(i.Source)
		switch {
		case err != nil:
		case i.InForce(now):
			s.put(p, i)
		default:
			s.drop(p)
		}
	}
	if d.Lockdown != nil {
		s.lockdown = *d.Lockdown
	}
	s.expire(now)
}

// Since returns what has changed since the bouncer asked last, and whether there is a lockdown.
//
// A bouncer that starts holds nothing: it is told all that is in force, and the drops that are kept.
// So is one that is not known, or has missed drops that are not kept any more, but it may hold anything.
//
// Dropped is to be done first. A source that the bouncer may hold to another term stands in both, as
// bouncers do not change the term of what they hold.
func (s *Stream) Since(name string, startup bool, now time.Time) (put []shivx.Isolation, dropped []netip.Prefix, lockdown bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	b := s.bouncer(name)
	since, told := b.seen, b.seen
	if b.repeat {
		since = b.before
	}
	if startup || since < s.forgotten {
		since = 0
	}
	holds := func(c *change) bool { return !startup && (since == 0 || c.known <= told) }
	for e := s.live.Back(); e != nil; e = e.Prev() {
		c := e.Value.(*change)
		if c.number <= since {
			break
		}
		put = append(put, *c.isolation)
		if holds(c) {
			dropped = append(dropped, c.prefix)
		}
	}
	for e := s.gone.Back(); e != nil; e = e.Prev() {
		c := e.Value.(*change)
		if c.number <= since {
			break
		}
		dropped = append(dropped, c.prefix)
	}
	b.before, b.seen, b.repeat, b.asked = b.seen, s.now, false, now
	if startup {
		b.before = 0 // what it was told before counts no more
	}
	return put, dropped, s.lockdown.InForce(now)
}

// Lockdown returns the one in force at now.
func (s *Stream) Lockdown(now time.Time) Lockdown {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lockdown.current(now)
}

// Repeat makes the next answer for the bouncer tell the changes of its last one again: for when it may
// not have got that.
func (s *Stream) Repeat(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.bouncers[name]; ok {
		b.repeat = true
	}
}

// Forget makes the bouncer unknown, so that it is told everything: for when it did not get its answer.
func (s *Stream) Forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.bouncers, name)
}

func (s *Stream) bouncer(name string) *bouncer {
	if b, ok := s.bouncers[name]; ok {
		return b
	}
	if len(s.bouncers) >= maxBouncers {
		var longest string
		for other, b := range s.bouncers {
			if longest == "" || b.asked.Before(s.bouncers[longest].asked) {
				longest = other
			}
		}
		delete(s.bouncers, longest)
	}
	b := &bouncer{}
	s.bouncers[name] = b
	return b
}

func (s *Stream) put(p netip.Prefix, i shivx.Isolation) {
	c := s.changes[p]
	if c != nil && c.isolation != nil && c.isolation.Until.Equal(i.Until) {
		c.isolation = &i // nothing that a bouncer knows
		return
	}
	c = s.renew(p, c)
	c.isolation = &i
	c.at = s.live.PushBack(c)
	if !i.Until.IsZero() {
		heap.Push(&s.ends, c)
	}
}

// drop keeps also the drop of a source that is not known: a bouncer may know it from before our start.
func (s *Stream) drop(p netip.Prefix) {
	c := s.changes[p]
	if c != nil && c.isolation == nil {
		return // and nobody was told otherwise since
	}
	c = s.renew(p, c)
	c.isolation = nil
	c.at = s.gone.PushBack(c)
	for s.gone.Len() > s.max {
		oldest := s.gone.Remove(s.gone.Front()).(*change)
		delete(s.changes, oldest.prefix)
		s.forgotten = oldest.number
	}
}

// renew takes the change of a source out of where it stands and gives it the next number.
func (s *Stream) renew(p netip.Prefix, c *change) *change {
	s.now++
	if c == nil {
		c = &change{prefix: p, known: s.now, index: -1}
		s.changes[p] = c
	} else {
		if c.isolation == nil {
			s.gone.Remove(c.at)
		} else {
			s.live.Remove(c.at)
		}
		if c.index >= 0 {
			heap.Remove(&s.ends, c.index)
		}
	}
	c.number = s.now
	return c
}

// expire drops what has ended by now.
func (s *Stream) expire(now time.Time) {
	for len(s.ends) > 0 && !s.ends[0].isolation.InForce(now) {
		s.drop(s.ends[0].prefix)
	}
}

// ends has the isolations with a term, the next to end first.
type ends []*change

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].isolation.Until.Before(e[j].isolation.Until) }
func (e ends) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].index, e[j].index = i, j
}

// Push is for package heap.
func (e *ends) Push(x any) {
	c := x.(*change)
	c.index = len(*e)
	*e = append(*e, c)
}

// Pop is for package heap.
func (e *ends) Pop() any {
	last := len(*e) - 1
	c := (*e)[last]
	(*e)[last] = nil
	*e, c.index = (*e)[:last], -1
	return c
}
