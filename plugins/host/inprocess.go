package host

import (
	"context"
	"errors"
	"log/slog"

	"github.com/shivx/shivx/plugins/sdk"
)

// InProcess runs a plugin inside this process, under the same rules as an external one save
// that nothing can stop it when it does not heed its context.
func InProcess(p sdk.Plugin) Runner {
	return &inProcess{plugin: p, log: slog.New(slog.DiscardHandler)}
}

type inProcess struct {
	plugin sdk.Plugin
	log    *slog.Logger
}

var _ Runner = (*inProcess)(nil)

func (r *inProcess) Describe() sdk.Description { return cleanDescription(sdk.Describe(r.plugin)) }

func (r *inProcess) Run(ctx context.Context, step sdk.Step, req sdk.Request) (sdk.Reply, error) {
	reply, err := sdk.Dispatch(ctx, r.plugin, step, req.WithProgress(limitProgress(req)))
	if err == nil {
		return cleanReply(reply), nil
	}
	if crash, ok := errors.AsType[*sdk.Panic](err); ok {
		r.log.Error("plugin panicked", "step", string(step), "panic", crash.Error(), "stack", string(crash.Stack))
	}
	return sdk.Reply{}, cleanError(err)
}
