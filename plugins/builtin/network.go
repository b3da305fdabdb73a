package builtin

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/plugins/sdk"
)

// Network is the plugin "network": it takes a server out of a load balancer and puts it back,
// fails over to another and back, and reconnects. Traffic is steered through HAProxy's runtime
// API or by rewriting the upstream in a configuration file.
type Network struct{}

var (
	_ sdk.Plugin             = (*Network)(nil)
	_ sdk.Isolator           = (*Network)(nil)
	_ sdk.Checkpointer       = (*Network)(nil)
	_ sdk.Undoer             = (*Network)(nil)
	_ sdk.StepOptionsChecker = (*Network)(nil)
)

type networkOptions struct {
	// Reconnect is run by a recovery, e.g. to bring a tunnel up again.
	Reconnect []string         `json:"reconnect"`
	Timeout   sdk.Duration     `json:"timeout"`
	HAProxy   *haproxyOptions  `json:"haproxy"`
	Upstream  *upstreamOptions `json:"upstream"`
}

// Describe says what the plugin is.
func (*Network) Describe() sdk.Description {
	return sdk.Description{
		Name: "network", Version: version, RecoveryType: "network", Idempotent: true,
		Summary: "Takes a server out of traffic and puts it back, fails over to another, reconnects",
	}
}

// CheckOptions checks the options of a strategy or of the isolation.
func (*Network) CheckOptions(options json.RawMessage) error {
	var o networkOptions
	if err := sdk.Decode(options, &o); err != nil {
		return err
	}
	if len(o.Reconnect) == 0 && o.HAProxy == nil && o.Upstream == nil {
		return sdk.BadOption("haproxy", "set haproxy, upstream or reconnect", "nothing says what to do")
	}
	if err := checkArgv("reconnect", o.Reconnect); err != nil {
		return err
	}
	if o.HAProxy != nil {
		if err := o.HAProxy.check(); err != nil {
			return err
		}
	}
	if o.Upstream != nil {
		return o.Upstream.check()
	}
	return nil
}

// CheckOptionsFor wants, besides, something that the step can do.
func (n *Network) CheckOptionsFor(step sdk.Step, options json.RawMessage) error {
	if err := n.CheckOptions(options); err != nil {
		return err
	}
	var o networkOptions
	if err := sdk.Decode(options, &o); err != nil {
		return err
	}
	switch {
	case step == sdk.StepIsolate && o.HAProxy == nil && o.Upstream == nil:
		return sdk.BadOption("reconnect", "set haproxy or upstream", "alone cannot take anything out of traffic")
	case step == sdk.StepRecover && o.HAProxy != nil && o.HAProxy.Failover == "":
		return sdk.BadOption("haproxy", "set haproxy.failover, or use these options under isolate", "taking a server out of traffic is no recovery without another that takes over")
	}
	return nil
}

func (n *Network) open(req sdk.Request) (networkOptions, error) {
	var o networkOptions
	if err := n.CheckOptions(req.Options); err != nil {
		return o, err
	}
	return o, req.Decode(&o)
}

// Isolate takes the server out of traffic; with a failover the other one takes over first.
func (n *Network) Isolate(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := n.open(req)
	if err != nil {
		return sdk.Result{}, err
	}
	if o.HAProxy == nil && o.Upstream == nil {
		return sdk.Result{}, sdk.Failf("set haproxy or upstream", "reconnect alone cannot take %s out of traffic", req.Component)
	}
	changes, err := o.away(ctx, req)
	return sdk.Result{Summary: summary(req, changes, "took "+req.Component+" out of traffic"), Changes: changes}, err
}

// Reintegrate puts the server back into traffic.
func (n *Network) Reintegrate(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := n.open(req)
	if err != nil {
		return sdk.Result{}, err
	}
	changes, err := o.back(ctx, req)
	return sdk.Result{Summary: summary(req, changes, "put "+req.Component+" back into traffic"), Changes: changes}, err
}

