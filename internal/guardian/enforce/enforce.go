// Package enforce keeps sources out: it decides for an address in memory, and tells the means that
// refuse packets and requests (nftables, deny files, bouncers) what is in force.
//
// The allow list outranks everything, a lockdown outranks the isolations. What is decided in memory
// holds at once; each enforcer follows in a goroutine of its own, is given everything anew after an
// error, and says how far it is behind.
package enforce

import (
	"context"
	"net/netip"
	"time"

	"github.com/shivx/shivx"
)

// State is all that an enforcer has to enforce.
type State struct {
	// Isolations in force. Enforcers that can end a block by themselves do so at its Until.
	Isolations []shivx.Isolation
	// Allow lists who is never refused, loopback included.
	Allow []netip.Prefix
	// Lockdown refuses everybody but Allow. Enforcers that can end it by themselves do so at its Until.
	Lockdown Lockdown
}

// Lockdown says whether there is one, and its end. One that nobody confirms must end also when the agent
// has died meanwhile: that is why those who can end it by themselves are told the end at its beginning.
type Lockdown struct {
	On bool
	// Until is when it ends; zero: it stays until it is ended.
	Until time.Time
}

// InForce says whether there is a lockdown at now.
func (l Lockdown) InForce(now time.Time) bool {
	return l.On && (l.Until.IsZero() || now.Before(l.Until))
}

// Equal says whether both are on or off, to the same end.
func (l Lockdown) Equal(other Lockdown) bool {
	return l.On == other.On && l.Until.Equal(other.Until)
}

// current is l, or none once it has ended.
func (l Lockdown) current(now time.Time) Lockdown {
	if !l.InForce(now) {
		return Lockdown{}
	}
	return l
}

// Delta is a change of a State.
type Delta struct {
	// Put isolates, or changes the term of what is isolated.
	Put []shivx.Isolation
	// Drop lets go.
	Drop []netip.Prefix
	// Asked is true when somebody asked to let go, and waits for it.
	Asked bool
	// Lockdown is nil when it does not change.
	Lockdown *Lockdown
}

// Enforcer keeps sources out by one means. Its methods are not called at the same time.
type Enforcer interface {
	// Name of the enforcer, such as "nftables", in events and in the status.
	Name() string
	// Replace makes exactly s the state, whatever was there before, in one step if the means has one.
	Replace(ctx context.Context, s State) error
	// Apply changes the state that was given before.
	Apply(ctx context.Context, d Delta) error
}

// Checker is an Enforcer that can say whether it really keeps a source out.
type Checker interface {
	Enforcer
	// Holds reads back from the means itself.
	Holds(ctx context.Context, p netip.Prefix) (bool, error)
}

// Verifier is an Enforcer that can compare all that it was given with what the means has, which
// somebody else may have changed.
type Verifier interface {
	Enforcer
	// Verify says what is not as it was given; a Replace repairs it.
	Verify(ctx context.Context) error
	// Entries is how many sources are held.
	Entries() int
}
