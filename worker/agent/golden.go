package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/shivx/shivx"
	goldenacts "github.com/shivx/shivx/activities/golden"
	"github.com/shivx/shivx/internal/golden"
)

// openGolden builds what backs up and restores this host.
func (a *Agent) openGolden() error {
	engine, err := golden.Configured(a.cfg, a.log)
	if err != nil {
		return fmt.Errorf("read the golden sets: %w", err)
	}
	engine.RecordWith(a.recordIn)
	a.golden = &goldenacts.Activities{Config: a.cfg, Engine: engine, Checks: a.monitor, Plugins: a.plugins, Ledger: a.ledger, Logger: a.log}
	return nil
}

// recordIn appends to one of the ledgers that the agent has open; "" for path stands for the operational one.
func (a *Agent) recordIn(ctx context.Context, path, key string, event any) error {
	l, open := a.ledger, path == ""
	for name, one := range a.ledgers() {
		if strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) == name {
			l, open = one, true
		}
	}
	if !open {
		return fmt.Errorf("the agent has no ledger %s", path)
	}
	_, err := l.Append(ctx, key, event)
	return err
}

// resumeRestores waits for a restore without Temporal that is under way, ends those that were killed, and records
// what they could not. It does so before any runbook may begin or heal something.
func (a *Agent) resumeRestores(ctx context.Context) {
	if err := a.steps.Checkpoints.Settle(ctx); err != nil {
		a.log.Error("a restore of a checkpoint that was cut off could not be ended", "error", err, "hint", shivx.HintOf(err))
	}
	l := goldenacts.Local{Activities: a.golden, Told: func(s shivx.GoldenStepReport) {
		a.log.Info("a restore that was cut off goes on", "step", s.Name, "service", s.Service, "outcome", s.Outcome, "summary", s.Summary)
	}}
	for {
		err := l.Await(ctx, func(why error) {
			a.log.Warn("nothing is healed until a restore in another process has ended", "restore", why)
		})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			a.log.Error("it is not known whether a restore is under way in another process", "error", err)
		}
		if err := goldenacts.TakeUp(ctx, a.cfg.Paths.Var, a.recordIn); err != nil {
			a.log.Error("steps of a local restore are not in the ledger yet", "error", err)
		}
		err = l.Resume(ctx)
		if goldenacts.Busy(err) && ctx.Err() == nil {
			continue // another has begun meanwhile, or looks
		}
		if err != nil {
			a.log.Error("what a restore or a backup that was cut off has left could not be ended", "error", err, "hint", shivx.HintOf(err))
		}
		return
	}
}

// takeUpEvery is how often is looked for records of restores in other processes, which wait for the agent.
const takeUpEvery = time.Minute

// takeUpRecords puts into the ledgers, until ctx ends, what restores in other processes have left to the agent.
func (a *Agent) takeUpRecords(ctx context.Context) {
	again := time.NewTicker(takeUpEvery)
	defer again.Stop()
	for said := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		now := ""
		if err := goldenacts.TakeUp(ctx, a.cfg.Paths.Var, a.recordIn); err != nil && ctx.Err() == nil {
			if now = err.Error(); now != said { // not every minute
				a.log.Error("steps of a local restore are not in the ledger yet", "error", err)
			}
		}
		said = now
	}
}
