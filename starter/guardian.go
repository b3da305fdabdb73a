package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx/internal/guardian"
)

func (a *app) guardianCommand() *cobra.Command {
	c := group("guardian", "Show and steer what keeps attackers out",
		a.guardianStatusCommand(), a.guardianIsolateCommand(), a.guardianExtendCommand(), a.guardianRestoreCommand(),
		a.guardianLockdownCommand(), a.guardianConfirmCommand(), a.guardianBaselineCommand(), a.guardianReplayCommand())
	c.Long = `The guardian of each host reads its logs, finds attackers and keeps them out. Isolations and the defense
mode hold for every host of the fleet: the commands that change them ask Temporal, and the hosts follow
within seconds. With --local the agent of this host is asked: at once, also while Temporal is away; it
tells the fleet when it can.

Defense modes:
  NORMAL    sources that pass a threshold are isolated
  ELEVATED  thresholds are tighter; after many threats, and it decays by itself
  LOCKDOWN  all external access is refused but for the allow list; only critical runbooks start`
	return c
}

func addLocal(c *cobra.Command, local *bool) {
	c.Flags().BoolVar(local, "local", false, "ask the agent of this host over HTTP; works while Temporal is away, and at once")
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// waiting asks for something, and shows for how long there has been no answer.
func (a *app) waiting(ask func() error) error {
	began := time.Now()
	shown := newProgress(&a.err, func() string { return "waiting for an answer: " + age(began) })
	defer shown.end()
	return ask()
}

// asMyself asks the agent of this host in the name of by; where only an administrator may speak for
// others, in the name of the token.
func asMyself[T any](a *app, by string, ask func(*agentClient, string) (T, error)) (T, error) {
	c, err := a.agent()
	if err != nil {
		var none T
		return none, err
	}
	out, err := ask(c, by)
	if _, ok := errors.AsType[otherNameError](err); ok && by == me() {
		return ask(c, "")
	}
	return out, err
}

// completeSource completes the first argument with what is isolated, and with --local with what is frozen
// or limited on this host.
func (a *app) completeSource(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if local, _ := cmd.Flags().GetBool("local"); local {
		return a.completeHere(cmd, args)
	}
	return a.completeFirst(cmd, args, func(ctx context.Context, f *fleet) ([]string, error) {
		list, _, err := f.isolations(ctx)
		names := make([]string, len(list))
		for i, one := range list {
			names[i] = described(one.Source, untilOf(one))
		}
		return names, err
	})
}

func (a *app) completeHere(cmd *cobra.Command, args []string) (names []string, _ cobra.ShellCompDirective) {
	var s guardian.Status
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	if c, err := a.agent(); len(args) == 0 && err == nil && c.get(ctx, guardianPath, &s) == nil {
		for _, i := range s.Isolations {
			names = append(names, described(i.Source, untilOf(i)))
		}
		if s.Budgets != nil && cmd.Name() == "restore" {
			for _, c := range s.Budgets.Contained {
				names = append(names, described(c.Source, string(c.Action)))
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// described is a name with what a shell shows beside it.
func described(name, what string) string { return fmt.Sprintf("%s\t%s", clean(name), clean(what)) }
