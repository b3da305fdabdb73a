package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

func (a *app) componentCommand() *cobra.Command {
	return group("component", "List components, keep automation away, take checkpoints",
		a.componentListCommand(), a.componentShowCommand(), a.maintenanceCommand(), a.checkpointCommand(), a.verifyCommand())
}

func (a *app) componentListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the components with their limits", Args: cobra.NoArgs,
		RunE: a.onFleet(func(ctx context.Context, f *fleet, _ []string) error {
			views, err := f.views(ctx)
			if err != nil {
				return err
			}
			if a.json() {
				return a.document(views)
			}
			t := table{head: []string{"COMPONENT", "HOST", "CRITICAL", "HEALS", "COOLDOWN", "CHECKPOINTS"}}
			for _, v := range views {
				if v.Status == nil {
					t.add(text(v.Component), text(v.Host), cell{v.Error, red})
					continue
				}
				p := v.Status.Policy
				every := "on demand"
				if p.CheckpointEvery > 0 {
					every = "every " + short(p.CheckpointEvery.Std())
				}
				t.add(cells(v.Component, v.Host, verb(p.Critical, "yes", "no"), budget(*v.Status),
					short(p.Limits.Cooldown.Std()), every)...)
			}
			a.out.table(t)
			return nil
		}),
	}
}

func (a *app) componentShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME[@HOST]", Short: "Show all that is known of a component",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeComponent,
		RunE: a.onFleet(func(ctx context.Context, f *fleet, args []string) error { return a.show(ctx, f, args[0]) }),
	}
}

func (a *app) maintenanceCommand() *cobra.Command {
	var m workflows.Maintenance
	var length time.Duration
	c := &cobra.Command{
		Use: "maintenance NAME[@HOST] on|off", Short: "Keep automation away from a component, or let it back",
		Example: `  shivx component maintenance redis on --for 2h --reason "disk swap"
  shivx component maintenance redis off`,
		Args: cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []string{"on", "off"}, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeComponent(cmd, args, part)
		},
	}
	c.RunE = a.onFleet(func(ctx context.Context, f *fleet, args []string) error {
		if args[1] != "on" && args[1] != "off" {
			return hint(usagef("maintenance %s is not known", args[1]), "write on or off")
		}
		if length < 0 {
			return usagef("--for %s is negative", length)
		}
		m.On, m.For = args[1] == "on", shivx.Duration(length)
		e, err := f.find(ctx, args[0])
		if err != nil {
			return err
		}
		s, err := update[workflows.ComponentState](ctx, f, shivx.ComponentID(e.Target), "", shivx.UpdateSetMaintenance, m)
		if err != nil {
			return err
		}
		if a.json() {
			return a.document(viewOf(s, nil))
		}
		if s.Maintenance == nil {
			a.out.printf("%s: maintenance ended by %s", e.Target, m.By)
			return nil
		}
		a.out.printf("%s: in maintenance by %s %s", e.Target, s.Maintenance.By, until(s.Maintenance.Until))
		return nil
	})
	c.Flags().DurationVar(&length, "for", 0, "when it ends by itself, such as 2h; else it lasts until off")
	c.Flags().StringVar(&m.Reason, "reason", "", "why, in one line")
	addBy(c, &m.By)
	return c
}

func (a *app) checkpointCommand() *cobra.Command {
	var r workflows.CheckpointRequest
	c := &cobra.Command{
		Use: "checkpoint NAME[@HOST]", Short: "Keep a copy of a healthy component's state",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeComponent,
		RunE: a.onFleet(func(ctx context.Context, f *fleet, args []string) error {
			e, err := f.find(ctx, args[0])
			if err != nil {
				return err
			}
			res, err := update[activities.CheckpointResult](ctx, f, shivx.ComponentID(e.Target), "", shivx.UpdateCheckpoint, r)
			if err != nil {
				return err
			}
			if a.json() {
				return a.document(res)
			}
			if res.ID == "" {
				a.out.printf("%s: %s", e.Target, res.Summary)
				return nil
			}
			a.out.printf("%s: %d files, %s in checkpoint %s", e.Target, res.Files, bytesText(res.Bytes), res.ID)
			return nil
		}),
	}
	addBy(c, &r.By)
	return c
}

func (a *app) verifyCommand() *cobra.Command {
	var o healFlags
	c := &cobra.Command{
		Use: "verify NAME[@HOST]", Short: "Check a component over its window and put it back into traffic",
		Long: `Run the self-heal runbook without a recovery: the checks must pass over the whole observation
window, then the component goes back into traffic. This is how an isolated component that was
repaired by hand returns.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeComponent,
	}
	c.RunE = a.onFleet(func(ctx context.Context, f *fleet, args []string) error {
		o.windowSet = c.Flags().Changed("window")
		if err := o.check(); err != nil {
			return err
		}
		e, err := f.find(ctx, args[0])
		if err != nil {
			return err
		}
		ref, err := f.requestHeal(ctx, e, workflows.HealRequest{By: o.by, Reason: o.reason, Window: o.observe(), VerifyOnly: true})
		if err != nil {
			return err
		}
		return a.started(ctx, f, e.Target, ref, o)
	})
	addHealFlags(c, &o)
	return c
}

// bytesText is a size for people.
func bytesText(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
