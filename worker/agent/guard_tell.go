package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"go.temporal.io/api/serviceerror"

	"github.com/shivx/shivx"
	guardianacts "github.com/shivx/shivx/activities/guardian"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/workflows"
)

// NewThreats returns the outbox of the guardian's audit: isolations go to their ThreatIsolation, serious
// threats to the DefenseMode.
func (a *Agent) NewThreats(audit *ledger.Ledger) *Outbox {
	o := &Outbox{
		what: "event of the guardian", ledger: audit, log: a.log,
		path:   filepath.Join(a.cfg.Paths.Var, "security", "dispatched"),
		events: []string{shivx.EventThreat, shivx.EventIsolation},
		tell:   a.tellThreat,
	}
	o.told = o.openPosition()
	return o
}

// NewModes returns an outbox of its own for changes of the mode: a lockdown must not wait behind
// thousands of isolations.
func (a *Agent) NewModes(audit *ledger.Ledger) *Outbox {
	o := &Outbox{
		what: "change of the defense mode", ledger: audit, log: a.log,
		path:   filepath.Join(a.cfg.Paths.Var, "security", "dispatched-modes"),
		events: []string{shivx.EventMode},
		tell:   a.tellMode,
	}
	o.told = o.openPosition()
	return o
}

// guardTimeout bounds one word with Temporal.
const guardTimeout = 10 * time.Second

// tellThreat tells of an isolation or a serious threat. What this host took over from the fleet is not
// told again.
func (a *Agent) tellThreat(ctx context.Context, r ledger.Record, _ time.Time) (bool, error) {
	rec, err := guardian.Decode(r)
	if err != nil {
		return false, unreadable(err)
	}
	if untold := []shivx.Action{shivx.ActionFollowed, shivx.ActionExpired, shivx.ActionSpared, shivx.ActionStale}; slices.Contains(untold, rec.ActionTaken) {
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
	if rec.Threat == nil || !rec.Threat.Level.Serious() {
		return told, nil
	}
	return true, a.tellDefense(ctx, shivx.SignalThreat, *rec.Threat)
}

// tellMode tells of a change of the mode that this host has made.
func (a *Agent) tellMode(ctx context.Context, r ledger.Record, _ time.Time) (bool, error) {
	rec, err := guardian.Decode(r)
	if err == nil && rec.Mode == nil {
		err = errors.New("it names no mode")
	}
	if err != nil {
		return false, unreadable(err)
	}
	if rec.ActionTaken == shivx.ActionFollowed {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, guardTimeout)
	defer cancel()
	return true, a.tellDefense(ctx, shivx.SignalMode, *rec.Mode)
}

// tellIsolation tells a statement about a source. A restore is told to a run that is there alone, and so is
// the term that a person gave, if it was over before Temporal could be told: the fleet's may be longer.
func (a *Agent) tellIsolation(ctx context.Context, i shivx.Isolation) error {
	id := shivx.IsolationID(i.Source)
	over := !i.InForce(time.Now())
	if over && i.By == shivx.Guardian && !i.Lifted {
		return nil
	}
	if over {
		err := a.client.SignalWorkflow(ctx, id, "", shivx.SignalIsolate, i)
		if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
			return nil
		}
		if err != nil {
			return fmt.Errorf("signal %s: %w", id, err)
		}
		return nil
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
