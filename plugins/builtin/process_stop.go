package builtin

import (
	"context"

	"github.com/shivx/shivx/plugins/sdk"
)

var _ sdk.Stopper = (*Process)(nil)

// Stop ends the service and all that it started.
func (p *Process) Stop(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	s, leave, err := p.enter(ctx, req)
	if err != nil {
		return sdk.Result{}, err
	}
	defer leave()
	var changes []string
	if req.Plan && s.Unit == "" {
		changes, err = s.planStop()
	} else {
		changes, err = s.halt(ctx)
	}
	return sdk.Result{Summary: summary(req, changes, "stopped "+req.Component), Changes: changes}, err
}

// Start starts the service, unless it runs.
func (p *Process) Start(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	s, leave, err := p.enter(ctx, req)
	if err != nil {
		return sdk.Result{}, err
	}
	defer leave()
	var changes []string
	if s.Unit == "" {
		changes, err = s.startUnlessRunning(ctx)
	} else {
		changes, err = s.unitJob(ctx, "start")
	}
	return sdk.Result{Summary: summary(req, changes, "started "+req.Component), Changes: changes}, err
}

// enter reads the options and keeps other steps of the component away until leave is called.
func (p *Process) enter(ctx context.Context, req sdk.Request) (s service, leave func(), err error) {
	o, s, err := p.open(req)
	if err != nil {
		return s, nil, err
	}
	if o.AwaitRestart {
		return s, nil, sdk.Failf("name its unit, or the command in start, so that it stays down while its files are changed",
			"the supervisor of %s would start it again at once", req.Component)
	}
	leave, err = p.host.alone(ctx, req.Component)
	return s, leave, err
}

func (s service) startUnlessRunning(ctx context.Context) ([]string, error) {
	found, err := s.find()
	if err != nil {
		return nil, err
	}
	if found.main != nil {
		return []string{"already runs: " + found.main.String()}, nil
	}
	if s.req.Plan {
		return []string{s.planStart()}, nil
	}
	// Workers of a dead main process hold its files and ports.
	changes, err := s.stop(ctx)
	if err != nil {
		return changes, err
	}
	more, err := s.start(ctx)
	return append(changes, more...), err
}
