package activities

import (
	"fmt"

	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
)

// The activities by which runbooks find and lock their target. They run on the runbook queue.
var (
	// Locate finds the host of a component that was named without one.
	Locate = Activity[LocateInput, shivx.Target]{"Locate"}
	// Acquire asks the Component entity for the lock on behalf of a run started by hand.
	Acquire = Activity[AcquireInput, AcquireResult]{"Acquire"}
	// RunOpen says whether a run is still open, so that a lock whose holder is gone is freed.
	RunOpen = Activity[RunRef, bool]{"RunOpen"}
)

// UnknownComponent is the error for a component that the host or the fleet does not have.
func UnknownComponent(format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, args...), ErrUnknownComponent, nil)
}

// LocateInput names a component without its host.
type LocateInput struct {
	Component string `json:"component"`
}

// RunRef names one workflow run.
type RunRef struct {
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
}

// AcquireInput asks for the lock of a component.
type AcquireInput struct {
	shivx.Target
	Holder RunRef `json:"holder"`
	// Force takes the lock in maintenance, too.
	Force bool `json:"force,omitempty"`
}

// AcquireResult says that the lock is held now.
type AcquireResult struct {
	Policy shivx.Policy `json:"policy"`
	// Isolated is true when an earlier run left the component out of traffic.
	Isolated bool `json:"isolated,omitempty"`
}
