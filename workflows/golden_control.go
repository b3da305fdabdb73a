package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
)

// findTimeout bounds the search of a store for a golden.
const findTimeout = 2 * time.Minute

// listen handles the signals for as long as the run lives. stop cancels the work under way.
func (g *goldenRun) listen(ctx workflow.Context, stop workflow.CancelFunc) {
	g.control.listenForAbort(ctx, "Stop this run and put everything back as it was; while it tries again and again to put something back, "+
		`give that up. {"by":"ana","reason":"wrong host"}`, stop, func() { g.giveUp = g.giveUp || g.insisting })
}

// serve registers the query and the update.
func (g *goldenRun) serve(ctx workflow.Context) error {
	return errors.Join(
		workflow.SetQueryHandlerWithOptions(ctx, shivx.QueryProgress, func() (GoldenStatus, error) { return g.status(), nil },
			workflow.QueryHandlerOptions{Description: "Where the run is: its steps, and what it waits for. " +
				"How far the step under way is stands in the heartbeat of its activity."}),
		serveApproval(ctx, &g.control, asksApproval, func(ctx workflow.Context) GoldenStatus {
			g.show(ctx)
			return g.status()
		}),
	)
}

// GoldenStatus is the answer to the query "progress".
type GoldenStatus struct {
	shivx.GoldenTarget
	Action shivx.GoldenAction `json:"action"`
	Plan   bool               `json:"plan,omitempty"`
	Reason string             `json:"reason"`
	Golden *shivx.GoldenInfo  `json:"golden,omitempty"`
	// Extent says in words how far a restore goes: which paths, how, and which services it stops.
	Extent string                   `json:"extent,omitempty"`
	Steps  []shivx.GoldenStepReport `json:"steps"`
	// WaitsFor says in words what holds the run up.
	WaitsFor string `json:"waits_for,omitempty"`
	// Approval is set while the run waits for people.
	Approval  *shivx.Approval `json:"approval,omitempty"`
	Decisions []Decision      `json:"decisions,omitempty"`
	Outcome   shivx.Outcome   `json:"outcome,omitempty"`
	Message   string          `json:"message,omitempty"`
}

func (g *goldenRun) status() GoldenStatus {
	s := GoldenStatus{
		GoldenTarget: g.target, Action: g.action, Plan: g.request.Plan, Reason: g.why(), Golden: g.golden, Steps: g.steps,
		WaitsFor: g.waitsFor, Outcome: g.outcome, Message: g.message,
	}
	if g.extent != nil {
		s.Extent = g.extent()
	}
	if g.control.waiting != "" {
		a := g.control.approval
		s.Approval, s.Decisions = &a, g.control.decisions
	}
	return s
}

// How long what must succeed is tried, and how long the pauses between are at most.
const (
	insistFor   = 24 * time.Hour
	insistPause = 5 * time.Minute
)

// insist tries act again and again: a host that has stopped services cannot be left so. It ends when act
// has failed as often as tries says, which a host that does not answer does not count for; after
// insistFor; or when people give up. They are told once.
func (g *goldenRun) insist(ctx workflow.Context, what string, tries int, act func() error) error {
	defer func() { g.insisting = false; g.note(ctx, "") }()
	begun, pause, told := workflow.Now(ctx), time.Second, false
	for failures := 0; ; {
		err := act()
		if err == nil {
			return nil
		}
		if !hostVanished(err) {
			failures++
		}
		if failures >= tries || g.giveUp || workflow.Now(ctx).Sub(begun) >= insistFor {
			return err
		}
		g.insisting = true
		if !told && (hostVanished(err) || failures > 1) {
			told = g.tell(ctx, "", what+" does not succeed, and services may be stopped: "+reason(err),
				"it is tried again for "+insistFor.String()+"; to leave it as it is send the signal abort", "insist/"+what)
		}
		g.note(ctx, what+" is tried again; the last time: "+reason(err))
		if err := waitUntil(ctx, workflow.Now(ctx).Add(pause), what+" again", func() bool { return g.giveUp }); err != nil {
			return err
		}
		pause = min(2*pause, insistPause)
	}
}

// forced is the number of tries of what must succeed.
const forced = 1 << 20
