package golden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

// checkPause is the shortest time between two rounds of checks.
const checkPause = 100 * time.Millisecond

// checkGrace is for how much longer than asked services are watched that have become healthy late. Together with
// what a last round takes it is less than what a run waits for the answer beyond the timeout.
const checkGrace = 10 * time.Second

// StopService stops a component's service.
func (a *Activities) StopService(ctx context.Context, in activities.ServiceInput) (activities.RestoreStep, error) {
	return a.service(ctx, in, shivx.GoldenStepStop, a.way)
}

// StartService starts a component's service. It refuses to while the files are of no one state.
func (a *Activities) StartService(ctx context.Context, in activities.ServiceInput) (activities.RestoreStep, error) {
	return a.service(ctx, in, shivx.GoldenStepStart, a.way)
}

// way is how a service is stopped and started.
type way struct {
	Plugin  string          `json:"plugin"`
	Options json.RawMessage `json:"options,omitempty"`
}

// finder finds the way for a component, and the plugin.
type finder func(ctx context.Context, component string) (way, host.Runner, error)

func (a *Activities) service(ctx context.Context, in activities.ServiceInput, name shivx.GoldenStep, find finder) (activities.RestoreStep, error) {
	key := serviceKey(in.Restore, name, in.Service, in.Attempt)
	s := step{target: in.GoldenTarget, run: in.Run, alone: in.Restore, key: key, name: name, service: in.Service, timeout: in.Timeout.Std()}
	do := sdk.StepStop
	if name == shivx.GoldenStepStart {
		do, s.allowed = sdk.StepStart, func() error { return a.ofOneState(in.Restore) }
	}
	return record(ctx, a, s, func(r activities.RestoreStep) string { return r.Summary },
		func(ctx context.Context) (activities.RestoreStep, error) {
			r, err := a.serve(ctx, in, do, key, find)
			return activities.RestoreStep{Summary: short(r.Summary)}, err
		})
}

// serviceKey is the key of a stop or a start in the ledger.
func serviceKey(restore string, name shivx.GoldenStep, service string, attempt int) string {
	return fmt.Sprintf("%s/%s/%s/%d", restore, name, service, attempt)
}

// serve has a plugin stop or start a service.
func (a *Activities) serve(ctx context.Context, in activities.ServiceInput, do sdk.Step, key string, find finder) (sdk.Reply, error) {
	use, plugin, err := find(ctx, in.Service)
	if err != nil {
		return sdk.Reply{}, err
	}
	req := sdk.Request{
		Key: key, Component: in.Service, Host: in.Host, Run: in.Run, Attempt: in.Attempt, Reason: "golden restore of " + in.Set,
		Options: use.Options, WorkDir: filepath.Join(a.Config.Paths.Var, "work", in.Service, use.Plugin),
	}.WithProgress(func(string) {
		if tell := a.tell(ctx); tell != nil {
			tell(shivx.GoldenProgress{Step: shivx.GoldenStep(do)})
		}
	})
	return plugin.Run(ctx, do, req)
}

// way is the first strategy of a component's ladder whose plugin can stop and start the service.
func (a *Activities) way(ctx context.Context, name string) (way, host.Runner, error) {
	c, ok := a.Config.Component(name)
	if !ok {
		return way{}, nil, refused(activities.ErrUnknownComponent, fmt.Errorf("%s has no component %q", a.Config.Host, name))
	}
	var faults []error
	for _, s := range c.Ladder {
		p, err := a.Plugins.Get(ctx, s.Plugin)
		if err == nil && p.Describe().Can(sdk.StepStop) {
			options, err := s.OptionsJSON()
			return way{s.Plugin, options}, p, err
		}
		faults = append(faults, err)
	}
	return way{}, nil, shivx.Hint(fmt.Errorf("no strategy of %s can stop and start it: %w", name, errors.Join(faults...)),
		"give the component a strategy with the plugin process, or leave it out of the set's services")
}

// CheckServices watches the health checks of services until each has passed over the window that its
// component asks of a recovery.
func (a *Activities) CheckServices(ctx context.Context, in activities.CheckServicesInput) (activities.CheckServicesResult, error) {
	return record(ctx, a, step{target: in.GoldenTarget, run: in.Run, alone: in.Restore, name: shivx.GoldenStepCheck, timeout: in.Timeout.Std() + checkGrace},
		func(r activities.CheckServicesResult) string { return r.Summary },
		func(ctx context.Context) (activities.CheckServicesResult, error) {
			var out activities.CheckServicesResult
			deadline := time.Now().Add(in.Timeout.Std()) // of all together
			for _, name := range in.Services {
				reasons, err := a.watch(ctx, name, deadline)
				if err != nil {
					return out, err
				}
				out.Reasons = append(out.Reasons, reasons...)
			}
			out.Fit = len(out.Reasons) == 0
			if more := len(out.Reasons) - mostReasons; more > 0 {
				out.Reasons = append(out.Reasons[:mostReasons], fmt.Sprintf("and %d reasons more", more))
			}
			out.Summary = "healthy: " + counted(len(in.Services), "service")
			if !out.Fit {
				out.Summary = short("not healthy: " + out.Reasons[0])
			}
			return out, nil
		})
}

// watch returns nothing once the component's checks have all passed over its window, and why they do not
// when that has not come about by the deadline, or will not have soon after it.
func (a *Activities) watch(ctx context.Context, name string, deadline time.Time) ([]string, error) {
	c, ok := a.Config.Component(name)
	if !ok {
		return nil, refused(activities.ErrUnknownComponent, fmt.Errorf("%s has no component %q", a.Config.Host, name))
	}
	var window time.Duration
	if c.Validate.Window != nil {
		window = *c.Validate.Window
	}
	var since time.Time
	for {
		reasons := a.round(ctx, name)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case len(reasons) > 0 && now.After(deadline):
			return reasons, nil
		case len(reasons) > 0:
			since = time.Time{}
		case since.IsZero():
			since = now
		}
		switch ends := since.Add(window); {
		case since.IsZero():
		case !now.Before(ends):
			return nil, nil
		case ends.After(deadline.Add(checkGrace)):
			return []string{fmt.Sprintf("%s: became healthy too late to be watched for %s", name, window)}, nil
		}
		activities.Tell(ctx, shivx.GoldenProgress{Step: shivx.GoldenStepCheck})
		t := time.NewTimer(max(checkPause, c.Validate.Every))
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// round runs all checks of a component once and says which failed. No check at all is no proof of health.
func (a *Activities) round(ctx context.Context, name string) []string {
	results, err := a.Checks.Round(ctx, name)
	if err != nil {
		return []string{short(name + ": " + err.Error())}
	}
	var reasons []string
	for _, r := range results {
		if !r.Healthy {
			reasons = append(reasons, short(name+": "+r.Check+": "+r.Error))
		}
	}
	if len(results) == 0 {
		reasons = append(reasons, name+": no check answered")
	}
	return reasons
}
