package activities

import "github.com/shivx/shivx"

// LastLift looks in earlier runs of a source for the latest time that it was let go: a statement that
// is told late, or twice, must not bring an isolation back that a person has ended. It runs on the
// queue of the runbooks.
var LastLift = Activity[LastLiftInput, LastLiftResult]{"LastLift"}

// ErrLockdown: the runbook may not start in DefenseLockdown.
const ErrLockdown = "Lockdown"

// LastLiftInput names a source.
type LastLiftInput struct {
	Source string `json:"source"`
	// RunID is the run that asks.
	RunID string `json:"run_id"`
}

// LastLiftResult is the isolation as it was lifted; nil: it never was, as far as is known.
type LastLiftResult struct {
	Lift *shivx.Isolation `json:"lift,omitempty"`
}

// IsolationSummary is what the Temporal UI calls the ThreatIsolation of a source.
func IsolationSummary(source string) string { return "Isolation of " + source }

// IsolationDetails says in the Temporal UI what a ThreatIsolation is.
const IsolationDetails = "Keeps one source away from every host of the fleet until its term is over. The hosts block by themselves, " +
	"also while Temporal is away, and follow this run's memo. Let the source go with the signal `restore`, " +
	"change its term with the update `extend`. Query: `status`."
