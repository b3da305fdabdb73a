package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
)

// defaultTerm is the term of an isolation that was started by hand and says none.
const defaultTerm = time.Hour

// byTemporal is who asked for what was asked for in Temporal without a name.
const byTemporal = "temporal"

// isolationChangesKept is how many changes an isolation remembers.
const isolationChangesKept = 50

// Ends of a ThreatIsolation.
const (
	// IsolationExpired: the term is over.
	IsolationExpired = "expired"
	// IsolationRestored: the source was let go before.
	IsolationRestored = "restored"
	// IsolationHandedOver: the run that has the source's workflow id goes on with it.
	IsolationHandedOver = "handed-over"
)

// IsolationState is what a ThreatIsolation knows; it is the answer to the query "status".
type IsolationState struct {
	// Isolation is what holds: the memo "isolation".
	shivx.Isolation
	// Decision is the last word of somebody who knew what stood: an extension or a lift. It outranks
	// all that was said before it.
	Decision *shivx.Isolation `json:"decision,omitempty"`
	// Claims are the isolations that hosts have begun since; of these the longest holds.
	Claims []shivx.Isolation `json:"claims,omitempty"`
	// MaxOffence is the highest number of an offence that was told.
	MaxOffence int `json:"max_offence,omitempty"`
	// Changes of what holds, the latest, oldest first.
	Changes []IsolationChange `json:"changes,omitempty"`
}

// IsolationChange is one change of what holds for a source.
type IsolationChange struct {
	// At is when the run was told.
	At    time.Time `json:"at"`
	What  string    `json:"what"`
	Until time.Time `json:"until,omitzero"`
	By    string    `json:"by"`
	Host  string    `json:"host,omitempty"`
	Why   string    `json:"why,omitempty"`
}

// IsolationResult is how an isolation ended.
type IsolationResult struct {
	Source  string    `json:"source"`
	Outcome string    `json:"outcome"`
	Since   time.Time `json:"since,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Offence int       `json:"offence,omitempty"`
	By      string    `json:"by,omitempty"`
	Why     string    `json:"why,omitempty"`
	// Run goes on with the source after IsolationHandedOver.
	Run string `json:"run,omitempty"`
}

// threatIsolation is the running ThreatIsolation.
type threatIsolation struct {
	IsolationState
	signals []signalReader
	// told is true when the run was started by a host that told what it had done.
	told bool
}

func isolationSpan(i shivx.Isolation) (made, until time.Time) { return i.Changed, i.Until }

// begunWithin is how much later than its beginning an isolation that has just begun may be numbered.
const begunWithin = time.Millisecond

// isDecision says whether i was said by somebody who knew what stood before: that holds even if it ends
// sooner. What the guardian of a host says by itself only ever adds.
func isDecision(i shivx.Isolation) bool {
	return i.Lifted || i.By != shivx.Guardian && i.Changed.Sub(i.Since) > begunWithin
}

// take puts a statement among the others. The outcome does not depend on the order in which they come.
func (s *IsolationState) take(i shivx.Isolation) {
	s.MaxOffence = max(s.MaxOffence, i.Offence)
	switch {
	case !isDecision(i):
		s.Claims = addClaim(s.Claims, i, isolationSpan)
	case s.Decision == nil || outranks(i, *s.Decision):
		s.Decision = &i
	}
	if s.Decision != nil {
		s.Claims = claimsAfter(s.Claims, s.Decision.Changed, isolationSpan)
	}
}

// outranks says whether decision a holds over b: the later one, and of two at the same time the one
// that lets go, else the longer one.
func outranks(a, b shivx.Isolation) bool {
	switch {
	case !a.Changed.Equal(b.Changed):
		return a.Changed.After(b.Changed)
	case a.Lifted != b.Lifted:
		return a.Lifted
	case !a.Until.Equal(b.Until):
		return outlasts(a.Until, b.Until)
	}
	return wording(a) > wording(b)
}

// known says whether anything was said.
func (s *IsolationState) known() bool { return s.Decision != nil || len(s.Claims) > 0 }

// holds is what all statements say together.
func (s *IsolationState) holds() shivx.Isolation {
	all := slices.Clone(s.Claims)
	switch {
	case s.Decision == nil:
	case !s.Decision.Lifted:
		all = append(all, *s.Decision)
	case len(all) == 0:
		all = append(all, *s.Decision)
	}
	out, made := joinClaims(all, isolationSpan)
	for _, i := range all {
		if i.Since.Before(out.Since) {
			out.Since = i.Since
		}
	}
	out.Source, out.Changed, out.Offence = s.Source, made, s.MaxOffence
	return out
}

// complete fills in what a statement does not say that was made by hand at now.
func (s *IsolationState) complete(i shivx.Isolation, now time.Time) shivx.Isolation {
	i.Source, i.Since, i.Until, i.Changed = s.Source, i.Since.UTC(), i.Until.UTC(), i.Changed.UTC()
	if i.By == "" {
		i.By = byTemporal
	}
	if !i.Changed.IsZero() {
		return i
	}
	if i.Lifted { // what stands, let go
		lift := s.Isolation
		lift.Source, lift.Lifted, lift.By, lift.Why = s.Source, true, i.By, i.Why
		lift.Changed = after(now, s.Changed)
		return lift
	}
	i.Changed = after(now, s.Changed)
	if i.Since.IsZero() {
		i.Since = i.Changed
	}
	return i
}

// note keeps a change of what holds for people.
func (s *IsolationState) note(now time.Time, before shivx.Isolation) {
	c := IsolationChange{At: now, Until: s.Until, By: s.By, Host: s.Host, Why: s.Why}
	switch {
	case s.Lifted:
		c.What, c.Until = "let go", time.Time{}
	case before.Changed.IsZero():
		c.What = "isolated"
	case before.Lifted:
		c.What = "isolated again"
	default:
		c.What = "changed"
	}
	if c.Why == "" {
		c.Why = s.Reason
	}
	s.Changes = latest(append(s.Changes, c), isolationChangesKept)
}

// over says whether nothing keeps the source out any more.
func (t *threatIsolation) over(ctx workflow.Context) bool { return !t.InForce(workflow.Now(ctx)) }
