package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/shivx/shivx"
	guardianacts "github.com/shivx/shivx/activities/guardian"
)

const (
	// fleetEvery is how soon a host follows the fleet.
	fleetEvery = 2 * time.Second
	// fleetSlow is how seldom it asks at most while Temporal cannot answer.
	fleetSlow = time.Minute
	// fleetWhole is how often all isolations are read, and not only those that have changed.
	fleetWhole = 10 * time.Minute
	// fleetAway is how long ago a source may have been let go of which a host that was away is told.
	fleetAway = 24 * time.Hour
	// fleetLag is how far the visibility store may lag.
	fleetLag = 10 * time.Second
	// fleetPage is how many runs are listed at once.
	fleetPage = 1000
)

// followFleet takes over what other hosts and people in Temporal have decided, until ctx ends.
func (a *Agent) followFleet(ctx context.Context) {
	rules := a.cfg.Guardian.Defense
	policy := shivx.DefensePolicy{
		Threats: rules.Threats, Window: shivx.Duration(rules.Window), ConfirmWithin: shivx.Duration(rules.ConfirmWithin)}
	var whole time.Time // when all isolations were read last
	wait, configured, said := fleetEvery, false, ""
	for ; ctx.Err() == nil; pause(ctx, wait) {
		var err error
		if !configured {
			err = a.tellDefense(ctx, shivx.SignalConfigure, policy)
			configured = err == nil
		}
		running, following := a.followMode(ctx)
		configured = configured && running
		if time.Since(whole) > fleetWhole {
			a.fleetSeen, whole = time.Time{}, time.Now()
		}
		err = errors.Join(err, following, a.followIsolations(ctx))
		if err == nil || ctx.Err() != nil {
			wait, said = fleetEvery, ""
			continue
		}
		wait = min(2*wait, fleetSlow)
		if said != err.Error() {
			said = err.Error()
			a.log.Warn("the fleet's isolations are not followed; this host's own hold", "error", err)
		}
	}
}

// followMode takes over the fleet's mode. It says whether the run is there that shows it: one that was
// ended is begun anew.
func (a *Agent) followMode(ctx context.Context) (running bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, guardTimeout)
	defer cancel()
	d, err := a.client.DescribeWorkflowExecution(ctx, shivx.DefenseModeID, "")
	if err != nil {
		return false, fmt.Errorf("ask for the fleet's mode: %w", err)
	}
	if d.GetWorkflowExecutionInfo().GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return false, nil
	}
	mode, err := guardianacts.FleetModeOf(d.GetWorkflowExecutionInfo())
	if err != nil {
		return true, fmt.Errorf("read the fleet's mode: %w", err)
	}
	a.guardian.FleetMode(mode)
	return true, nil
}

// followIsolations reads the runs that have changed since the last time; at first all that hold, and
// those that were let go while this host may have been away.
func (a *Agent) followIsolations(ctx context.Context) error {
	seen := a.fleetSeen
	if seen.IsZero() {
		if _, err := a.readIsolations(ctx, guardianacts.RunningIsolations()); err != nil {
			return err
		}
		seen = time.Now().Add(-fleetAway)
	}
	newest, err := a.readIsolations(ctx, guardianacts.ChangedIsolations(seen.Add(-fleetLag)))
	if err != nil {
		return err
	}
	a.fleetSeen = seen
	if newest.After(seen) {
		a.fleetSeen = newest
	}
	return nil
}

// readIsolations takes over what the runs of a query show, and returns when the newest has changed.
func (a *Agent) readIsolations(ctx context.Context, query string) (newest time.Time, err error) {
	var page []byte
	for {
		asking, cancel := context.WithTimeout(ctx, guardTimeout)
		res, err := a.client.ListWorkflow(asking, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: a.namespace, Query: query, PageSize: fleetPage, NextPageToken: page})
		cancel()
		if err != nil {
			return newest, fmt.Errorf("list the isolations of the fleet: %w", err)
		}
		isolations, last := a.isolationsOf(res.GetExecutions())
		a.guardian.Fleet(isolations)
		if last.After(newest) {
			newest = last
		}
		if page = res.GetNextPageToken(); len(page) == 0 {
			return newest, nil
		}
	}
}

// isolationsOf reads the runs, and when the newest of them has changed by the server's clock. What is still
// to come is no measure: a run shows its host's clock until its first step.
func (a *Agent) isolationsOf(runs []*workflowpb.WorkflowExecutionInfo) (out []shivx.Isolation, newest time.Time) {
	now := time.Now()
	for _, run := range runs {
		if at := guardianacts.ChangedAt(run); at.After(newest) && !at.After(now) {
			newest = at
		}
		i, err := guardianacts.IsolationOf(run)
		if err != nil {
			a.log.Debug("an isolation of the fleet shows nothing yet", "error", err)
			continue
		}
		out = append(out, i)
	}
	return out, newest
}
