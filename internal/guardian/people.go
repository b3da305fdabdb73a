package guardian

import (
	"fmt"
	"time"
)

// topic is what people are told of.
type topic string

const (
	// aboutLockdown is always told.
	aboutLockdown topic = "lockdowns"
	aboutFiles    topic = "watched files"
	aboutLogs     topic = "logs"
	aboutBudgets  topic = "budgets"
	aboutBlocks   topic = "isolations that do not bite"
	aboutMeans    topic = "enforcers"
)

const (
	// tellWindow and tellMost bound what people are told of one topic: an attack has many findings, and
	// who is called for each of them hears none.
	tellWindow = 5 * time.Minute
	tellMost   = 5
)

// told counts what people were told of a topic lately.
type told struct {
	since time.Time
	n     int
}

// tell tells people without holding anything up. The caller holds mu.
func (g *Guardian) tell(about topic, message, hint string) {
	if g.o.Tell == nil {
		return
	}
	if about != aboutLockdown {
		now := g.o.Now()
		t := g.told[about]
		if now.Sub(t.since) > tellWindow || now.Before(t.since) {
			t = told{since: now}
		}
		t.n++
		g.told[about] = t
		switch {
		case t.n > tellMost:
			return
		case t.n == tellMost:
			message = fmt.Sprintf("%s; what else is found of %s on %s within %s is in the audit alone", message, about, g.o.Host, tellWindow)
			hint += "; shivx ledger show --ledger guardian lists it"
		}
	}
	go g.o.Tell(message, hint)
}
