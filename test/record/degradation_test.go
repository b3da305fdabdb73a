package record_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/activities/degradation"
	"github.com/shivx/shivx/internal/resilience"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// scriptedCore is a host whose level follows a script and not this machine's load.
type scriptedCore struct {
	mu     sync.Mutex
	status resilience.Status
	failed bool // the hook has failed once
	tell   func(shivx.LevelChange)
}

var _ degradation.Core = (*scriptedCore)(nil)

func (c *scriptedCore) Status() resilience.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Reconcile fails the first time at LEVEL_2.
func (c *scriptedCore) Reconcile(context.Context) ([]shivx.HookState, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &c.status.Hooks[0]
	h.On = c.status.Level != shivx.LevelNormal
	h.Error = ""
	if c.status.Level == shivx.Level2 && !c.failed {
		h.Error, c.failed = "exit status 1", true
	}
	return []shivx.HookState{*h}, nil
}

func (c *scriptedCore) Override(_ context.Context, _ string, req shivx.OverrideRequest) (shivx.LevelChange, error) {
	if req.End {
		return shivx.LevelChange{}, errors.New("no override is in force")
	}
	at := time.Now().UTC()
	o := &shivx.Override{Level: req.Level, By: req.By, Why: req.Why, Since: at, Until: at.Add(req.For.Std())}
	return c.change(req.Level, shivx.CauseOverride, o), nil
}

// change makes the next change and tells it.
func (c *scriptedCore) change(to shivx.Level, cause shivx.Cause, o *shivx.Override) shivx.LevelChange {
	c.mu.Lock()
	s := &c.status
	ch := shivx.LevelChange{Host: s.Host, Ledger: "recorded", Number: s.Changes + 1, From: s.Level, To: to, Cause: cause,
		Reason: "as the script says", Confidence: 1, Override: o, At: time.Now().UTC()}
	s.Level, s.Automatic, s.Changes = to, to, ch.Number
	c.mu.Unlock()
	c.tell(ch)
	return ch
}

// degrading is a host that degrades into an emergency, with a hook that fails once, and an override.
func degrading(s *studio) run {
	const host, queue = "degrading", "recording"
	c := &scriptedCore{status: resilience.Status{Host: host, Level: shivx.LevelNormal, Hooks: []shivx.HookState{{Name: "stop-batch", Level: shivx.Level1}}}}
	id := shivx.DegradationID(host)
	c.tell = func(ch shivx.LevelChange) {
		_, err := s.server.Client().SignalWithStartWorkflow(context.Background(), id, shivx.SignalHealth, ch,
			degradation.EntityOptions(queue, host), shivx.TypeDegradationResponse, workflows.DegradationInput{Host: host})
		require.NoError(s.t, err)
	}
	s.work(queue, func(w worker.Registry) { workflows.Register(w) })
	s.work(shivx.HostQueue(host), func(w worker.Registry) {
		(&degradation.Activities{Core: c}).Register(w)
		activities.Escalate.Register(w, func(context.Context, activities.EscalateInput) (activities.EscalateResult, error) {
			return activities.EscalateResult{Told: []string{"chat"}}, nil
		})
	})

	c.change(shivx.Level1, shivx.CauseScore, nil)
	s.awaitHost(host, func(d workflows.DegradationState) bool { return d.Applied == 1 })
	c.change(shivx.Level2, shivx.CauseScore, nil)
	s.awaitHost(host, func(d workflows.DegradationState) bool { return d.Failures > 0 })
	s.awaitHost(host, func(d workflows.DegradationState) bool { return d.Applied == 2 && d.Failures == 0 })
	c.change(shivx.LevelEmergency, shivx.CauseScore, nil)
	s.awaitHost(host, func(d workflows.DegradationState) bool { return len(d.Told) == 1 })
	s.update(id, shivx.UpdateOverride, shivx.OverrideRequest{Level: shivx.LevelNormal, For: shivx.Duration(time.Hour), By: "ana", Why: "false alarm"})
	s.awaitHost(host, func(d workflows.DegradationState) bool { return d.Applied == 4 && len(d.Told) == 2 })

	h, err := s.server.Client().UpdateWorkflow(s.t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: shivx.UpdateOverride, Args: []any{shivx.OverrideRequest{End: true, By: "ben"}},
		WaitForStage: client.WorkflowUpdateStageCompleted})
	require.NoError(s.t, err)
	require.ErrorContains(s.t, h.Get(s.t.Context(), nil), "no override is in force")
	return run{id: id}
}

// work runs a worker of this process until the recording is over.
func (s *studio) work(queue string, register func(worker.Registry)) {
	s.t.Helper()
	w := worker.New(s.server.Client(), queue, worker.Options{})
	register(w)
	require.NoError(s.t, w.Start())
	s.t.Cleanup(w.Stop)
}

func (s *studio) awaitHost(host string, ok func(workflows.DegradationState) bool) {
	s.t.Helper()
	stand.Await(s.t, patience, "the response of "+host, func(ctx context.Context) bool {
		var state workflows.DegradationState
		return s.query(ctx, shivx.DegradationID(host), &state) && ok(state)
	})
}
