package record_test

import (
	"context"
	"os"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// recordings lists the runs; the file of each has its name. Each has a component of that name.
func recordings() []recording {
	return []recording{
		{name: "healed", ladder: helps, play: broken("healed")},
		{name: "climbed", ladder: useless + ", " + helps, play: broken("climbed")},
		{name: "failed", ladder: useless, more: quiet + "    on_failure: reintegrate\n", play: broken("failed")},
		{name: "plugin-failed", ladder: fails + ", " + helps, play: broken("plugin-failed")},
		{name: "crashed", ladder: helps, play: crashed},
		{name: "approved", ladder: asks, play: approved},
		{name: "denied", ladder: asks, play: denied},
		{name: "paused", ladder: asks, play: paused},
		{name: "aborted", ladder: asks, play: aborted},
		{name: "cancelled", ladder: asks, play: cancelled},
		{name: "resolved", ladder: asks, play: resolved},
		{name: "busy", ladder: asks, play: busy},
		{name: "plan", ladder: useless + ", " + helps, play: plan},
		{name: "by-hand", ladder: helps, play: byHand},
		{name: "verify-only", ladder: helps, play: verifyOnly},
		{name: "component", ladder: helps, play: lively,
			more: "    limits: {heals: 4, window: 1h, cooldown: 1s, max_cooldown: 1s}\n"},
		{name: "ledger-witness", play: witness},
		{name: "degradation-response", play: degrading},
		{name: "isolation-expired", play: isolationExpired},
		{name: "isolation-restored", play: isolationRestored},
		{name: "isolation-by-hand", play: isolationByHand},
		{name: "isolation-handed-over", play: isolationHandedOver},
		{name: "defense-mode", play: defending},
		{name: "golden-backup", play: goldenBackup},
		{name: "golden-verify", play: goldenVerify},
		{name: "golden-restored", play: goldenRestored},
		{name: "golden-undone", play: goldenUndone},
		{name: "golden-aborted", play: goldenAborted},
		{name: "golden-put-back", play: goldenPutBack},
		{name: "golden-denied", play: goldenDenied},
		{name: "golden-plan", play: goldenPlan},
		{name: "safe-snapshot-taken", play: snapshotTaken},
		{name: "safe-snapshot-restored", play: snapshotRestored},
		{name: "fault-forecast", play: faultForecast},
		{name: "mitigation-prevented", play: mitigationPrevented},
		{name: "mitigation-useless", play: mitigationUseless},
		{name: "mitigation-plan", play: mitigationPlan},
		{name: "mitigation-refused", play: mitigationRefused},
		{name: "mitigation-quiet", play: mitigationQuiet},
		{name: "mitigation-blackout", play: mitigationBlackout},
		{name: "mitigation-aborted", play: mitigationAborted},
	}
}

// broken is a run that an ordinary fault makes.
func broken(name string) func(*studio) run {
	return func(s *studio) run {
		s.breakDown(name)
		return s.latest(name)
	}
}

// crashed has an activity that is tried again after the agent died in it.
func crashed(s *studio) run {
	require.NoError(s.t, os.WriteFile(s.fuse, []byte("self"), 0o600))
	s.breakDown("crashed")
	<-s.agent.Gone()
	s.agent.Start()
	return s.latest("crashed")
}

// asked breaks a component whose strategy needs approval and waits until it is asked for.
func (s *studio) asked(name string) string {
	s.breakDown(name)
	id := shivx.SelfHealID(target(name))
	s.awaitRun(id, func(r workflows.SelfHealStatus) bool { return r.Approval != nil })
	return id
}

func approved(s *studio) run {
	s.update(s.asked("approved"), shivx.UpdateApprove, workflows.Decision{By: "ana", Note: "go ahead"})
	return s.latest("approved")
}

func denied(s *studio) run {
	s.update(s.asked("denied"), shivx.UpdateApprove, workflows.Decision{By: "ben", Deny: true, Note: "not now"})
	return s.latest("denied")
}

func paused(s *studio) run {
	id := s.asked("paused")
	s.update(id, shivx.UpdatePause, workflows.By{By: "ben"})
	s.update(id, shivx.UpdateApprove, workflows.Decision{By: "ana"})
	s.awaitRun(id, func(r workflows.SelfHealStatus) bool { return r.WaitsFor == "paused by ben" })
	s.update(id, shivx.UpdateResume, workflows.By{By: "ben"})
	return s.latest("paused")
}

func aborted(s *studio) run {
	s.signal(s.asked("aborted"), shivx.SignalAbort, workflows.Abort{By: "ana", Reason: "wrong host"})
	return s.latest("aborted")
}

func cancelled(s *studio) run {
	require.NoError(s.t, s.server.Client().CancelWorkflow(s.t.Context(), s.asked("cancelled"), ""))
	return s.latest("cancelled")
}

func resolved(s *studio) run {
	s.asked("resolved")
	s.mend("resolved")
	return s.latest("resolved")
}

// busy is a run started by hand while another has the component.
func busy(s *studio) run {
	s.asked("busy")
	return s.byHand("second heal", map[string]any{"component": "busy"})
}

func plan(s *studio) run {
	return s.byHand("what would be done", map[string]any{"component": "plan", "plan": true})
}

func byHand(s *studio) run {
	return s.byHand("heal by hand", map[string]any{"component": "by-hand", "reason": "slow since the deploy"})
}

func verifyOnly(s *studio) run {
	return s.byHand("is it fit", map[string]any{"component": "verify-only", "host": "local", "verify_only": true})
}

// lively is an entity that has seen much: faults, a cooldown, maintenance, updates, a run by
// hand, and a budget used up.
func lively(s *studio) run {
	const name = "component"
	id := shivx.ComponentID(target(name))
	heals := func(n int) {
		s.agent.AwaitRecovery(name, n, patience)
		s.awaitFree(name)
	}
	s.breakDown(name)
	heals(1)
	s.breakDown(name) // waits for the end of the cooldown
	heals(2)

	s.update(id, shivx.UpdateSetMaintenance, workflows.Maintenance{On: true, By: "ana", Reason: "disk swap"})
	s.breakDown(name)
	s.awaitEntity(name, func(c workflows.ComponentState) bool { return len(c.Pending) > 0 })
	s.mend(name)
	s.update(id, shivx.UpdateSetMaintenance, workflows.Maintenance{By: "ana"})

	s.update(id, shivx.UpdateHeal, workflows.HealRequest{By: "ana", Reason: "slow since the deploy"})
	heals(3)
	s.update(id, shivx.UpdateCheckpoint, workflows.CheckpointRequest{By: "ana"})
	s.byHand("heal beside the entity", map[string]any{"component": name})
	heals(4)

	s.breakDown(name)
	s.agent.AwaitRecord(patience, "people to be told that the budget is used up", func(r shivx.RecoveryRecord) bool {
		return r.EventType == shivx.EventEscalation && r.Component == name
	})
	s.mend(name)
	stand.Await(s.t, patience, "the fault to be over", func(context.Context) bool {
		records := s.agent.Records()
		last := records[len(records)-1]
		return last.EventType == shivx.EventResolved && last.Component == name
	})
	return run{id: id}
}

// witness is what kept the heads of all that.
func witness(s *studio) run { return run{id: shivx.WitnessID("local")} }
