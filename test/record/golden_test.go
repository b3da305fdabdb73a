package record_test

import (
	"context"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// scriptedStore is a host with a store whose steps do what the script says.
type scriptedStore struct {
	mu sync.Mutex
	// fails has how often a step fails, by the name of its activity; blocks is the one that ends only when it
	// is cancelled.
	fails    map[string]int
	blocks   string
	approval shivx.Approval
	services []string
	damage   []shivx.GoldenDamage
	busy     int // how often a lock is refused
}

// step is what every scripted activity begins with.
func (f *scriptedStore) step(ctx context.Context) error {
	name := activity.GetInfo(ctx).ActivityType.Name
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.blocks == name {
		for ctx.Err() == nil {
			activity.RecordHeartbeat(ctx, shivx.GoldenProgress{Step: shivx.GoldenStepStage, Bytes: 1, BytesTotal: 2})
			time.Sleep(100 * time.Millisecond)
		}
		return ctx.Err()
	}
	if f.fails[name] > 0 {
		f.fails[name]--
		return temporal.NewNonRetryableApplicationError("as the script says", activities.ErrGoldenFailed, nil)
	}
	return nil
}

// golden serves a host for one recording and returns its name.
func (s *studio) golden(f *scriptedStore) (host string) {
	host = "golden-" + s.t.Name()[len("TestRecord/"):]
	s.work(host, func(w worker.Registry) {
		workflows.Register(w)
		activities.Acquire.Register(w, func(context.Context, activities.AcquireInput) (activities.AcquireResult, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.busy > 0 {
				f.busy--
				return activities.AcquireResult{}, temporal.NewNonRetryableApplicationError("it is being healed", activities.ErrBusy, nil)
			}
			return activities.AcquireResult{}, nil
		})
	})
	s.work(shivx.HostQueue(host), func(w worker.Registry) {
		f.registerStore(w)
		f.registerRestore(w)
	})
	return host
}

func (f *scriptedStore) registerStore(w worker.Registry) {
	activities.InspectSet.Register(w, func(ctx context.Context, in activities.InspectSetInput) (activities.SetPolicy, error) {
		return activities.SetPolicy{GoldenTarget: in.GoldenTarget, Services: f.services, Approval: f.approval, Timeout: shivx.Duration(time.Minute),
			ServiceTimeout: shivx.Duration(time.Minute), CheckTimeout: shivx.Duration(time.Minute)}, f.step(ctx)
	})
	activities.FindGolden.Register(w, func(ctx context.Context, in activities.FindGoldenInput) (shivx.GoldenInfo, error) {
		return shivx.GoldenInfo{ID: "20260102-150405-7f3a9c", Set: in.Set, Host: in.Host, Kind: in.Kind, Files: 3}, f.step(ctx)
	})
	activities.TakeGolden.Register(w, func(ctx context.Context, in activities.TakeGoldenInput) (activities.TakeGoldenResult, error) {
		return activities.TakeGoldenResult{Summary: "3 files", Capture: shivx.GoldenCapture{Files: 3},
			Golden: shivx.GoldenInfo{ID: "20260102-150405-7f3a9c", Set: in.Set, Host: in.Host, Kind: in.Kind}}, f.step(ctx)
	})
	activities.PruneGoldens.Register(w, func(ctx context.Context, _ activities.PruneGoldensInput) (activities.PruneGoldensResult, error) {
		return activities.PruneGoldensResult{Summary: "nothing to remove", Kept: 1}, f.step(ctx)
	})
	activities.VerifyGolden.Register(w, func(ctx context.Context, _ activities.VerifyGoldenInput) (activities.VerifyGoldenResult, error) {
		return activities.VerifyGoldenResult{Summary: "every byte", Goldens: 1, Files: 3, Damage: f.damage, Damaged: len(f.damage)}, f.step(ctx)
	})
	activities.LogGolden.Register(w, func(ctx context.Context, _ activities.LogGoldenInput) (activities.LogResult, error) {
		return activities.LogResult{Seq: 1}, f.step(ctx)
	})
	activities.Escalate.Register(w, func(context.Context, activities.EscalateInput) (activities.EscalateResult, error) {
		return activities.EscalateResult{Told: []string{"chat"}}, nil
	})
}

func (f *scriptedStore) registerRestore(w worker.Registry) {
	for _, a := range []activities.Activity[activities.RestoreInput, activities.RestoreStep]{
		activities.ValidateRestore, activities.SwapRestore, activities.LoadRestore, activities.UndoRestore, activities.FinishRestore, activities.DiscardRestore,
	} {
		a.Register(w, func(ctx context.Context, _ activities.RestoreInput) (activities.RestoreStep, error) {
			return activities.RestoreStep{Summary: "done"}, f.step(ctx)
		})
	}
	activities.StageRestore.Register(w, func(ctx context.Context, _ activities.RestoreInput) (activities.RestoreStep, error) {
		return activities.RestoreStep{Summary: "staged", Files: 2, Changes: &shivx.GoldenChanges{Changed: 2}}, f.step(ctx)
	})
	for _, a := range []activities.Activity[activities.ServiceInput, activities.RestoreStep]{activities.StopService, activities.StartService} {
		a.Register(w, func(ctx context.Context, _ activities.ServiceInput) (activities.RestoreStep, error) {
			return activities.RestoreStep{Summary: "done"}, f.step(ctx)
		})
	}
	activities.CheckServices.Register(w, func(ctx context.Context, _ activities.CheckServicesInput) (activities.CheckServicesResult, error) {
		return activities.CheckServicesResult{Summary: "healthy", Fit: true}, f.step(ctx)
	})
}

// begins starts a golden run as a person does.
func (s *studio) begins(host, workflowType string, in map[string]any) run {
	s.t.Helper()
	in["set"], in["host"] = "shop", host
	r, err := s.server.Client().ExecuteWorkflow(s.t.Context(),
		client.StartWorkflowOptions{ID: workflowType + " " + host, TaskQueue: host, WorkflowTaskTimeout: shivx.TaskTimeout}, workflowType, in)
	require.NoError(s.t, err)
	return run{r.GetID(), r.GetRunID()}
}

// over waits for the end of a golden run, which may be a failure.
func (s *studio) over(r run) run {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	_ = s.server.Client().GetWorkflow(ctx, r.id, r.runID).Get(ctx, nil) // a run that fails is wanted, too
	require.NoError(s.t, ctx.Err())
	return r
}

func (s *studio) awaitGolden(r run, ok func(workflows.GoldenStatus) bool) run {
	s.t.Helper()
	stand.Await(s.t, patience, "the run "+r.id, func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		v, err := s.server.Client().QueryWorkflow(ctx, r.id, r.runID, shivx.QueryProgress)
		var status workflows.GoldenStatus
		return err == nil && v.Get(&status) == nil && ok(status)
	})
	return r
}

