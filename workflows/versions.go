package workflows

import "go.temporal.io/sdk/workflow"

// Every change of a workflow that alters the commands of histories already recorded sits
// behind a function in this file that calls workflow.GetVersion, named after what changed.

// verifiesWhatWasGivenUp: an entity verifies a component that a run gave up on and left in traffic
// once its fault has resolved. Before, it was called given up on until its next fault.
func verifiesWhatWasGivenUp(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, "verify-what-was-given-up", workflow.DefaultVersion, 1) >= 1
}

// seesAtOnceWhatComesMeanwhile: an entity deals at once with what comes while it waits for an answer,
// such as a fault while it looks whether a component is well again. Before, that waited for the next
// timer or the next signal.
func seesAtOnceWhatComesMeanwhile(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, "see-at-once-what-comes-meanwhile", workflow.DefaultVersion, 1) >= 1
}
