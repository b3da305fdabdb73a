package enforce

import (
	"context"
	"net/netip"
	"time"
)

// Haste says how long a change may wait for others.
type Haste int

const (
	// Eventually is for terms that ended: nobody is harmed while they last a little longer.
	Eventually Haste = iota
	// Soon is for who is to be kept out.
	Soon
	// AtOnce is for a lockdown that begins or ends, and for who is let go by a person.
	AtOnce
)

// Paced is an Enforcer that changes come dear to. Until they are due the board gathers them, and the
// enforcer can still be asked what it holds.
type Paced interface {
	Enforcer
	// Due is when changes of this haste may be given; a time that has passed: now.
	Due(h Haste) time.Time
}

// rest waits until what is pending is due; what comes meanwhile joins it, and may be more urgent. At the
// agent's end nothing waits.
func (l *lane) rest(ctx context.Context) {
	p, ok := l.enforcer.(Paced)
	for ok {
		h, pending := l.haste()
		wait := time.Until(p.Due(h))
		if !pending || wait <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-time.After(wait):
		}
	}
}

// gathered says whether a change of p waits until it is due: that the enforcer does not have it yet is
// no fault.
func (l *lane) gathered(p netip.Prefix) bool {
	if _, ok := l.enforcer.(Paced); !ok {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, waits := l.pending[p.Masked()]
	return waits || l.all
}

// haste is that of the most urgent change that is pending, and whether there is any.
func (l *lane) haste() (h Haste, pending bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	pending = l.applied != l.given || l.err != nil
	if l.all {
		return max(l.urgent, Soon), pending
	}
	return l.urgent, pending
}

// haste is how long the change may wait.
func (d Delta) haste() Haste {
	switch {
	case d.Lockdown != nil, d.Asked:
		return AtOnce
	case len(d.Put) > 0:
		return Soon
	}
	return Eventually
}