func asksOne() shivx.Approval {
	return shivx.Approval{Required: 1, Of: []string{"ana", "ben"}, TTL: shivx.Duration(time.Hour)}
}

// goldenBackup cannot remove an older golden.
func goldenBackup(s *studio) run {
	host := s.golden(&scriptedStore{fails: map[string]int{"PruneGoldens": 1}})
	return s.over(s.begins(host, shivx.TypeGoldenBackup, map[string]any{"name": "before the move"}))
}

// goldenVerify finds damage.
func goldenVerify(s *studio) run {
	host := s.golden(&scriptedStore{damage: []shivx.GoldenDamage{{Object: "packs/ab/abcd.pack", What: "block 3 is not what it was"}}})
	return s.over(s.begins(host, shivx.TypeGoldenVerify, map[string]any{"all": true, "repair": true}))
}

// goldenRestored is approved, waits for a lock, and compares again after the stop.
func goldenRestored(s *studio) run {
	host := s.golden(&scriptedStore{services: []string{"db", "web"}, approval: asksOne(), busy: 1})
	r := s.begins(host, shivx.TypeGoldenRestore, map[string]any{"mode": "in-place", "requested_by": "ana"})
	s.awaitGolden(r, func(g workflows.GoldenStatus) bool { return g.Approval != nil })
	s.update(r.id, shivx.UpdateApprove, workflows.Decision{By: "ben", Note: "go ahead"})
	return s.over(r)
}

// goldenUndone has services that are not healthy with what was restored; the old state is put back at the
// third try.
func goldenUndone(s *studio) run {
	host := s.golden(&scriptedStore{services: []string{"db", "web"}, fails: map[string]int{"CheckServices": 1, "UndoRestore": 2}})
	return s.over(s.begins(host, shivx.TypeGoldenRestore, map[string]any{"golden": "20260102"}))
}

// goldenAborted is stopped while it stages.
func goldenAborted(s *studio) run {
	host := s.golden(&scriptedStore{services: []string{"web"}, blocks: "StageRestore"})
	r := s.begins(host, shivx.TypeGoldenRestore, map[string]any{})
	s.awaitGolden(r, func(g workflows.GoldenStatus) bool {
		for _, step := range g.Steps {
			if step.Name == shivx.GoldenStepStage && step.Outcome == shivx.StepRunning {
				return true
			}
		}
		return false
	})
	s.signal(r.id, shivx.SignalAbort, workflows.Abort{By: "ana", Reason: "wrong set"})
	return s.over(r)
}

// goldenPutBack is cancelled in the swap, so that a service was stopped.
func goldenPutBack(s *studio) run {
	host := s.golden(&scriptedStore{services: []string{"web"}, blocks: "SwapRestore"})
	r := s.begins(host, shivx.TypeGoldenRestore, map[string]any{})
	s.awaitGolden(r, func(g workflows.GoldenStatus) bool {
		for _, step := range g.Steps {
			if step.Name == shivx.GoldenStepSwap && step.Outcome == shivx.StepRunning {
				return true
			}
		}
		return false
	})
	require.NoError(s.t, s.server.Client().CancelWorkflow(s.t.Context(), r.id, r.runID))
	return s.over(r)
}

// goldenDenied is refused by a person.
func goldenDenied(s *studio) run {
	host := s.golden(&scriptedStore{services: []string{"web"}, approval: asksOne()})
	r := s.begins(host, shivx.TypeGoldenRestore, map[string]any{})
	s.awaitGolden(r, func(g workflows.GoldenStatus) bool { return g.Approval != nil })
	s.update(r.id, shivx.UpdateApprove, workflows.Decision{By: "ben", Deny: true, Note: "not now"})
	return s.over(r)
}

func goldenPlan(s *studio) run {
	host := s.golden(&scriptedStore{services: []string{"web"}, approval: asksOne()})
	return s.over(s.begins(host, shivx.TypeGoldenRestore, map[string]any{"plan": true}))
}

// snapshotTaken and snapshotRestored are the two things that SafeSnapshot does.
func snapshotTaken(s *studio) run {
	return s.over(s.begins(s.golden(&scriptedStore{}), shivx.TypeSafeSnapshot, map[string]any{"reason": "lockdown"}))
}

func snapshotRestored(s *studio) run {
	host := s.golden(&scriptedStore{})
	return s.over(s.begins(host, shivx.TypeSafeSnapshot, map[string]any{"action": "restore"}))
}
