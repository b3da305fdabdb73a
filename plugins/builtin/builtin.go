// Package builtin holds the plugins that come with ShivX: process, network, data, state, database
// and script, those that shed load: http, systemd and cgroup, and those that act before a fault:
// disk and prewarm. They implement the same interface as external ones.
//
// Each honours Request.Plan, is safe to call again with the same Request.Key, and keeps what
// it must remember between calls in Request.WorkDir, written before the effect it belongs to.
package builtin

import (
	"context"
	"errors"
	"log/slog"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/plugins/sdk"
)

// version of all built-in plugins.
const version = "1.0.0"

// Options are what the built-in plugins need of the agent.
type Options struct {
	// Checkpoints is where the plugins data and state restore from.
	Checkpoints *checkpoint.Store
	// Protect are folders of the agent's own, from which the plugin disk removes nothing.
	Protect []string
	// Logger; default: none.
	Logger *slog.Logger
}

// All returns the built-in plugins by name.
func All(o Options) map[string]sdk.Plugin {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	host := newHost(log)
	return map[string]sdk.Plugin{
		"process":  &Process{host: host},
		"network":  &Network{},
		"data":     &Data{host: host, store: o.Checkpoints},
		"state":    &State{store: o.Checkpoints},
		"database": &Database{},
		"script":   Script{},
		"http":     &HTTP{host: host},
		"systemd":  &Systemd{host: host, bus: systemd},
		"cgroup":   &Cgroup{host: host},
		"disk":     &Disk{host: host, protect: o.Protect},
		"prewarm":  Prewarm{},
	}
}

// retryable marks an error of a step that may succeed when it is tried again.
func retryable(err error, hint string) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &sdk.Fail{Message: err.Error(), Hint: hint, Retryable: true, Err: err}
}

// failed gives err a hint for the operator.
func failed(err error, hint string) error {
	var fail *sdk.Fail
	if err == nil || errors.As(err, &fail) || errors.Is(err, context.Canceled) {
		return err
	}
	return &sdk.Fail{Message: err.Error(), Hint: hint, Err: err}
}

// hintOf returns the hint of err, or otherwise.
func hintOf(err error, otherwise string) string {
	if h := shivx.HintOf(err); h != "" {
		return h
	}
	return otherwise
}
