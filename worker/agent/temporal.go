package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/interceptor"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/component"
	"github.com/shivx/shivx/activities/degradation"
	guardianacts "github.com/shivx/shivx/activities/guardian"
	"github.com/shivx/shivx/activities/recovery"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/workflows"
)

const (
	// stopPatience is how long steps under way may take to end when the agent stops. One that
	// is cut off resumes when the agent is back.
	stopPatience = 15 * time.Second
	// stopLimit bounds the stop of all workers, also while the server does not answer; less than
	// what the service manager gives the agent to stop.
	stopLimit = stopPatience + 2*time.Second
	// configureEvery is how often entities are told their policy.
	configureEvery = time.Hour
	// stickyPatience is how long a run waits for the worker that has it in memory before any
	// other may take it; short, so that a run goes on soon after a crash.
	stickyPatience = time.Second
	// beatGap is the shortest time between two heartbeats that leave the host. Left to itself the
	// SDK sends one only after four fifths of the heartbeat's timeout: on a busy host a step that
	// lives is then taken for one that a crash cut off.
	beatGap = 500 * time.Millisecond
)

// temporal works with Temporal until ctx ends, and connects anew whenever it is lost for good:
// an agent that senses and does not heal is none.
func (a *Agent) temporal(ctx context.Context) {
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		began := time.Now()
		err := a.work(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			wait = firstRetry
		}
		a.log.Warn("Temporal is away; sensing goes on and findings are kept", "error", err, "hint", shivx.HintOf(err), "retry", wait)
		pause(ctx, wait)
	}
}

// work connects and works until ctx ends or a worker gives up; the error says why.
func (a *Agent) work(ctx context.Context) error {
	if err := a.prepareServer(ctx); err != nil {
		return err
	}
	if !a.worked {
		a.reclaim(ctx)
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	stop, err := a.startWorkers(func(err error) { end(fmt.Errorf("a worker gave up: %w", err)) })
	if err != nil {
		return err
	}
	defer stop()
	a.log.Info("connected to Temporal", "queue", a.cfg.Temporal.TaskQueue)
	var all sync.WaitGroup
	a.connected.Store(true)
	defer a.connected.Store(false)
	all.Go(func() { a.findings.Run(ctx) })
	all.Go(func() { a.changes.Run(ctx) })
	all.Go(func() { a.configure(ctx) })
	all.Go(func() { a.startResponse(ctx) })
	all.Go(func() { a.keepSchedules(ctx) })
	if a.guardian != nil {
		all.Go(func() { a.threats.Run(ctx) })
		all.Go(func() { a.modes.Run(ctx) })
		all.Go(func() { a.followFleet(ctx) })
	}
	if a.snapshots != nil {
		all.Go(func() { a.snapshots.Run(ctx) })
	}
	for _, heads := range a.heads {
		all.Go(func() { a.witness(ctx, heads) })
	}
	all.Wait()
	return context.Cause(ctx)
}

// startWorkers starts the worker for the runbooks and the one for this host's activities. One that
// gives up later calls lost.
func (a *Agent) startWorkers(lost func(error)) (stop func(), err error) {
	runbooks := sdkworker.New(a.client, a.cfg.Temporal.TaskQueue, sdkworker.Options{
		Identity: a.identity(), StickyScheduleToStartTimeout: stickyPatience, WorkerStopTimeout: stopPatience,
		OnFatalError: lost, Interceptors: []interceptor.WorkerInterceptor{newLockdown(a.mode, a.log)},
	})
	workflows.Register(runbooks)
	runbooks.RegisterDynamicWorkflow(unknownRunbook, workflow.DynamicRegisterOptions{})
	(&component.Activities{Client: a.client, Config: a.cfg, Components: a.registry}).Register(runbooks)
	(&guardianacts.Activities{Client: a.client}).Register(runbooks)
	// Any agent can tell people of a host that is gone.
	activities.Escalate.Register(runbooks, a.steps.Escalate)
	host := sdkworker.New(a.client, shivx.HostQueue(a.cfg.Host), sdkworker.Options{
		Identity: a.identity(), DisableWorkflowWorker: true, WorkerStopTimeout: stopPatience,
		MaxHeartbeatThrottleInterval:       beatGap,
		MaxConcurrentActivityExecutionSize: 32,
		OnFatalError:                       lost,
	})
	a.steps.Register(host)
	a.golden.Register(host)
	a.mitigation.Register(host)
	(&degradation.Activities{Core: a.core}).Register(host)
	workers := []sdkworker.Worker{host, runbooks}
	for _, w := range workers {
		if err := w.Start(); err != nil {
			a.stopWorkers(workers)
			return nil, fmt.Errorf("start a worker: %w", err)
		}
		a.worked = true
	}
	return func() { a.stopWorkers(workers) }, nil
}

// stopWorkers lets steps under way end, but not for longer than an agent has to stop. A step that
// still runs then finds the ledger closed, and is begun again when the agent is back.
func (a *Agent) stopWorkers(workers []sdkworker.Worker) {
	var all sync.WaitGroup
	for _, w := range workers {
		all.Go(w.Stop)
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(stopLimit):
		a.log.Warn("steps under way did not end in time; they go on when the agent is back", "waited", stopLimit)
	}
}

// configure gives every component's entity its policy, and starts those that do not run; again
// and again, since an entity can be terminated. One that registers itself is told at once.
func (a *Agent) configure(ctx context.Context) {
	again := time.NewTicker(configureEvery)
	defer again.Stop()
	for told := map[string]shivx.Policy{}; ctx.Err() == nil; {
		for _, c := range a.components() {
			policy := recovery.PolicyOf(c)
			if before, ok := told[c.Name]; !ok || before != policy {
				a.configureComponent(ctx, c)
				told[c.Name] = policy
			}
		}
		select {
		case <-ctx.Done():
		case <-a.registered:
		case <-again.C:
			clear(told)
		}
	}
}

// startResponse starts the host's DegradationResponse if it does not run, so that it is there to be
// asked also on a host whose level has never changed; again and again, since it can be terminated.
func (a *Agent) startResponse(ctx context.Context) {
	for wait := firstRetry; ctx.Err() == nil; {
		_, err := a.client.ExecuteWorkflow(ctx, degradation.EntityOptions(a.cfg.Temporal.TaskQueue, a.cfg.Host),
			shivx.TypeDegradationResponse, map[string]string{"host": a.cfg.Host})
		if err == nil {
			wait = firstRetry
			pause(ctx, configureEvery)
			continue
		}
		if !errors.Is(err, context.Canceled) {
			a.log.Warn("the DegradationResponse of this host was not started", "error", err)
		}
		pause(ctx, wait)
		wait = min(2*wait, lastRetry)
	}
}

// components lists those of the configuration and those that registered themselves.
func (a *Agent) components() []config.Component {
	out := slices.Clone(a.cfg.Components)
	for _, r := range a.registry.Registrations() {
		if c, ok := a.registry.Component(r.Name); ok {
			out = append(out, c)
		}
	}
	return out
}

func (a *Agent) configureComponent(ctx context.Context, c config.Component) {
	t := c.Target(a.cfg.Host)
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		_, err := a.client.SignalWithStartWorkflow(ctx, shivx.ComponentID(t), shivx.SignalConfigure, recovery.PolicyOf(c),
			component.EntityOptions(a.cfg.Temporal.TaskQueue, t), shivx.TypeComponent, t)
		if err == nil {
			return
		}
		if !errors.Is(err, context.Canceled) {
			a.log.Warn("the entity was not told its policy", "component", c.Name, "error", err)
		}
		pause(ctx, wait)
	}
}
