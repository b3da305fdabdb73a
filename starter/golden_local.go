package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	goldenacts "github.com/shivx/shivx/activities/golden"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/restore"
)

// beforeRestore tells people what a restore in this process cannot take care of.
func (a *app) beforeRestore(ctx context.Context, l *localGolden, info shivx.GoldenInfo) error {
	set, _ := l.cfg.GoldenSet(info.Set)
	if l.agent && len(set.Services) > 0 {
		a.err.line(yellow, "the agent runs, and would start again what this restore stops: stop it, or first: shivx component maintenance NAME on --for 1h, for each of "+
			strings.Join(set.Services, ", "))
	}
	if !l.bare {
		return nil
	}
	h, err := l.engine.Header(ctx, engine.Ref{Set: info.Set, Golden: info.ID})
	if err != nil {
		return err
	}
	a.err.line(yellow, "without the configuration no service is stopped or started, and no file is validated: stop what uses these files first")
	for _, s := range h.Sources {
		a.err.line(yellow, "a "+s.Type+" of the source "+s.Name+" is put at "+s.Path+"; what has to be loaded into its server you have to load")
	}
	return nil
}

// unbroken keeps a restore from being cut off by a terminal that goes away, and says what an interruption does.
func (a *app) unbroken(ctx context.Context) (done func()) {
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	quiet := context.AfterFunc(ctx, func() {
		a.err.line(yellow, "interrupted: everything is put back as it was. Wait for it; if this process dies as well: shivx golden resume")
	})
	return func() { quiet(); signal.Reset(syscall.SIGHUP, syscall.SIGPIPE) }
}

func (a *app) goldenResumeCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "resume", Short: "End restores of this host that were killed or got stuck", Args: cobra.NoArgs,
		Long: `End what restores with --local have left: what had begun to swap is completed and judged, what had not is
removed; either way the services run afterwards. The agent does the same when it starts.`,
		RunE: a.onLocal(func(ctx context.Context, l *localGolden, _ []string) error {
			if err := a.openSteps(ctx, l); err != nil {
				return err
			}
			defer a.unbroken(ctx)()
			local := goldenacts.Local{Activities: l.acts, Told: a.toldStep}
			if err := local.Resume(ctx); err != nil {
				return withCode(codeOfError(err), err)
			}
			left, err := l.engine.Pending()
			if err == nil && !a.json() {
				a.out.line(green, fmt.Sprintf("nothing is left halfway; %s of runs on Temporal under way", count(len(left), "restore")))
			}
			return err
		}),
	}
	a.addStoreFlags(c)
	return c
}

func codeOfError(err error) int {
	if errors.Is(err, restore.ErrBusy) {
		return exitRefused
	}
	return exitNotHealed
}

// absolute makes paths absolute.
func absolute(paths []string) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		var err error
		if out[i], err = filepath.Abs(p); err != nil {
			out[i] = p
		}
	}
	return out
}
