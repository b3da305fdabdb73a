// Package forecast implements the activities of FaultForecast and Mitigation on one host.
//
// The engine of the agent forecasts, also while Temporal is away; here is what the runbooks ask of it. An action takes
// place once, by package effect. What limits mitigations (budget, cooldown, actions that did not help) is derived from
// the operational ledger; see past.go.
package forecast

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/effect"
	"github.com/shivx/shivx/internal/config"
)

// Foresight says what is going to happen.
type Foresight interface {
	// Look takes what was measured since, and forecasts anew.
	Look(ctx context.Context) error
	Heatmap() shivx.Heatmap
	Predictions() []shivx.Prediction
	// Worst is the worst prediction of a subsystem, with its risk; false: it is not watched.
	Worst(subsystem string) (shivx.Risk, *shivx.Prediction, bool)
	// QuietTime is when a subsystem has the least to do, for as long as window, before a time; false: nobody knows.
	QuietTime(subsystem string, before time.Time, window time.Duration) (time.Time, bool)
}

// Judge compares what came with what was forecast.
type Judge interface {
	// Acting keeps the forecast of a subsystem without the action of that key, durably. Once more it changes nothing.
	Acting(ctx context.Context, subsystem, key string) error
	// Effect compares what came since with that forecast.
	Effect(ctx context.Context, subsystem, key, action string) (shivx.MitigationEffect, error)
}

// Engine forecasts, and judges what was done about it.
type Engine interface {
	Foresight
	Judge
}

// Activities does the steps of FaultForecast and Mitigation on the agent's host.
type Activities struct {
	Config *config.Config
	// Engine of the host; nil: nothing is forecast.
	Engine  Engine
	Plugins effect.Plugins
	Ledger  effect.Ledger
	// Past is what the ledger has of earlier mitigations.
	Past *Past
	// Mode says whether the host is in a lockdown: then people are asked before what may lose something. nil: it never is.
	Mode   func() shivx.DefenseMode
	Logger *slog.Logger
	// Now is the clock; nil: that of the host.
	Now func() time.Time

	attempts activities.Attempts
}

// Register binds every activity to its wire name.
func (a *Activities) Register(r worker.ActivityRegistry) {
	activities.ForecastFaults.Register(r, a.ForecastFaults)
	activities.InspectSubsystem.Register(r, a.InspectSubsystem)
	activities.PlanMitigation.Register(r, a.PlanMitigation)
	activities.Mitigate.Register(r, a.Mitigate)
	activities.MarkMitigation.Register(r, a.MarkMitigation)
	activities.UndoMitigation.Register(r, a.UndoMitigation)
	activities.MeasureMitigation.Register(r, a.MeasureMitigation)
	activities.LogMitigation.Register(r, a.LogMitigation)
}

// lookTimeout is a little less than the workflow allows.
const lookTimeout = 15 * time.Second

// ForecastFaults takes what was measured since and says what is predicted.
func (a *Activities) ForecastFaults(ctx context.Context, in activities.ForecastFaultsInput) (activities.ForecastFaultsResult, error) {
	if err := a.serves(in.Host); err != nil {
		return activities.ForecastFaultsResult{}, err
	}
	ctx, stop := activities.Guard(ctx, lookTimeout)
	defer stop()
	if err := a.Engine.Look(ctx); err != nil {
		if why := activities.Stopped(ctx); why != nil {
			return activities.ForecastFaultsResult{}, why
		}
		// What was known before is told; each risk says by itself of what nothing is known.
		a.Logger.Warn("the host was not looked at before its faults were forecast", "error", err)
	}
	out := activities.ForecastFaultsResult{Heatmap: a.Engine.Heatmap(), Predictions: worst(a.Engine.Predictions())}
	for _, r := range out.Heatmap.Risks {
		s, ok := a.Config.Forecast.Subsystem(r.Subsystem)
		if !r.Alert || !ok || len(s.Mitigations) == 0 {
			continue
		}
		p, err := a.policy(ctx, s)
		if err != nil {
			return out, err
		}
		if p.Refused == "" && usable(p.Actions) {
			out.Mitigate = append(out.Mitigate, r.Subsystem)
		}
	}
	return out, nil
}

// mostTold is how many predictions a run is told: Temporal takes 2 MB of one result, and a host may have thousands of series.
const mostTold = 100

// worst leaves the predictions that a run is told: all, or those that are worst, an alert before any other.
func worst(all []shivx.Prediction) []shivx.Prediction {
	if len(all) <= mostTold {
		return all
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b shivx.Prediction) int {
		switch {
		case a.Alert && !b.Alert:
			return -1
		case b.Alert && !a.Alert:
			return 1
		}
		return cmp.Compare(b.Probability, a.Probability)
	})
	return all[:mostTold]
}

// usable says whether an action may be tried.
func usable(all []activities.MitigationAction) bool {
	for _, a := range all {
		if a.Useless == "" && a.Unavailable == "" {
			return true
		}
	}
	return false
}

// InspectSubsystem reads what is predicted of a subsystem and what its configuration allows.
func (a *Activities) InspectSubsystem(ctx context.Context, in activities.InspectSubsystemInput) (activities.SubsystemPolicy, error) {
	s, err := a.subsystem(in.SubsystemTarget)
	if err != nil {
		return activities.SubsystemPolicy{}, err
	}
	ctx, stop := activities.Guard(ctx, lookTimeout)
	defer stop()
	return a.policy(ctx, s)
}

// serves refuses what is meant for another host, or for an agent that forecasts nothing.
func (a *Activities) serves(host string) error {
	switch {
	case host != a.Config.Host:
		return unknown(fmt.Errorf("this is the agent of %s, not of %s", a.Config.Host, host))
	case a.Engine == nil:
		return unknown(shivx.Hint(fmt.Errorf("%s forecasts nothing", host), "see forecast.enabled in its configuration"))
	default:
		return nil
	}
}

// subsystem returns the configuration of the target.
func (a *Activities) subsystem(t shivx.SubsystemTarget) (config.Subsystem, error) {
	if err := a.serves(t.Host); err != nil {
		return config.Subsystem{}, err
	}
	s, ok := a.Config.Forecast.Subsystem(t.Subsystem)
	if !ok {
		return s, unknown(shivx.Hint(fmt.Errorf("%s has no subsystem %q", t.Host, t.Subsystem), "see forecast.subsystems in its configuration"))
	}
	return s, nil
}

// rule returns the configuration of an action.
func (a *Activities) rule(t shivx.SubsystemTarget, action string) (config.MitigationRule, error) {
	s, err := a.subsystem(t)
	if err != nil {
		return config.MitigationRule{}, err
	}
	for _, r := range s.Mitigations {
		if r.Name == action {
			return r, nil
		}
	}
	return config.MitigationRule{}, unknown(shivx.Hint(fmt.Errorf("%s has no mitigation %q", t, action), "see forecast.subsystems, "+s.Name+", mitigations"))
}

// unknown is the error for what the configuration of the host does not have.
func unknown(err error) error {
	return temporal.NewNonRetryableApplicationError(effect.WithHint(err), activities.ErrUnknownSubsystem, nil)
}

func (a *Activities) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}
