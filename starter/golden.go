package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	goldenacts "github.com/shivx/shivx/activities/golden"
	"github.com/shivx/shivx/internal/config"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/store"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/plugins/builtin"
	"github.com/shivx/shivx/plugins/host"
)

func (a *app) goldenCommand() *cobra.Command {
	c := group("golden", "Back up the state of this host, and bring it all back",
		a.goldenBackupCommand(), a.goldenListCommand(), a.goldenVerifyCommand(), a.goldenRestoreCommand(), a.goldenResumeCommand(),
		a.goldenSnapshotCommand(), a.goldenRollbackCommand(), a.goldenDiffCommand(), a.goldenBrowseCommand(), a.goldenScrubCommand(), a.goldenPruneCommand())
	c.Long = `A golden is a whole copy of the state of a set, at one instant: files, databases, audit logs. The sets stand
in the configuration, under golden.sets.

backup, verify, restore, snapshot and rollback run as runbooks on Temporal, which resume after a crash and
ask for approval. With --local the first three run in this process, with the same steps: that works when
all else is down. The others read the store on this host directly. On a machine that has lost its
configuration, --store DIR brings back what a store holds: shivx golden list --store DIR, then
shivx golden restore SET --store DIR --trust KEY.

A golden is named by its set, a slash, and its id or the beginning of that, the name it was given, or
"latest", which is meant where nothing is named: system, system/latest, system/before-upgrade.`
	return c
}

// localGolden is the engine of this host in this process.
type localGolden struct {
	cfg    *config.Config
	engine *engine.Engine
	// led is there once openLedger has been called, acts once openSteps has.
	led  goldenacts.Ledger
	acts *goldenacts.Activities
	log  *slog.Logger
	// bare is true where nothing is known but a store.
	bare bool
	// told is told of each step.
	told func(shivx.GoldenStepReport)

	// latest is how far the step under way is.
	mu     sync.Mutex
	latest shivx.GoldenProgress
	close  []func() error
}

// garbage is how many percent of what a golden command needs it may have in memory without needing it. At a
// million files it is 170 MB with that in place of 210 MB, in the same time.
const garbage = 50

// localGolden opens what a golden command needs of this host to look at its store.
func (a *app) localGolden(cmd *cobra.Command, args []string) (*localGolden, error) {
	// What stays in memory is an index without pointers, which costs nothing to look through: a host that is about
	// to be rescued has better use for the memory.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	l := &localGolden{log: a.logger(), bare: a.bare.store != ""}
	l.told = func(s shivx.GoldenStepReport) {
		l.tell(shivx.GoldenProgress{}) // what is left of it is the line that says how it ended
		a.toldStep(s)
	}
	if err := a.bare.check(); err != nil {
		return nil, err
	}
	var err error
	if l.bare {
		l.cfg, err = a.bare.config(cmd, args, l.log)
	} else {
		l.cfg, err = a.agentConfig()
	}
	if err != nil {
		return nil, err
	}
	if l.cfg == nil {
		return nil, hint(usagef("there is no configuration"), "name it: --config FILE; where it is lost, name the store: --store DIR")
	}
	if !l.bare {
		l.cfg.Golden.TrustedKeys = append(l.cfg.Golden.TrustedKeys, a.bare.trust...)
	}
	var change []func(*engine.Options)
	if l.bare {
		change = append(change, engine.Unpinned)
	}
	if l.engine, err = engine.Configured(l.cfg, l.log, change...); err != nil {
		return nil, err
	}
	l.close = append(l.close, l.engine.Close)
	return l, nil
}

// logger is for what the engine finds on its way.
func (a *app) logger() *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelWarn}
	if a.json() {
		return slog.New(slog.NewJSONHandler(a.err.w, o))
	}
	return slog.New(slog.NewTextHandler(a.err.w, o))
}

// openSteps opens what the steps of backups and restores need beside the engine.
func (*app) openSteps(ctx context.Context, l *localGolden) error {
	// Services are stopped and started, which no checkpoint is needed for.
	plugins := host.New(builtin.All(builtin.Options{}), host.Specs(l.cfg), l.log)
	l.close = append(l.close, func() error { plugins.Close(); return nil })
	monitor, err := health.NewMonitor(l.cfg.Host, l.cfg.Components, health.Options{Logger: l.log})
	if err != nil {
		return err
	}
	if err := l.openLedger(ctx); err != nil {
		return err
	}
	l.acts = &goldenacts.Activities{Config: l.cfg, Engine: l.engine, Checks: monitor, Plugins: plugins, Ledger: l.led, Logger: l.log, Tell: l.tell}
	return nil
}

// end closes what was opened, the last first.
func (l *localGolden) end() error {
	var errs []error
	for _, c := range slices.Backward(l.close) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// openLedger opens where steps are recorded: in files, which become records of the operational ledger at the
// end, when a restore has brought it back; while the agent has it, the agent takes them up.
func (l *localGolden) openLedger(ctx context.Context) error {
	w, err := goldenacts.OpenWaiting(l.cfg.Paths.Var)
	if err != nil {
		return err
	}
	l.engine.RecordWith(w.Record)
	l.led = w
	l.close = append(l.close, func() error { return w.Settle(context.WithoutCancel(ctx), ledger.Options{Logger: l.log}) })
	return nil
}

// onLocal runs f with the engine of this host, showing how far it is.
func (a *app) onLocal(f func(ctx context.Context, l *localGolden, args []string) error) func(*cobra.Command, []string) error {
	return a.does(func(cmd *cobra.Command, args []string) error {
		l, err := a.localGolden(cmd, args)
		if err != nil {
			return a.identified(coded(err, exitError))
		}
		defer func() {
			if err := l.end(); err != nil {
				l.log.Warn("what was opened could not be closed", "error", err)
			}
		}()
		done := a.showProgress(l)
		defer done()
		return a.identified(coded(f(cmd.Context(), l, args), exitError))
	})
}

// identified adds how an encrypted store is opened where there is no configuration to say so.
func (a *app) identified(err error) error {
	if a.bare.store != "" && a.bare.identity == "" && errors.Is(err, store.ErrIdentity) {
		return hint(err, "name the file with the age identity of the store: --identity FILE")
	}
	return err
}

// target reads SET[@HOST][/GOLDEN] of this host.
func (l *localGolden) target(arg string) (shivx.GoldenTarget, string, error) {
	name, golden, _ := strings.Cut(arg, "/")
	t, err := shivx.ParseGoldenTarget(name)
	if err != nil {
		return t, "", withCode(exitUsage, err)
	}
	switch {
	case t.Host == "" || t.Host == l.cfg.Host:
		t.Host = l.cfg.Host
	case l.bare:
		return t, "", hint(usagef("%s is not of the host %s, which --host names", arg, l.cfg.Host), "leave out --host, or @"+t.Host)
	default:
		return t, "", hint(usagef("without Temporal only the sets of this host can be meant, which is %s", l.cfg.Host),
			"to restore here what another host has stored, add --from "+t.Host+" in place of @"+t.Host)
	}
	if _, err := l.engine.Set(t.Set); err != nil {
		return t, "", unknownSet(t.Set, l.cfg.Host, l.cfg.Golden.Sets)
	}
	return t, orElse(golden, shivx.GoldenLatest), nil
}