// Recover reconnects and fails over.
func (n *Network) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := n.open(req)
	if err != nil {
		return sdk.Result{}, err
	}
	if o.HAProxy != nil && o.HAProxy.Failover == "" {
		return sdk.Result{}, sdk.Failf("set haproxy.failover, or use these options under isolate",
			"taking %s out of traffic is no recovery without a server that takes over", o.HAProxy.name(o.HAProxy.Server))
	}
	var changes []string
	if len(o.Reconnect) > 0 {
		if !req.Plan {
			spec := command.Spec{Argv: o.Reconnect, Timeout: timeoutOf(o.Timeout)}
			if _, err := command.Run(ctx, spec); err != nil {
				return sdk.Result{}, retryable(err, "run the command by hand")
			}
		}
		changes = append(changes, "run "+command.Line(o.Reconnect))
	}
	more, err := o.away(ctx, req)
	changes = append(changes, more...)
	return sdk.Result{Summary: summary(req, changes, "recovered the network of "+req.Component), Changes: changes}, err
}

// Undo takes a failover back.
func (n *Network) Undo(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := n.open(req)
	if err != nil {
		return sdk.Result{}, err
	}
	changes, err := o.back(ctx, req)
	return sdk.Result{Summary: summary(req, changes, "took back the failover of "+req.Component), Changes: changes}, err
}

// Checkpoint keeps what HAProxy says of its servers beside the state.
func (n *Network) Checkpoint(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := n.open(req)
	if err != nil || o.HAProxy == nil || req.CheckpointDir == "" {
		return sdk.Result{Summary: "nothing to keep"}, err
	}
	if req.Plan {
		return sdk.Result{Summary: "would keep the state of HAProxy's servers"}, nil
	}
	answer, err := o.HAProxy.ask(ctx, "show servers state")
	if err != nil {
		return sdk.Result{}, err
	}
	path := req.CheckpointDir + "/haproxy-servers-state.txt"
	if err := renameio.WriteFile(path, []byte(answer+"\n"), 0o600); err != nil {
		return sdk.Result{}, fmt.Errorf("keep the state of HAProxy's servers: %w", err)
	}
	return sdk.Result{Summary: "kept the state of HAProxy's servers", Changes: []string{"wrote " + path}}, nil
}

// away moves traffic off the server; every part of it may be repeated.
func (o networkOptions) away(ctx context.Context, req sdk.Request) ([]string, error) {
	var changes []string
	if o.HAProxy != nil {
		more, err := o.HAProxy.away(ctx, req)
		changes = append(changes, more...)
		if err != nil {
			return changes, err
		}
	}
	if o.Upstream != nil {
		if req.Plan {
			more, err := o.Upstream.plan(o.Upstream.From, o.Upstream.To)
			return append(changes, more...), err
		}
		more, err := o.Upstream.apply(ctx, workFile(req, "upstream.old"))
		return append(changes, more...), err
	}
	return changes, nil
}

// back undoes away, in the opposite order.
func (o networkOptions) back(ctx context.Context, req sdk.Request) ([]string, error) {
	var changes []string
	if o.Upstream != nil {
		var more []string
		var err error
		if req.Plan {
			more, err = o.Upstream.plan(o.Upstream.To, o.Upstream.From)
		} else {
			more, err = o.Upstream.undo(ctx, workFile(req, "upstream.old"))
		}
		changes = append(changes, more...)
		if err != nil {
			return changes, err
		}
	}
	if o.HAProxy != nil {
		more, err := o.HAProxy.back(ctx, req)
		return append(changes, more...), err
	}
	return changes, nil
}

func (o upstreamOptions) plan(from, to string) ([]string, error) {
	p := o
	p.From, p.To = from, to
	path, _, _, err := p.rewrite()
	if err != nil {
		return nil, err
	}
	changes := []string{fmt.Sprintf("in %s replace %s by %s", path, from, to)}
	if len(o.Test) > 0 {
		changes = append(changes, "test it by "+command.Line(o.Test))
	}
	return append(changes, "reload by "+command.Line(o.Reload)), nil
}
