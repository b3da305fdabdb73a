package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/workflows"
)

func backUp(t *testing.T, f *fakeStore, in shivx.GoldenBackupInput, more ...func(*testsuite.TestWorkflowEnvironment)) shivx.GoldenBackupResult {
	t.Helper()
	if in.Set == "" {
		plan := in.Plan
		in.GoldenRequest = asks()
		in.Plan = plan
	}
	return play[shivx.GoldenBackupResult](t, f, shivx.TypeGoldenBackup, in, more...)
}

func TestGoldenBackupStoresAndPrunes(t *testing.T) {
	f := newFakeStore("web")
	out := backUp(t, f, shivx.GoldenBackupInput{Name: "before the move"})
	require.Equal(t, shivx.OutcomeStored, out.Outcome)
	require.Equal(t, []string{"InspectSet", "TakeGolden", "PruneGoldens", "LogGolden"}, f.calls)
	require.Equal(t, "g2", out.Golden.ID)
	require.Equal(t, "before the move", out.Golden.Name)
	require.Equal(t, shivx.GoldenKindBackup, out.Golden.Kind)
	require.Equal(t, []string{"g0"}, out.Removed)
	require.EqualValues(t, 3, out.Capture.Files)
	require.Equal(t, "g2", f.logged[0].Golden)
}

func TestGoldenBackupTakesTheHostOutOfTheSet(t *testing.T) {
	out := backUp(t, newFakeStore(), shivx.GoldenBackupInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: shivx.GoldenTarget{Set: "shop@h1"}}})
	require.Equal(t, shivx.GoldenTarget{Set: "shop", Host: "h1"}, out.GoldenTarget)
}

func TestGoldenBackupPlanStoresNothing(t *testing.T) {
	f := newFakeStore()
	out := backUp(t, f, shivx.GoldenBackupInput{GoldenRequest: shivx.GoldenRequest{Plan: true}})
	require.Equal(t, shivx.OutcomePlanned, out.Outcome)
	require.Nil(t, out.Golden)
	require.EqualValues(t, 3, out.Capture.Files)
	require.False(t, f.did("LogGolden"))
}

func TestGoldenBackupTellsPeople(t *testing.T) {
	for name, c := range map[string]struct {
		step string
		err  error
		want shivx.Outcome
	}{
		"the disk is full":           {"TakeGolden", goldenFailed("no space left"), shivx.OutcomeFailed},
		"the host is gone":           {"InspectSet", errGone, shivx.OutcomeUnreachable},
		"old ones cannot be removed": {"PruneGoldens", goldenFailed("permission denied"), shivx.OutcomeStored},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeStore()
			f.failing[c.step] = c.err
			out := backUp(t, f, shivx.GoldenBackupInput{})
			require.Equal(t, c.want, out.Outcome)
			require.Len(t, f.escalated, 1)
			require.Equal(t, "golden/shop", f.escalated[0].Component)
			require.NotEmpty(t, f.escalated[0].Hint)
			require.Equal(t, c.want == shivx.OutcomeStored, out.Golden != nil)
		})
	}
}

func TestGoldenBackupIsAborted(t *testing.T) {
	for step, want := range map[string]shivx.Outcome{
		"InspectSet": shivx.OutcomeAborted, "TakeGolden": shivx.OutcomeAborted, "PruneGoldens": shivx.OutcomeStored, "LogGolden": shivx.OutcomeStored,
	} {
		t.Run(step, func(t *testing.T) {
			f := newFakeStore()
			out := backUp(t, f, shivx.GoldenBackupInput{}, func(env *testsuite.TestWorkflowEnvironment) {
				f.before = func(label string) {
					if label == step {
						env.SignalWorkflow(shivx.SignalAbort, workflows.Abort{By: "ana"})
					}
				}
			})
			require.Equal(t, want, out.Outcome, out.Message)
			require.Empty(t, f.escalated)
			require.Equal(t, step != "InspectSet", len(f.logged) == 1)
		})
	}
}

func verify(t *testing.T, f *fakeStore, in shivx.GoldenVerifyInput) shivx.GoldenVerifyResult {
	t.Helper()
	plan := in.Plan
	in.GoldenRequest = asks()
	in.Plan = plan
	return play[shivx.GoldenVerifyResult](t, f, shivx.TypeGoldenVerify, in)
}

