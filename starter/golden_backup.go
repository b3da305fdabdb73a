package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	goldenacts "github.com/shivx/shivx/activities/golden"
)

func (a *app) goldenBackupCommand() *cobra.Command {
	var in shivx.GoldenBackupInput
	var local bool
	c := &cobra.Command{
		Use: "backup SET[@HOST]", Short: "Take a golden backup of a set", Args: cobra.ExactArgs(1),
		Example: `  shivx golden backup shop --name before-upgrade
  shivx golden backup shop --local`,
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := shivx.ParseGoldenTarget(args[0])
		if err != nil {
			return withCode(exitUsage, err)
		}
		in.GoldenTarget = t
		if local {
			return a.onLocal(func(ctx context.Context, l *localGolden, _ []string) error { return a.backupHere(ctx, l, in) })(cmd, args)
		}
		return a.onGoldenFleet(cmd, shivx.TypeGoldenBackup, shivx.GoldenBackup, t, in.Plan, in)
	}
	addGoldenFlags(c, &in.GoldenRequest, &local)
	c.Flags().StringVar(&in.Name, "name", "", "name by which it is found, and for which it is kept")
	return c
}

// addGoldenFlags adds the flags that backup, verify and restore share.
func addGoldenFlags(c *cobra.Command, r *shivx.GoldenRequest, local *bool) {
	fl := c.Flags()
	fl.BoolVar(local, "local", false, "run in this process, without Temporal and the agent")
	fl.BoolVar(&r.Plan, "plan", false, "show what would be done, and change nothing")
	fl.StringVar(&r.Reason, "reason", "", "why, in one line")
	fl.StringVar(&r.RequestedBy, "by", me(), "who asks")
}

// here checks that a set is one of this host.
func (l *localGolden) here(t shivx.GoldenTarget) (shivx.GoldenTarget, error) {
	if t.Host != "" && t.Host != l.cfg.Host {
		return t, usagef("--local is for this host, which is %s", l.cfg.Host)
	}
	t.Host = l.cfg.Host
	return t, nil
}

func (a *app) backupHere(ctx context.Context, l *localGolden, in shivx.GoldenBackupInput) error {
	t, err := l.here(in.GoldenTarget)
	if err != nil {
		return err
	}
	if err := a.openSteps(ctx, l); err != nil {
		return err
	}
	out, err := l.backUp(ctx, t, in)
	if err != nil {
		return goldenacts.Plain(err)
	}
	return a.backedUp(out)
}

// backUp takes a golden, removes what its retention does not ask for, and records the end of it.
func (l *localGolden) backUp(ctx context.Context, t shivx.GoldenTarget, in shivx.GoldenBackupInput) (shivx.GoldenBackupResult, error) {
	out := shivx.GoldenBackupResult{GoldenResult: shivx.GoldenResult{GoldenTarget: t, Outcome: shivx.OutcomeStored, Started: time.Now().UTC()}}
	run := "local " + ulid.Make().String()
	taken, err := l.acts.TakeGolden(ctx, activities.TakeGoldenInput{
		GoldenTarget: t, Run: run, Kind: shivx.GoldenKindBackup, Name: in.Name, Reason: in.Reason, Plan: in.Plan})
	if err == nil {
		out.Golden, out.Capture, out.Message = &taken.Golden, taken.Capture, taken.Summary
		var pruned activities.PruneGoldensResult
		pruned, err = l.acts.PruneGoldens(ctx, activities.PruneGoldensInput{GoldenTarget: t, Run: run, Kind: shivx.GoldenKindBackup, Plan: in.Plan})
		out.Removed = pruned.Removed
		if err != nil {
			err = fmt.Errorf("the golden %s is stored; %w", taken.Golden.ID, goldenacts.Plain(err))
		}
	}
	out.Seconds = time.Since(out.Started).Seconds()
	if in.Plan {
		out.Outcome = shivx.OutcomePlanned
		return out, err
	}
	if err != nil {
		out.Message = err.Error()
		if taken.Golden.ID == "" {
			out.Outcome = shivx.OutcomeFailed
		}
	}
	rec, logErr := l.acts.LogGolden(context.WithoutCancel(ctx), activities.LogGoldenInput{
		GoldenTarget: t, Run: run, Action: shivx.GoldenBackup, Outcome: out.Outcome, Message: out.Message, Golden: taken.Golden.ID,
		Started: out.Started, Seconds: out.Seconds, Reason: in.Reason, RequestedBy: in.RequestedBy})
	if logErr != nil {
		l.acts.Logger.Error("the end of the backup is not in the ledger", "error", logErr)
	}
	out.LedgerSeq = rec.Seq
	return out, err
}

// backedUp says what came of a backup.
func (a *app) backedUp(r shivx.GoldenBackupResult) error {
	if a.json() {
		return a.document(r)
	}
	a.out.line(green, fmt.Sprintf("%s: %s in %s", r.GoldenTarget, r.Outcome, took(seconds(r.Seconds))))
	c := r.Capture
	rows := [][2]string{
		{"files", fmt.Sprintf("%d, %d of them unchanged", c.Files, c.Unchanged)},
		{"read", bytesText(c.BytesRead)}, {"stored", bytesText(c.BytesStored)}, {"removed", strings.Join(r.Removed, ", ")},
	}
	if g := r.Golden; g != nil && g.ID != "" {
		rows = append([][2]string{{"golden", g.ID}}, rows...)
		rows = append(rows, [2]string{"unstable", countOf(g.Unstable)}, [2]string{"skipped", countOf(g.Skipped)}, [2]string{"missing", countOf(g.Missing)})
	}
	a.out.details(rows...)
	if g := r.Golden; g != nil && g.Unstable > 0 {
		a.out.line(yellow, "some files changed while they were read: shivx golden browse "+g.Set+"/"+g.ID+" --notes says which; databases need a source")
	}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
