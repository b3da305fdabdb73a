package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
)

func (a *app) goldenSnapshotCommand() *cobra.Command {
	var in shivx.SafeSnapshotInput
	c := &cobra.Command{
		Use: "snapshot SET[@HOST]", Short: "Keep the state of a set before something risky", Args: goldenArgs(1, 1),
		Long: `Take a snapshot: a golden that is kept apart from the backups, and for as long as golden.sets.snapshots says.
rollback brings it back; "latest" of restore never means one.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkName(in.Name); err != nil {
				return err
			}
			t, err := a.goldenTarget(args[0])
			if err != nil {
				return err
			}
			if t.golden != "" {
				return hint(usagef("a snapshot is of a set, not of a golden"), "name the new one with --name "+t.golden)
			}
			in.GoldenTarget, in.Action = t.GoldenTarget, shivx.SnapshotTake
			return a.onGoldenFleet(cmd, shivx.TypeSafeSnapshot, shivx.GoldenSnapshot, t.GoldenTarget, in.Plan, in)
		},
	}
	addGoldenFlags(c, &in.GoldenRequest)
	addPlan(c, &in.Plan)
	c.Flags().StringVar(&in.Name, "name", "", "name by which it is found")
	c.Flags().BoolVar(&in.KeepOlder, "keep-older", false, "remove no older snapshot for it")
	return c
}

func (a *app) goldenRollbackCommand() *cobra.Command {
	var in shivx.SafeSnapshotInput
	var inPlace, yes bool
	c := &cobra.Command{
		Use: "rollback SET[@HOST][/SNAPSHOT]", Short: "Bring back what a snapshot holds", Args: goldenArgs(1, 1),
		Long: `Restore a snapshot, the newest one unless another is named. It is a restore like any other, and needs the same
approval.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if inPlace {
				in.Mode = shivx.RestoreInPlace
			}
			t, err := a.goldenTarget(args[0])
			if err != nil {
				return err
			}
			in.GoldenTarget, in.Golden, in.Action = t.GoldenTarget, t.golden, shivx.SnapshotRestore
			ask := func(ctx context.Context) error {
				if in.Plan || yes {
					return nil
				}
				return a.confirmFleet(ctx, t, restoreFlags{}.services(t.set), cmd.InOrStdin())
			}
			return a.onGoldenFleet(cmd, shivx.TypeSafeSnapshot, shivx.GoldenSnapshot, t.GoldenTarget, in.Plan, in, ask)
		},
	}
	addGoldenFlags(c, &in.GoldenRequest)
	addPlan(c, &in.Plan)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&inPlace, "in-place", false, "rewrite only what differs")
	return c
}

// snapshotEnded says what came of a snapshot or a rollback.
func (a *app) snapshotEnded(r shivx.SafeSnapshotResult, err error) error {
	if r.Action == shivx.SnapshotRestore {
		out := shivx.GoldenRestoreResult{GoldenResult: r.GoldenResult, Restore: r.Restore, Swapped: r.Swapped, Stopped: r.Stopped, Downtime: r.Downtime}
		if r.Changes != nil {
			out.Changes = *r.Changes
		}
		return a.restored(out, err)
	}
	out := shivx.GoldenBackupResult{GoldenResult: r.GoldenResult, Removed: r.Removed}
	if r.Capture != nil {
		out.Capture = *r.Capture
	}
	return a.backedUp(out)
}
