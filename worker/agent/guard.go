package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/guardian/enforce"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/notify"
)

// guard is the part of an agent that keeps attackers out.
type guard struct {
	guardAudit *ledger.Ledger
	// guardian is nil where the configuration turns it off.
	guardian *guardian.Guardian
	// threats tells what the guardian's audit holds.
	threats *Outbox
	// modes tells of changes of the mode.
	modes *Outbox
	// snapshots starts those that lockdowns ask for; nil when no set does.
	snapshots *Outbox
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
		Tell: func(message, hint string) {
			people.Send(context.Background(), activities.EscalateInput{
				Target: shivx.Target{Component: shivx.Guardian, Host: a.cfg.Host}, Message: message, Hint: hint})
		},
	})
	if err != nil {
		return fmt.Errorf("build the guardian: %w", err)
	}
	a.threats, a.modes = a.NewThreats(a.guardAudit), a.NewModes(a.guardAudit)
	a.snapshots = a.NewSnapshots(a.guardAudit)
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
