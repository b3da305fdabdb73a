package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	guardianacts "github.com/shivx/shivx/activities/guardian"
	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/guardian/enforce"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/notify"
	"github.com/shivx/shivx/workflows"
)

// guard is the part of an agent that keeps attackers out.
type guard struct {
	guardAudit *ledger.Ledger
	// guardian is nil where the configuration turns it off.
	guardian *guardian.Guardian
	// threats tells what the guardian's audit holds.
	threats *Outbox
	// fleetSeen is the newest change of an isolation that the fleet has told of.
	fleetSeen time.Time
}

// openGuard opens the guardian's audit and the guardian.
func (a *Agent) openGuard(people *notify.Sender) error {
	if !a.cfg.Guardian.Enabled {
		return nil
	}
	var err error
	if a.guardAudit, err = a.openLedger(config.GuardianAudit); err != nil {
		return err
	}
	dir := filepath.Join(a.cfg.Paths.Var, "security")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make the guardian's folder: %w", err)
	}
	enforcers, err := a.enforcers()
	if err != nil {
		return err
	}
	a.guardian, err = guardian.New(guardian.Options{
		Host: a.cfg.Host, Rules: a.cfg.Guardian, Ledger: a.guardAudit, LedgerPath: filepath.Join(a.cfg.Paths.Var, config.GuardianAudit),
		Dir: dir, Root: a.cfg.Resilience.Monitor.Root, Enforcers: enforcers, Logger: a.log,
		Tell: func(ctx context.Context, message, hint string) {
			people.Send(ctx, activities.EscalateInput{
				Target: shivx.Target{Component: shivx.Guardian, Host: a.cfg.Host}, Message: message, Hint: hint})
		},
	})
	if err != nil {
		return fmt.Errorf("build the guardian: %w", err)
	}
	a.threats = a.NewThreats(a.guardAudit)
	return nil
}

// enforcers are those of the configuration.
func (a *Agent) enforcers() ([]enforce.Enforcer, error) {
	var out []enforce.Enforcer
	if n := a.cfg.Guardian.Nftables; n.Enabled != "off" {
		e, err := enforce.NewNftables(enforce.NftablesOptions{Table: n.Table, Auto: n.Enabled == "auto", Logger: a.log})
		if err != nil {
			return nil, fmt.Errorf("open nftables: %w", err)
		}
		out = append(out, e)
	}
	for _, f := range a.cfg.Guardian.DenyFiles {
		out = append(out, enforce.NewDenyFile(f, func(ctx context.Context, c config.Command) error {
			_, err := command.Run(ctx, command.Spec{Argv: c.Argv, Dir: c.Dir, Env: c.Env, Timeout: c.Timeout})
			return err
		}))
	}
	return out, nil
}

// NewThreats returns the outbox of the guardian's audit: isolations go to their ThreatIsolation,
// serious threats and changes of the mode to the DefenseMode.
func (a *Agent) NewThreats(audit *ledger.Ledger) *Outbox {
	o := &Outbox{
		what: "event of the guardian", ledger: audit, log: a.log,
		path:   filepath.Join(a.cfg.Paths.Var, "security", "dispatched"),
		events: []string{shivx.EventThreat, shivx.EventIsolation, shivx.EventMode},
		tell:   a.tellThreat,
	}
	o.told = o.openPosition()
	return o
}

// guardTimeout bounds one word with Temporal.
const guardTimeout = 10 * time.Second

// tellThreat tells what a record of the guardian's audit says. What this host took over from the
// fleet is not told again.
func (a *Agent) tellThreat(ctx context.Context, r ledger.Record, _ time.Time) (bool, error) {
	rec, err := guardian.Decode(r)
	if err != nil {
		return false, unreadable(err)
	}
	if rec.ActionTaken == shivx.ActionFollowed || rec.ActionTaken == shivx.ActionExpired {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, guardTimeout)
	defer cancel()
	told := false
	if rec.Isolation != nil {
		if err := a.tellIsolation(ctx, *rec.Isolation); err != nil {
			return false, err
		}
		told = true
	}
	switch {
	case rec.Mode != nil:
		return true, a.tellDefense(ctx, shivx.SignalMode, *rec.Mode)
	case rec.Threat != nil && rec.Threat.Level.Serious() && rec.ActionTaken != shivx.ActionSpared && rec.ActionTaken != shivx.ActionStale:
		return true, a.tellDefense(ctx, shivx.SignalThreat, *rec.Threat)
	}
	return told, nil
}

// tellIsolation tells a statement about a source. A restore is told to a run that is there alone.
func (a *Agent) tellIsolation(ctx context.Context, i shivx.Isolation) error {
	id := shivx.IsolationID(i.Source)
	if i.Lifted {
		err := a.client.SignalWorkflow(ctx, id, "", shivx.SignalIsolate, i)
		if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
			return nil
		}
		if err != nil {
			return fmt.Errorf("signal %s: %w", id, err)
		}
		return nil
	}
	if !i.InForce(time.Now()) {
		return nil // its term was over before Temporal could be told
	}
	_, err := a.client.SignalWithStartWorkflow(ctx, id, shivx.SignalIsolate, i,
		guardianacts.IsolationOptions(a.cfg.Temporal.TaskQueue, i), shivx.TypeThreatIsolation, workflows.IsolationInput{Source: i.Source})
	if err != nil {
		return fmt.Errorf("signal %s: %w", id, err)
	}
	return nil
}

func (a *Agent) tellDefense(ctx context.Context, signal string, arg any) error {
	_, err := a.client.SignalWithStartWorkflow(ctx, shivx.DefenseModeID, signal, arg,
		guardianacts.DefenseOptions(a.cfg.Temporal.TaskQueue), shivx.TypeDefenseMode, workflows.DefenseInput{})
	if err != nil {
		return fmt.Errorf("signal %s: %w", shivx.DefenseModeID, err)
	}
	return nil
}

const (
	// fleetEvery is how soon a host follows the fleet.
	fleetEvery = 2 * time.Second
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
	configured, said := false, ""
	for ; ctx.Err() == nil; pause(ctx, fleetEvery) {
		var err error
		if !configured {
			err = a.tellDefense(ctx, shivx.SignalConfigure, policy)
			configured = err == nil
		}
		if time.Since(whole) > fleetWhole {
			a.fleetSeen, whole = time.Time{}, time.Now()
		}
		running, following := a.followMode(ctx)
		configured = configured && running
		err = errors.Join(err, following, a.followIsolations(ctx))
		if err == nil || ctx.Err() != nil {
			said = ""
			continue
		}
		whole = time.Time{}
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

// isolationsOf reads the runs, and when the newest of them has changed by the server's clock.
func (a *Agent) isolationsOf(runs []*workflowpb.WorkflowExecutionInfo) (out []shivx.Isolation, newest time.Time) {
	for _, run := range runs {
		if at := guardianacts.ChangedAt(run); at.After(newest) {
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

// mode is the defense mode in force; without a guardian there is none but NORMAL.
func (a *Agent) mode() shivx.DefenseMode {
	if a.guardian == nil {
		return shivx.DefenseNormal
	}
	return a.guardian.Mode().To
}

func (g *guard) close() error {
	if g.guardAudit == nil {
		return nil
	}
	return g.guardAudit.Close()
}