func TestGoldenVerify(t *testing.T) {
	f := newFakeStore()
	out := verify(t, f, shivx.GoldenVerifyInput{})
	require.Equal(t, shivx.OutcomeVerified, out.Outcome)
	require.Equal(t, []string{"InspectSet", "FindGolden", "VerifyGolden", "LogGolden"}, f.calls)
	require.Equal(t, shivx.GoldenLatest, f.found[0].Golden)
	require.Equal(t, 1, out.Goldens)

	f = newFakeStore()
	out = verify(t, f, shivx.GoldenVerifyInput{All: true})
	require.Equal(t, shivx.OutcomeVerified, out.Outcome)
	require.False(t, f.did("FindGolden"))
	require.Nil(t, out.Golden)

	f = newFakeStore()
	out = verify(t, f, shivx.GoldenVerifyInput{GoldenRequest: shivx.GoldenRequest{Plan: true}})
	require.Equal(t, shivx.OutcomePlanned, out.Outcome)
	require.Empty(t, f.logged)
}

func TestGoldenVerifyTellsPeopleOfDamage(t *testing.T) {
	for name, repair := range map[string]bool{"left": false, "repaired": true} {
		t.Run(name, func(t *testing.T) {
			f := newFakeStore()
			f.damage = []shivx.GoldenDamage{{Object: "packs/ab/abcd.pack", What: "block 3"}}
			out := verify(t, f, shivx.GoldenVerifyInput{All: true, Repair: repair})
			require.Len(t, f.escalated, 1, "a disk that loses bytes is told of also when nothing is lost")
			require.Len(t, out.Damage, 1)
			if repair {
				require.Equal(t, shivx.OutcomeVerified, out.Outcome)
				require.Equal(t, 1, out.Repaired)
				return
			}
			require.Equal(t, shivx.OutcomeDamaged, out.Outcome)
			require.Equal(t, 1, out.Damaged)
			require.Contains(t, out.Message, "packs/ab/abcd.pack: block 3")
		})
	}
}

func TestSafeSnapshotTakes(t *testing.T) {
	f := newFakeStore("web")
	out := play[shivx.SafeSnapshotResult](t, f, shivx.TypeSafeSnapshot, shivx.SafeSnapshotInput{GoldenRequest: asks(), Name: "lockdown"})
	require.Equal(t, shivx.OutcomeStored, out.Outcome)
	require.Equal(t, shivx.SnapshotTake, out.Action)
	require.Equal(t, shivx.GoldenKindSnapshot, out.Golden.Kind)
	require.Equal(t, []string{"InspectSet", "TakeGolden", "PruneGoldens", "LogGolden"}, f.calls)
	require.Nil(t, out.Changes)
	require.True(t, f.running["web"], "taking a snapshot stops nothing")
}

// TestSafeSnapshotKeepsOlderOnes: an intruder who brings lockdowns about pushes no state from before him out.
func TestSafeSnapshotKeepsOlderOnes(t *testing.T) {
	f := newFakeStore("web")
	out := play[shivx.SafeSnapshotResult](t, f, shivx.TypeSafeSnapshot, shivx.SafeSnapshotInput{GoldenRequest: asks(), KeepOlder: true})
	require.Equal(t, shivx.OutcomeStored, out.Outcome)
	require.Equal(t, []string{"InspectSet", "TakeGolden", "LogGolden"}, f.calls)
	require.Equal(t, shivx.StepSkipped, steps(out.Steps, shivx.GoldenStepPrune)[0].Outcome)
}

// TestSafeSnapshotRollsBack: a rollback is a restore like any other, approval included.
func TestSafeSnapshotRollsBack(t *testing.T) {
	for name, c := range map[string]struct {
		grant bool
		want  shivx.Outcome
	}{"approved": {true, shivx.OutcomeRestored}, "not approved": {false, shivx.OutcomeRefused}} {
		t.Run(name, func(t *testing.T) {
			f := newFakeStore("web")
			f.policy.Approval = shivx.Approval{Required: 1, TTL: shivx.Duration(time.Minute), Grant: c.grant}
			out := play[shivx.SafeSnapshotResult](t, f, shivx.TypeSafeSnapshot,
				shivx.SafeSnapshotInput{GoldenRequest: asks(), Action: shivx.SnapshotRestore})
			require.Equal(t, c.want, out.Outcome, out.Message)
			require.Equal(t, c.grant, out.Swapped)
			require.Equal(t, shivx.GoldenKindSnapshot, f.found[0].Kind)
			require.Equal(t, shivx.GoldenLatest, f.found[0].Golden)
			require.Equal(t, shivx.GoldenSnapshot, f.logged[0].Action)
			require.Nil(t, out.Capture)
		})
	}
}
