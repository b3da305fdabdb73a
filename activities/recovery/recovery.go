// Package recovery implements the activities of the self-heal runbook on one host.
//
// Each step that changes the host is written to the operational ledger before it begins and
// when it has ended. A step that a crash cut off is found there when it is run again, so that
// its effect is not repeated; see effect.go.
package recovery

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/worker"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/effect"
	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/ledger"
)

// Checker runs the checks of one component once.
type Checker interface {
	Round(ctx context.Context, component string) ([]health.Result, error)
}

// Notifier tells people; it returns the names of the ways that worked and of those that did not.
type Notifier interface {
	Send(ctx context.Context, message any) (told, failed []string)
}

// Components finds components by name, those included that are not in the configuration.
type Components interface {
	Component(name string) (config.Component, bool)
}

var _ Components = (*config.Config)(nil)

// Activities does the steps of self-heal runs on the agent's host.
type Activities struct {
	Config *config.Config
	// Components of this host; nil: those of Config.
	Components  Components
	Checks      Checker
	Plugins     effect.Plugins
	Checkpoints *checkpoint.Store
	Ledger      *ledger.Ledger
	Notifier    Notifier
	Logger      *slog.Logger

	attempts activities.Attempts
	// copies counts the healthy checkpoints under way.
	copies atomic.Int32
	late   lateFolders
}

// Register binds every activity to its wire name.
func (a *Activities) Register(r worker.ActivityRegistry) {
	activities.Inspect.Register(r, a.Inspect)
	activities.Isolate.Register(r, a.Isolate)
	activities.Checkpoint.Register(r, a.Checkpoint)
	activities.Recover.Register(r, a.Recover)
	activities.Validate.Register(r, a.Validate)
	activities.Undo.Register(r, a.Undo)
	activities.Reintegrate.Register(r, a.Reintegrate)
	activities.Log.Register(r, a.Log)
	activities.Escalate.Register(r, a.Escalate)
}

// component returns the configuration of the target.
func (a *Activities) component(t shivx.Target) (config.Component, error) {
	if t.Host != a.Config.Host {
		return config.Component{}, activities.UnknownComponent("this is the agent of %s, not of %s", a.Config.Host, t.Host)
	}
	var components Components = a.Config
	if a.Components != nil {
		components = a.Components
	}
	c, ok := components.Component(t.Component)
	if !ok {
		return config.Component{}, activities.UnknownComponent("%s has no component %q; see the components of its configuration, and its registered modules", a.Config.Host, t.Component)
	}
	return c, nil
}

// effectKey names the effect of one step of one run, also over crashes and retries.
func effectKey(in activities.StepInput, step string) string {
	key := in.Run + "/" + step
	switch {
	case in.Strategy != "":
		key += fmt.Sprintf("/%s/%d", in.Strategy, in.Attempt)
	case in.Attempt > 0:
		key += fmt.Sprintf("/%d", in.Attempt)
	}
	return key
}

// record writes one line to the operational ledger.
func (a *Activities) record(ctx context.Context, key string, r shivx.RecoveryRecord) (ledger.Record, error) {
	r.EventID = key
	r.Timestamp = time.Now().UTC()
	rec, err := a.Ledger.Append(ctx, key, r)
	if err != nil {
		return rec, fmt.Errorf("write %s to the operational ledger: %w", r.EventType, err)
	}
	return rec, nil
}
