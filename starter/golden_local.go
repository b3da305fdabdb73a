package main

import (
	"context"
	"fmt"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	goldenacts "github.com/shivx/shivx/activities/golden"
	"github.com/shivx/shivx/internal/config"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/ledger"
)

// mayStop refuses to stop and start services beside the agent, which would start again what is stopped; instead
// is what else to do.
func (l *localGolden) mayStop(services []string, besideAgent bool, instead string) func() error {
	return func() error {
		if l.bare || besideAgent || len(services) == 0 || !ledger.InUse(filepath.Join(l.cfg.Paths.Var, config.OperationalLedger)) {
			return nil
		}
		names := strings.Join(services, ", ")
		return withCode(exitRefused, hint(fmt.Errorf("%w, and would start again what is stopped here: %s", goldenacts.ErrAgent, names),
			instead+"; or set each of "+names+
				" to maintenance (shivx component maintenance NAME on --for 1h) and add --beside-agent"))
	}
}

const besideUsage = "restore although the agent runs: you have set the services to maintenance"

// beforeRestore tells people what a restore in this process cannot take care of.
func (a *app) beforeRestore(ctx context.Context, l *localGolden, info shivx.GoldenInfo) error {
	if !l.bare {
		return nil
	}
	h, err := l.engine.Header(ctx, engine.Ref{Set: info.Set, Golden: info.ID})
	if err != nil {
		return err
	}
	a.tellErr("without the configuration no service is stopped or started, and no file is validated: stop what uses these files first")
	for _, s := range h.Sources {
		a.tellErr("a " + s.Type + " of the source " + s.Name + " is put at " + s.Path + "; what has to be loaded into its server you have to load")
	}
	return nil
}

// unbroken keeps a restore from being cut off by a terminal that goes away or stopped by its keys, and says what an interruption does.
func (a *app) unbroken(ctx context.Context) (done func()) {
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGTSTP)
	quiet := context.AfterFunc(ctx, func() {
		a.tellErr("interrupted: everything is put back as it was. Wait for it; if this process dies as well: shivx golden resume")
	})
	return func() { quiet(); signal.Reset(syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGTSTP) }
}

func (a *app) goldenResumeCommand() *cobra.Command {
	var besideAgent bool
	c := &cobra.Command{
		Use: "resume", Short: "End restores of this host that were killed or got stuck", Args: cobra.NoArgs,
		Long: `End what restores with --local have left: what had begun to swap is completed and judged, what had not is
removed; either way the services run afterwards. The agent does the same when it starts; so restart it instead
while it runs.`,
		RunE: a.onLocal(func(ctx context.Context, l *localGolden, _ []string) error {
			if err := a.openSteps(ctx, l); err != nil {
				return err
			}
			defer a.unbroken(ctx)()
			var services []string
			for _, s := range l.cfg.Golden.Sets {
				services = append(services, s.Services...)
			}
			ended := []shivx.GoldenRestoreResult{}
			local := goldenacts.Local{
				Activities: l.acts, Told: l.told, May: l.mayStop(services, besideAgent, "systemctl restart shivx-worker: the agent does it when it starts"),
				Ended: func(r shivx.GoldenRestoreResult) { ended = append(ended, r); a.resumed(r) },
			}
			if err := local.Resume(ctx); err != nil {
				return coded(err, exitNotHealed)
			}
			return a.allResumed(l, ended)
		}),
	}
	c.Flags().BoolVar(&besideAgent, "beside-agent", false, besideUsage)
	a.addStoreFlags(c)
	return c
}

// resumed says what became of a restore that was cut off.
func (a *app) resumed(r shivx.GoldenRestoreResult) {
	if a.json() {
		return
	}
	st := green
	if !r.Outcome.GoldenDone() {
		st = yellow
	}
	from := ""
	if r.Golden != nil {
		from = " from " + r.Golden.ID
	}
	a.out.line(st, fmt.Sprintf("the restore of %s%s, begun %s, has ended: %s; %s", r.GoldenTarget, from, moment(r.Started), r.Outcome, r.Message))
}

// allResumed says what is left to be ended by others.
func (a *app) allResumed(l *localGolden, ended []shivx.GoldenRestoreResult) error {
	left, err := l.engine.Pending()
	if err != nil {
		return err
	}
	if a.json() {
		return a.document(map[string]any{"ended": ended, "under_way": len(left)})
	}
	line := "nothing is left halfway"
	if len(left) > 0 {
		line += "; " + count(len(left), "restore") + " of runs on Temporal under way"
	}
	a.out.line(green, line)
	return nil
}

// tellErr tells people, or programs, of what they have to know meanwhile.
func (a *app) tellErr(text string) {
	if a.json() {
		_ = a.jsonLine(a.err.w, map[string]string{"note": a.dressed(text)})
		return
	}
	a.err.line(yellow, a.dressed(text))
}
