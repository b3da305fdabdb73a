package workflows

import (
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// settle ends a restore that holds, and puts everything back as it was after one that does not.
func (r *goldenRestore) settle(ctx workflow.Context, end ending) ending {
	if r.request.Plan {
		return end
	}
	left := false
	if end.outcome == shivx.OutcomeRestored {
		end = r.complete(ctx, end)
	} else {
		end, left = r.putBack(ctx, end)
	}
	r.release(ctx, end, left)
	return end
}

// complete ends a restore that holds. That the old state could not be removed makes it no worse.
func (r *goldenRestore) complete(ctx workflow.Context, end ending) ending {
	r.down = nil
	_, err := r.copying(ctx, shivx.GoldenStepFinish, activities.FinishRestore, "end the restore", false)
	if err != nil {
		end.message += "; the old state was not removed: " + reason(err)
		end.escalate = true
		end.hint = "it takes up room beside the restored files: make room there; the next restore, or the next backup of them, " +
			"30 minutes from now or later, ends this one; what that keeps, in .shivx-kept-…, is removed by hand"
	}
	return end
}

// putBack puts the old state back and starts what was stopped. left is true when services stay stopped
// because their files are of no one state.
func (r *goldenRestore) putBack(ctx workflow.Context, end ending) (after ending, left bool) {
	if r.swapping {
		if err := r.undo(ctx); err != nil {
			return r.stuck(end, err), true
		}
		switch {
		case r.over != "":
			end.outcome, end.escalate = shivx.OutcomeFailed, true
			end.message += "; the old state cannot be put back: " + r.over
		case end.outcome == shivx.OutcomeAborted:
			end.message += "; the old state is back"
		default:
			end.message += "; the old state is back"
			end.outcome, end.escalate = shivx.OutcomeUndone, true
		}
	}
	end = r.startAgain(ctx, end)
	r.discard(ctx)
	return end, false
}

// undo stops what runs with the restored state and puts the old state back.
func (r *goldenRestore) undo(ctx workflow.Context) error {
	if r.starting {
		for _, s := range slices.Backward(slices.Clone(r.down)) {
			err := r.insist(ctx, "stopping "+s, serviceTries, func() error { return r.stopOne(ctx, s) })
			if err != nil {
				return err
			}
		}
	}
	err := r.insist(ctx, "putting the old state back", forced, func() error {
		_, err := r.copying(ctx, shivx.GoldenStepUndo, activities.UndoRestore, "put the old files back", true)
		if isType(err, activities.ErrOver) { // the services start with what is there
			r.over = reason(err)
			return nil
		}
		return err
	})
	if err == nil {
		r.swapped, r.swapping = false, false
	}
	return err
}

// stuck is the end of a run that could not put the old state back.
func (r *goldenRestore) stuck(end ending, err error) ending {
	end.outcome, end.escalate = shivx.OutcomeFailed, true
	end.message += "; and the old state could not be put back: " + reason(err)
	end.hint = "services may be stopped (" + strings.Join(r.down, ", ") + "); on " + r.target.Host +
		" stop the agent and run shivx golden restore " + r.target.Set + " --local, which first ends this restore, with the old or the new state whole"
	return end
}

// startAgain starts the services that were stopped, with the old state, and looks how they are.
func (r *goldenRestore) startAgain(ctx workflow.Context, end ending) ending {
	if len(r.down) == 0 {
		return end
	}
	var failed, why []string
	for _, s := range r.down {
		err := r.insist(ctx, "starting "+s, serviceTries, func() error {
			return r.service(ctx, shivx.GoldenStepStart, activities.StartService, s)
		})
		if err != nil {
			failed, why = append(failed, s), append(why, s+": "+reason(err))
		}
	}
	r.downtime = secondsSince(ctx, r.since)
	err := r.check(ctx)
	r.down = failed
	switch {
	case len(failed) > 0:
		end.outcome, end.escalate = shivx.OutcomeFailed, true
		end.message += "; these services did not start again: " + strings.Join(why, "; ")
		end.hint = "start them by hand; their files are as they were before"
		if r.over != "" {
			end.hint = "start them by hand; their files are as the golden holds them"
		}
	case err != nil:
		end.escalate = true
		end.message += "; its services run and are not healthy: " + reason(err)
	default:
		end.message += "; its services run and are healthy"
	}
	return end
}

// discard removes what was staged. A host that is gone does it by itself when it is back.
func (r *goldenRestore) discard(ctx workflow.Context) {
	if !r.staged || r.vanished != nil {
		return
	}
	if _, err := r.copying(ctx, shivx.GoldenStepDiscard, activities.DiscardRestore, "remove what was staged", false); err != nil {
		workflow.GetLogger(ctx).Warn("what was staged was not removed", "error", reason(err))
	}
}
