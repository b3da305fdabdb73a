package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

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
		a.goldenDiffCommand(), a.goldenBrowseCommand(), a.goldenScrubCommand(), a.goldenPruneCommand())
	c.Long = `A golden is a whole copy of the state of a set, at one instant: files, databases, audit logs. The sets stand
in the configuration, under golden.sets.

backup, verify and restore run as runbooks on Temporal, which resume after a crash and ask for approval.
With --local they run in this process, with the same steps: that works when all else is down. The others
read the store on this host directly. On a machine that has lost its configuration, --store DIR brings back
what a store holds: shivx golden list --store DIR, then restore --store DIR --trust KEY SET.

A golden is named by its id or the beginning of it, by the name it was given, or as "latest"; before it,
with a slash, stands its set: system/latest.`
	return c
}

// localGolden is the engine of this host in this process.
type localGolden struct {
	cfg    *config.Config
	engine *engine.Engine
	// acts are there once openSteps has been called.
	acts *goldenacts.Activities
	log  *slog.Logger
	// bare is true where nothing is known but a store, agent where the agent runs.
	bare, agent bool
	// latest is how far the step under way is.
	mu     sync.Mutex
	latest shivx.GoldenProgress
	close  []func() error
}

// localGolden opens what a golden command needs of this host to look at its store.
func (a *app) localGolden(cmd *cobra.Command) (*localGolden, error) {
	trust, _ := cmd.Flags().GetStringSlice("trust") // not every command has it
	l := &localGolden{log: slog.New(slog.NewTextHandler(a.err.w, &slog.HandlerOptions{Level: slog.LevelWarn})), bare: a.bare.store != ""}
	var err error
	if l.bare {
		l.cfg, err = a.bare.config(cmd, trust, l.log)
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
		l.cfg.Golden.TrustedKeys = append(l.cfg.Golden.TrustedKeys, trust...)
	}
	if l.engine, err = engine.Configured(l.cfg, l.log); err != nil {
		return nil, err
	}
	l.close = append(l.close, l.engine.Close)
	return l, nil
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
	led, closeLedger, err := l.ledger(ctx)
	if err != nil {
		return err
	}
	l.close = append(l.close, closeLedger)
	l.acts = &goldenacts.Activities{Config: l.cfg, Engine: l.engine, Checks: monitor, Plugins: plugins, Ledger: led, Logger: l.log, Tell: l.tell}
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

// ledger returns where steps are recorded: in files, which become records of the operational ledger at the
// end, when a restore has brought it back; while the agent has it, the agent takes them up.
func (l *localGolden) ledger(ctx context.Context) (goldenacts.Ledger, func() error, error) {
	l.agent = ledger.InUse(filepath.Join(l.cfg.Paths.Var, config.OperationalLedger))
	w, err := goldenacts.OpenWaiting(l.cfg.Paths.Var)
	if err != nil {
		return nil, nil, err
	}
	l.engine.RecordWith(w.Record)
	return w, func() error { return w.Settle(context.WithoutCancel(ctx), ledger.Options{Logger: l.log}) }, nil
}

func (l *localGolden) tell(p shivx.GoldenProgress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest = p
}

func (l *localGolden) progress() shivx.GoldenProgress {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest
}

// text is the line that shows how far the step under way is.
func (l *localGolden) text() string {
	p := l.progress()
	if p.Step == "" {
		return ""
	}
	line := fmt.Sprintf("%-8s ", p.Step)
	switch {
	case p.BytesTotal > 0:
		line += bar(p.Bytes, p.BytesTotal)
	case p.Bytes > 0:
		line += bytesText(p.Bytes)
	}
	if p.Rate > 0 {
		line += fmt.Sprintf(", %s/s", bytesText(int64(p.Rate)))
		if left := p.BytesTotal - p.Bytes; left > 0 {
			line += fmt.Sprintf(", %s left", took(time.Duration(float64(left)/p.Rate*float64(time.Second))))
		}
	}
	if p.Files > 0 {
		line += fmt.Sprintf(", %s", count(int(p.Files), "file"))
	}
	return line
}

// onLocal runs f with the engine of this host, showing how far it is.
func (a *app) onLocal(f func(ctx context.Context, l *localGolden, args []string) error) func(*cobra.Command, []string) error {
	return a.does(func(cmd *cobra.Command, args []string) error {
		l, err := a.localGolden(cmd)
		if err != nil {
			return err
		}
		defer func() {
			if err := l.end(); err != nil {
				a.err.line(yellow, "shivx: "+err.Error())
			}
		}()
		done := a.showProgress(l)
		defer done()
		err = f(cmd.Context(), l, args)
		if l.bare && errors.Is(err, store.ErrIdentity) {
			return hint(err, "name the file with the age identity of the store: --identity FILE")
		}
		return err
	})
}

// showProgress draws a bar for people, and writes a line of JSON each second for programs.
func (a *app) showProgress(l *localGolden) (done func()) {
	if !a.json() {
		p := newProgress(&a.err, l.text)
		out := a.out.w
		a.out.w = p.beside(out)
		return func() { p.end(); a.out.w = out }
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-stop:
				return
			case <-t.C:
				if p := l.progress(); p.Step != "" {
					_ = a.jsonLine(a.err.w, map[string]any{"progress": p})
				}
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// jsonLine writes v as one line.
func (*app) jsonLine(w io.Writer, v any) error {
	line, err := compactJSON(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// split reads SET, SET/GOLDEN, or a GOLDEN of the only set.
func (l *localGolden) split(arg string) (set, golden string, err error) {
	set, golden, found := strings.Cut(arg, "/")
	sets := l.engine.Sets()
	if _, err := l.engine.Set(set); err != nil && !found {
		if len(sets) != 1 {
			return "", "", withCode(exitUsage, err)
		}
		set, golden = sets[0].Name, arg
	}
	return set, orElse(golden, shivx.GoldenLatest), nil
}
