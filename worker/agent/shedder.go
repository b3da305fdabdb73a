package agent

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities/recovery/crashpoint"
	"github.com/shivx/shivx/internal/resilience"
	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

// shedder switches load-shedding hooks through plugins: isolate sheds, reintegrate takes that back.
type shedder struct {
	plugins *host.Set
	host    string
	// work is where plugins keep files of their own between the two steps.
	work string
}

var _ resilience.Shedder = (*shedder)(nil)

// Shed runs the plugin's step isolate.
func (s *shedder) Shed(ctx context.Context, what resilience.Shedding) (string, error) {
	return s.run(ctx, sdk.StepIsolate, what)
}

// Restore runs the plugin's step reintegrate.
func (s *shedder) Restore(ctx context.Context, what resilience.Shedding) (string, error) {
	return s.run(ctx, sdk.StepReintegrate, what)
}

func (s *shedder) run(ctx context.Context, step sdk.Step, what resilience.Shedding) (string, error) {
	plugin, err := s.plugins.Get(ctx, what.Hook.Plugin)
	if err != nil {
		return "", hinted(err)
	}
	options, err := what.Hook.OptionsJSON()
	if err != nil {
		return "", err
	}
	point := "hook-" + string(step)
	crashpoint.Reach(point, crashpoint.Before)
	reply, err := plugin.Run(ctx, step, sdk.Request{
		Key: what.Key + "/" + string(step), Component: what.Hook.Name, Host: s.host, Run: what.Key, Attempt: 1,
		Reason: what.Reason, Options: options, WorkDir: filepath.Join(s.work, what.Hook.Name, what.Hook.Plugin),
	})
	crashpoint.Reach(point, crashpoint.After)
	if err != nil {
		return "", hinted(err)
	}
	return reply.Summary, nil
}

// hinted gives the error of a plugin its hint in the form the rest of the agent knows.
func hinted(err error) error {
	var fail *sdk.Fail
	if errors.As(err, &fail) && fail.Hint != "" {
		return shivx.Hint(err, fail.Hint)
	}
	return err
}
