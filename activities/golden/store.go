package golden

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	engine "github.com/shivx/shivx/internal/golden"
)

const (
	findTimeout = 90 * time.Second
	// logTimeout bounds a write to the ledger.
	logTimeout = 10 * time.Second
)

// InspectSet reads what the configuration says about a set.
func (a *Activities) InspectSet(_ context.Context, in activities.InspectSetInput) (activities.SetPolicy, error) {
	s, err := a.set(in.GoldenTarget)
	if err != nil {
		return activities.SetPolicy{}, err
	}
	return a.policyOf(s), nil
}

// FindGolden finds a golden by what people call it.
func (a *Activities) FindGolden(ctx context.Context, in activities.FindGoldenInput) (shivx.GoldenInfo, error) {
	if _, err := a.set(in.GoldenTarget); err != nil {
		return shivx.GoldenInfo{}, err
	}
	ctx, stop := activities.Guard(ctx, findTimeout)
	defer stop()
	info, err := a.Engine.Find(ctx, engine.Ref{Set: in.Set, Host: in.From, Golden: in.Golden, Kind: in.Kind, Trust: in.Trust})
	return info, classed(ctx, err)
}

// TakeGolden stores the set as it is.
func (a *Activities) TakeGolden(ctx context.Context, in activities.TakeGoldenInput) (activities.TakeGoldenResult, error) {
	s, err := a.set(in.GoldenTarget)
	if err != nil {
		return activities.TakeGoldenResult{}, err
	}
	return record(ctx, a, step{target: in.GoldenTarget, run: in.Run, alone: in.Run, key: in.Run + "/take", name: shivx.GoldenStepTake, timeout: s.Timeout, plan: in.Plan},
		func(r activities.TakeGoldenResult) string { return r.Summary },
		func(ctx context.Context) (activities.TakeGoldenResult, error) {
			info, got, err := a.Engine.Take(ctx, engine.Order{
				Set: in.Set, Kind: in.Kind, Name: in.Name, Run: in.Run, Until: keepUntil(s, in.Kind, time.Now()),
				AllowMissing: in.AllowMissing, Plan: in.Plan}, a.tell(ctx))
			return activities.TakeGoldenResult{Summary: tookLine(info, got, in.Plan), Golden: info, Capture: got}, err
		})
}

func tookLine(info shivx.GoldenInfo, got shivx.GoldenCapture, plan bool) string {
	line := fmt.Sprintf("golden %s: %s with %d bytes; %d unchanged, %d bytes read, %d stored",
		info.ID, counted(info.Files, "file"), info.Bytes, got.Unchanged, got.BytesRead, got.BytesStored)
	if plan {
		line = fmt.Sprintf("would store %s with %d bytes; %d known to be unchanged", counted(info.Files, "file"), info.Bytes, got.Unchanged)
	}
	if len(got.Missing) > 0 {
		line += "; MISSING, a restore removes them: " + strings.Join(got.Missing, ", ")
	}
	return strings.Join(append([]string{line}, got.Warnings...), "; ")
}

// PruneGoldens removes what the set's retention does not ask for.
func (a *Activities) PruneGoldens(ctx context.Context, in activities.PruneGoldensInput) (activities.PruneGoldensResult, error) {
	s, err := a.set(in.GoldenTarget)
	if err != nil {
		return activities.PruneGoldensResult{}, err
	}
	return record(ctx, a, step{target: in.GoldenTarget, run: in.Run, alone: in.Run, key: in.Run + "/prune", name: shivx.GoldenStepPrune, timeout: s.Timeout, plan: in.Plan},
		func(r activities.PruneGoldensResult) string { return r.Summary },
		func(ctx context.Context) (activities.PruneGoldensResult, error) {
			r, err := a.Engine.Prune(ctx, engine.PruneOrder{Set: in.Set, Kind: in.Kind, Plan: in.Plan}, a.tell(ctx))
			return activities.PruneGoldensResult{
				Summary: fmt.Sprintf("removed %s, %d stay, %d bytes freed", counted(len(r.Removed), "golden"), r.Kept, r.Freed),
				Removed: r.Removed, Kept: r.Kept, Freed: r.Freed,
			}, err
		})
}

// VerifyGolden compares stored bytes with what was signed.
func (a *Activities) VerifyGolden(ctx context.Context, in activities.VerifyGoldenInput) (activities.VerifyGoldenResult, error) {
	s, err := a.set(in.GoldenTarget)
	if err != nil {
		return activities.VerifyGoldenResult{}, err
	}
	return record(ctx, a, step{target: in.GoldenTarget, run: in.Run, alone: in.Run, key: in.Run + "/verify", name: shivx.GoldenStepVerify, timeout: s.Timeout, plan: in.Plan},
		func(r activities.VerifyGoldenResult) string { return r.Summary },
		func(ctx context.Context) (activities.VerifyGoldenResult, error) {
			r, err := a.Engine.Verify(ctx, engine.VerifyOrder{
				Set: in.Set, Golden: in.Golden, Paths: in.Paths, All: in.All, Repair: in.Repair, Trust: in.Trust, Plan: in.Plan}, a.tell(ctx))
			return activities.VerifyGoldenResult{
				Summary: fmt.Sprintf("%s, %s, %d stored bytes: %s damaged, %d repaired", counted(r.Goldens, "golden"), counted(r.Files, "file"), r.Bytes, counted(r.Damaged, "place"), r.Repaired),
				Goldens: r.Goldens, Files: r.Files, Bytes: r.Bytes, Damaged: r.Damaged, Repaired: r.Repaired, Damage: r.Damage,
			}, err
		})
}

// LogGolden writes the end of a run to the operational ledger.
func (a *Activities) LogGolden(ctx context.Context, in activities.LogGoldenInput) (activities.LogResult, error) {
	ctx, stop := activities.Guard(ctx, logTimeout)
	defer stop()
	ok := in.Outcome.GoldenDone()
	sev := shivx.SeverityInfo
	if !ok {
		sev = shivx.SeverityError
	}
	key := in.Run + "/end"
	if in.Try > 0 {
		key += "/" + strconv.Itoa(in.Try)
	}
	steps := slices.Clone(in.Steps)
	for i := range steps {
		steps[i].Summary = short(steps[i].Summary)
	}
	rec, err := a.Ledger.Append(ctx, key, shivx.RecoveryRecord{
		EventID: key, Timestamp: time.Now().UTC(), EventType: shivx.EventGolden, Set: in.Set, Host: in.Host, Severity: sev, Run: in.Run,
		Outcome: in.Outcome, Success: &ok, DurationMS: int64(in.Seconds * 1000), Message: short(in.Message),
		Details: map[string]any{
			"action": in.Action, "golden": in.Golden, "restore": in.Restore, "started": in.Started, "steps": steps,
			"reason": in.Reason, "requested_by": in.RequestedBy,
		},
	})
	if err != nil {
		return activities.LogResult{}, fmt.Errorf("write the end of the run to the operational ledger: %w", err)
	}
	return activities.LogResult{Seq: rec.Seq, Hash: rec.Hash}, nil
}
