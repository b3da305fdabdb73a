// Package golden implements the activities of the golden runbooks on one host, and runs a whole restore
// without Temporal for the command line.
//
// Each step is written to the operational ledger when it has ended, with the time it took. A step that is
// run again after that returns what it returned before, as long as that is still true; one that a crash cut off
// is done again, for which every step of the engine is made.
package golden

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/config"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/restore"
	"github.com/shivx/shivx/internal/golden/store"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/plugins/host"
)

// Checker runs the checks of one component once.
type Checker interface {
	Round(ctx context.Context, component string) ([]health.Result, error)
}

// Plugins finds plugins by name.
type Plugins interface {
	Get(ctx context.Context, name string) (host.Runner, error)
}

// Ledger is where steps are recorded.
type Ledger interface {
	Find(key string) (ledger.Record, bool, error)
	Append(ctx context.Context, key string, event any) (ledger.Record, error)
}

// Activities does the steps of golden runs on the agent's host.
type Activities struct {
	Config  *config.Config
	Engine  *engine.Engine
	Checks  Checker
	Plugins Plugins
	Ledger  Ledger
	Logger  *slog.Logger
	// Tell is told how far a step is when there is no Temporal to tell.
	Tell func(shivx.GoldenProgress)

	attempts activities.Attempts
}

// Register binds every activity that runs on the host's queue to its wire name.
func (a *Activities) Register(r worker.ActivityRegistry) {
	activities.InspectSet.Register(r, a.InspectSet)
	activities.FindGolden.Register(r, a.FindGolden)
	activities.TakeGolden.Register(r, a.TakeGolden)
	activities.PruneGoldens.Register(r, a.PruneGoldens)
	activities.VerifyGolden.Register(r, a.VerifyGolden)
	activities.StageRestore.Register(r, a.StageRestore)
	activities.ValidateRestore.Register(r, a.ValidateRestore)
	activities.SwapRestore.Register(r, a.SwapRestore)
	activities.LoadRestore.Register(r, a.LoadRestore)
	activities.UndoRestore.Register(r, a.UndoRestore)
	activities.FinishRestore.Register(r, a.FinishRestore)
	activities.DiscardRestore.Register(r, a.DiscardRestore)
	activities.StopService.Register(r, a.StopService)
	activities.StartService.Register(r, a.StartService)
	activities.CheckServices.Register(r, a.CheckServices)
	activities.LogGolden.Register(r, a.LogGolden)
}

// set returns the configuration of the target.
func (a *Activities) set(t shivx.GoldenTarget) (config.GoldenSet, error) {
	if t.Host != a.Config.Host {
		return config.GoldenSet{}, refused(activities.ErrUnknownSet, fmt.Errorf("this is the agent of %s, not of %s", a.Config.Host, t.Host))
	}
	for _, s := range a.Config.Golden.Sets {
		if s.Name == t.Set {
			return s, nil
		}
	}
	return config.GoldenSet{}, refused(activities.ErrUnknownSet, shivx.Hint(fmt.Errorf("%s has no set %q", t.Host, t.Set), "see golden.sets in its configuration"))
}

// tell returns what a step reports its progress to.
func (a *Activities) tell(ctx context.Context) func(shivx.GoldenProgress) {
	if !activity.IsActivity(ctx) {
		return a.Tell
	}
	return func(p shivx.GoldenProgress) { activities.Tell(ctx, p) }
}

// refused is an error that the workflow decides on and that is not tried again.
func refused(kind string, err error) error {
	msg := short(err.Error())
	if h := shivx.HintOf(err); h != "" {
		msg += " — " + short(h)
	}
	return temporal.NewNonRetryableApplicationError(msg, kind, shortened(err))
}

// kinds say what an error of the engine is to a workflow, the first that fits.
var kinds = []struct {
	err  error
	kind string
}{
	{store.ErrUntrusted, activities.ErrUntrusted},
	{format.ErrDamaged, activities.ErrDamaged},
	{engine.ErrUnknownSet, activities.ErrUnknownSet},
	{engine.ErrUnknownGolden, activities.ErrUnknownGolden},
	{engine.ErrInvalid, activities.ErrNotValid},
	{engine.ErrOver, activities.ErrOver},
	{restore.ErrBusy, activities.ErrBusy},
	{engine.ErrName, activities.ErrRefused},
	{engine.ErrOtherStore, activities.ErrRefused},
	{store.ErrKeyReplaced, activities.ErrRefused},
	{store.ErrClock, activities.ErrRefused},
}

