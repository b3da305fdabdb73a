package golden

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

// checkPause is the shortest time between two rounds of checks.
const checkPause = 100 * time.Millisecond

// StopService stops a component's service.
func (a *Activities) StopService(ctx context.Context, in activities.ServiceInput) (activities.RestoreStep, error) {
	return a.service(ctx, in, shivx.GoldenStepStop, sdk.StepStop)
}

// StartService starts a component's service.
func (a *Activities) StartService(ctx context.Context, in activities.ServiceInput) (activities.RestoreStep, error) {
	return a.service(ctx, in, shivx.GoldenStepStart, sdk.StepStart)
}

func (a *Activities) service(ctx context.Context, in activities.ServiceInput, name shivx.GoldenStep, do sdk.Step) (activities.RestoreStep, error) {
	key := fmt.Sprintf("%s/%s/%s/%d", in.Restore, name, in.Service, in.Attempt)
	return record(ctx, a, step{target: in.GoldenTarget, run: in.Run, alone: in.Restore, key: key, name: name, service: in.Service, timeout: in.Timeout.Std()},
		func(r activities.RestoreStep) string { return r.Summary },
		func(ctx context.Context) (activities.RestoreStep, error) {
			use, plugin, err := a.way(ctx, in.Service)
			if err != nil {
				return activities.RestoreStep{}, err
			}
			options, err := use.OptionsJSON()
			if err != nil {
				return activities.RestoreStep{}, err
			}
			req := sdk.Request{
				Key: key, Component: in.Service, Host: in.Host, Run: in.Run, Attempt: in.Attempt, Reason: "golden restore of " + in.Set,
				Options: options, WorkDir: filepath.Join(a.Config.Paths.Var, "work", in.Service, use.Plugin),
			}.WithProgress(func(string) {
				if tell := a.tell(ctx); tell != nil {
					tell(shivx.GoldenProgress{Step: name})
				}
			})
			r, err := plugin.Run(ctx, do, req)
			return activities.RestoreStep{Summary: r.Summary}, err
		})
}

// way is the first strategy of a component's ladder whose plugin can stop and start the service.
func (a *Activities) way(ctx context.Context, name string) (config.Use, host.Runner, error) {
	c, ok := a.Config.Component(name)
	if !ok {
		return config.Use{}, nil, refused(activities.ErrUnknownComponent, fmt.Errorf("%s has no component %q", a.Config.Host, name))
	}
	var faults []error
	for _, s := range c.Ladder {
		p, err := a.Plugins.Get(ctx, s.Plugin)
		if err == nil && p.Describe().Can(sdk.StepStop) {
			return s.Use, p, nil
		}
		faults = append(faults, err)
	}
	return config.Use{}, nil, shivx.Hint(fmt.Errorf("no strategy of %s can stop and start it: %w", name, errors.Join(faults...)),
		"give the component a strategy with the plugin process, or leave it out of the set's services")
}

// CheckServices watches the health checks of services until each has passed over the window that its
// component asks of a recovery.
func (a *Activities) CheckServices(ctx context.Context, in activities.CheckServicesInput) (activities.CheckServicesResult, error) {
	return record(ctx, a, step{target: in.GoldenTarget, run: in.Run, alone: in.Restore, name: shivx.GoldenStepCheck, timeout: in.Timeout.Std() + time.Minute},
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
			out.Summary = fmt.Sprintf("%d services are healthy", len(in.Services))
			if !out.Fit {
				out.Summary = fmt.Sprintf("not healthy: %s", out.Reasons[0])
			}
			return out, nil
		})
}

// watch returns nothing once the component's checks have all passed over its window, and why they do not
// when that has not come about by the deadline.
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
		if !since.IsZero() && now.Sub(since) >= window {
			return nil, nil
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
		return []string{name + ": " + err.Error()}
	}
	var reasons []string
	for _, r := range results {
		if !r.Healthy {
			reasons = append(reasons, name+": "+r.Check+": "+r.Error)
		}
	}
	if len(results) == 0 {
		reasons = append(reasons, name+": no check answered")
	}
	return reasons
}
