package golden

import (
	"context"
	"fmt"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/golden/restore"
	"github.com/shivx/shivx/plugins/sdk"
)

// ofOneState refuses to start a service with files some of which are swapped and some are not. A journal that
// cannot be read keeps no service down.
func (a *Activities) ofOneState(id string) error {
	state, err := a.Engine.State(id)
	if err == nil && (state == restore.StateSwapping || state == restore.StateUndoing) {
		return shivx.Hint(fmt.Errorf("the files are of no one state, the restore %s was cut off while %s", id, state),
			"a local restore is completed by "+again+", any other by the next restore: shivx golden restore SET --local")
	}
	return nil
}

// mayRename says whether to take up, or to undo, a restore that is so far exchanges files.
func mayRename(s restore.State) bool {
	return s == restore.StateSwapping || s == restore.StateSwapped || s == restore.StateUndoing
}

// keepDown makes sure that the services which a restore has stopped are, before files are exchanged: since they
// were stopped the host may have started them at its boot, or the run may have started them and been reset. The
// ledger knows which they are.
func (a *Activities) keepDown(ctx context.Context, in activities.RestoreInput) error {
	set, _ := a.Config.GoldenSet(in.Set)
	for _, name := range slices.Backward(set.Services) {
		_, stopped, err := a.Ledger.Find(serviceKey(in.Restore, shivx.GoldenStepStop, name, 1))
		if err != nil {
			return fmt.Errorf("look into the operational ledger: %w", err)
		}
		if !stopped {
			continue
		}
		bound, cancel := context.WithTimeout(ctx, set.ServiceTimeout)
		_, err = a.serve(bound, activities.ServiceInput{GoldenTarget: in.GoldenTarget, Run: in.Run, Restore: in.Restore, Service: name, Attempt: 1},
			sdk.StepStop, serviceKey(in.Restore, "down", name, 1)+"/"+ulid.Make().String(), a.way)
		cancel()
		if err != nil {
			return fmt.Errorf("make sure that %s is stopped: %w", name, err)
		}
	}
	return nil
}