// OutcomeOf is how a command ends on an error of the engine, unless it had something to put back.
func OutcomeOf(err error) shivx.Outcome {
	if errors.Is(err, ErrAgent) {
		return shivx.OutcomeRefused
	}
	for _, k := range kinds {
		if o := activities.GoldenOutcome(k.kind); o != shivx.OutcomeFailed && errors.Is(err, k.err) {
			return o
		}
	}
	return shivx.OutcomeFailed
}

// classed turns an error of the engine into one that the workflow decides on. A step that was stopped by
// the stop of the agent is resumed when it is back.
func classed(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if why := activities.Stopped(ctx); why != nil {
		return why
	}
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return app
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return refused(k.kind, err)
		}
	}
	return refused(activities.ErrGoldenFailed, activities.TimedOut(ctx, err))
}

// step is one step of a run on its way into the ledger.
type step struct {
	target  shivx.GoldenTarget
	run     string
	alone   string // of two steps with the same, the later one waits
	key     string // the same in every repetition; "": every run of it counts
	name    shivx.GoldenStep
	service string
	timeout time.Duration
	plan    bool
	// allowed says whether the step may be taken at all, whatever the ledger has of it; nil: it may.
	allowed func() error
}

// record runs a step that has an effect and writes its end to the ledger. One that has ended is not run again,
// and one that is under way is waited for: a heartbeat that came late begins a second attempt.
func record[Out any](ctx context.Context, a *Activities, s step, line func(Out) string, do func(context.Context) (Out, error)) (Out, error) {
	ctx, stop := activities.Guard(ctx, s.timeout)
	defer stop()
	var out Out
	if s.plan {
		out, err := do(ctx)
		return out, classed(ctx, err)
	}
	ctx, leave, err := a.attempts.Enter(ctx, s.alone)
	if err != nil {
		return out, classed(ctx, err)
	}
	defer leave()
	if s.allowed != nil {
		if err := s.allowed(); err != nil {
			return out, classed(ctx, err)
		}
	}
	if ended, err := a.ended(s.key, &out); ended || err != nil {
		return out, err
	}
	began := time.Now()
	if out, err = do(ctx); err != nil {
		if !activities.ToBeResumed(ctx) {
			a.write(ctx, "", s.record(shivx.EventStepFailed, began, err.Error(), nil))
		}
		return out, classed(ctx, err)
	}
	a.write(ctx, s.key, s.record(shivx.EventStepDone, began, line(out), out))
	return out, nil
}

// ended says whether a step is in the ledger, and reads what it returned into out.
func (a *Activities) ended(key string, out any) (bool, error) {
	if key == "" {
		return false, nil
	}
	rec, ok, err := a.Ledger.Find(key)
	if err != nil {
		return false, fmt.Errorf("look into the operational ledger: %w", err)
	}
	if !ok {
		return false, nil
	}
	return true, rec.Decode(&shivx.RecoveryRecord{Details: out})
}

func (s step) record(event string, began time.Time, msg string, details any) shivx.RecoveryRecord {
	ok := event == shivx.EventStepDone
	sev := shivx.SeverityInfo
	if !ok {
		sev = shivx.SeverityWarning
	}
	return shivx.RecoveryRecord{
		EventType: event, Component: s.service, Set: s.target.Set, Host: s.target.Host, Severity: sev, Run: s.run, Step: shivx.Step(s.name),
		Success: &ok, DurationMS: time.Since(began).Milliseconds(), Message: short(msg), Details: details,
	}
}

// write appends to the ledger. That it could not does not undo what was done: availability first.
func (a *Activities) write(ctx context.Context, key string, r shivx.RecoveryRecord) {
	r.EventID, r.Timestamp = key, time.Now().UTC()
	if _, err := a.Ledger.Append(context.WithoutCancel(ctx), key, r); err != nil {
		a.Logger.Error("a step is not in the ledger", "step", r.Step, "set", r.Set, "error", err)
	}
}
