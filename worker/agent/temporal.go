package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities/component"
	"github.com/shivx/shivx/activities/recovery"
	"github.com/shivx/shivx/workflows"
)

const (
	// stopPatience is how long steps under way may take to end when the agent stops. One that
	// is cut off resumes when the agent is back.
	stopPatience = 8 * time.Second
	// stickyPatience is how long a run waits for the worker that has it in memory before any
	// other may take it; short, so that a run goes on soon after a crash.
	stickyPatience = time.Second
	// beatGap is the shortest time between two heartbeats that leave the host. Left to itself the
	// SDK sends one only after four fifths of the heartbeat's timeout: on a busy host a step that
	// lives is then taken for one that a crash cut off.
	beatGap = 500 * time.Millisecond
)

// temporal connects to Temporal, for as long as it takes, and then works until ctx ends.
func (a *Agent) temporal(ctx context.Context) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := a.prepareServer(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		a.log.Warn("Temporal is away; sensing goes on and findings are kept", "error", err, "hint", shivx.HintOf(err), "retry", wait)
		pause(ctx, wait)
	}
	a.reclaim(ctx)
	stop, err := a.startWorkers()
	if err != nil {
		return err
	}
	defer stop()
	a.log.Info("connected to Temporal", "queue", a.cfg.Temporal.TaskQueue)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.dispatch(ctx) })
	group.Go(func() error { a.configure(ctx); return nil })
	group.Go(func() error { a.witness(ctx); return nil })
	return group.Wait()
}

// prepareServer checks that the server answers and has the search attributes runs are found by.
func (a *Agent) prepareServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := a.client.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return shivx.Hint(fmt.Errorf("connect to Temporal: %w", err), "is the server up? its address is TEMPORAL_ADDRESS, else 127.0.0.1:7233")
	}
	have, err := a.client.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: a.namespace})
	if err != nil {
		return fmt.Errorf("list the search attributes of namespace %s: %w", a.namespace, err)
	}
	missing := map[string]enumspb.IndexedValueType{}
	for _, name := range []string{shivx.AttrComponent, shivx.AttrHost, shivx.AttrRunbook, shivx.AttrOutcome} {
		if _, ok := have.CustomAttributes[name]; !ok {
			missing[name] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = a.client.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: a.namespace, SearchAttributes: missing,
	})
	if err != nil {
		return shivx.Hint(fmt.Errorf("create the search attributes: %w", err),
			"an administrator can: temporal operator search-attribute create --type Keyword --name ShivxComponent --name ShivxHost --name ShivxRunbook --name ShivxOutcome")
	}
	return nil
}

// startWorkers starts the worker for the runbooks and the one for this host's activities.
func (a *Agent) startWorkers() (stop func(), err error) {
	runbooks := sdkworker.New(a.client, a.cfg.Temporal.TaskQueue, sdkworker.Options{
		Identity: a.identity(), StickyScheduleToStartTimeout: stickyPatience, WorkerStopTimeout: stopPatience,
	})
	workflows.Register(runbooks)
	(&component.Activities{Client: a.client, Config: a.cfg}).Register(runbooks)
	host := sdkworker.New(a.client, shivx.HostQueue(a.cfg.Host), sdkworker.Options{
		Identity: a.identity(), DisableWorkflowWorker: true, WorkerStopTimeout: stopPatience,
		MaxHeartbeatThrottleInterval:       beatGap,
		MaxConcurrentActivityExecutionSize: 32,
	})
	a.steps.Register(host)
	for _, w := range []sdkworker.Worker{host, runbooks} {
		if err := w.Start(); err != nil {
			return nil, fmt.Errorf("start a worker: %w", err)
		}
	}
	return func() {
		runbooks.Stop()
		host.Stop()
	}, nil
}

// configure gives every component's entity its policy, and starts those that do not run.
func (a *Agent) configure(ctx context.Context) {
	for _, c := range a.cfg.Components {
		t := c.Target(a.cfg.Host)
		for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
			_, err := a.client.SignalWithStartWorkflow(ctx, shivx.ComponentID(t), shivx.SignalConfigure, recovery.PolicyOf(c),
				component.EntityOptions(a.cfg.Temporal.TaskQueue, t), shivx.TypeComponent, t)
			if err == nil {
				break
			}
			if !errors.Is(err, context.Canceled) {
				a.log.Warn("the entity was not told its policy", "component", c.Name, "error", err)
			}
			pause(ctx, wait)
		}
	}
}
