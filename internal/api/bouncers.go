package api

import (
	"sync"
	"time"
)

// bouncers remembers what bouncers were told of a lockdown, and over which connection.
type bouncers struct {
	mu    sync.Mutex
	known map[string]*bouncer
}

type bouncer struct {
	asked time.Time
	// peer is the other end of the connection over which it asked last.
	peer string
	// locked is true when it was told of a lockdown last, renew when it is to be told again.
	locked bool
	renew  time.Time
	// moved is true when its last answer began, renewed or ended a lockdown; fresh until it has had an answer.
	moved, fresh bool
}

// maxBouncers bounds the memory; the one that has not asked for longest is forgotten.
const maxBouncers = 1000

// again notes that a bouncer asks, and says whether its last answer may be lost.
func (b *bouncers) again(name, peer string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.known[name]
	if k == nil {
		b.makeRoom()
		k = &bouncer{peer: peer, fresh: true}
		b.known[name] = k
	}
	lost := k.peer != peer
	k.peer, k.asked = peer, now
	return lost
}

func (b *bouncers) makeRoom() {
	if b.known == nil {
		b.known = map[string]*bouncer{}
	}
	if len(b.known) < maxBouncers {
		return
	}
	longest := ""
	for name, k := range b.known {
		if longest == "" || k.asked.Before(b.known[longest].asked) {
			longest = name
		}
	}
	delete(b.known, longest)
}

// lockdown says what a bouncer that asks is to be told of a lockdown: that it begins or goes on, and
// that what it holds of one ends, which comes first. One that is not known may hold anything; again is
// true when its last answer may be lost.
func (b *bouncers) lockdown(name string, startup, lockdown, again bool, now time.Time) (begin, end bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.known[name]
	if k == nil {
		return lockdown, true // forgotten meanwhile, as it asks twice at the same time
	}
	changed := startup || k.fresh || k.locked != lockdown || k.locked && !now.Before(k.renew)
	repeat := again && k.moved
	k.locked, k.moved, k.fresh = lockdown, changed, false
	if !changed && !repeat {
		return false, false
	}
	k.renew = now.Add(lockdownTerm / 2)
	return lockdown, true
}

// forget makes a bouncer unknown.
func (b *bouncers) forget(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.known, name)
}
