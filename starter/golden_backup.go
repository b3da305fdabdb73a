package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	goldenacts "github.com/shivx/shivx/activities/golden"
	engine "github.com/shivx/shivx/internal/golden"
)

func (a *app) goldenBackupCommand() *cobra.Command {
	var in shivx.GoldenBackupInput
	var local bool
	c := &cobra.Command{
		Use: "backup SET[@HOST]", Short: "Take a golden backup of a set", Args: goldenArgs(1, 1),
		Example: `  shivx golden backup shop --name before-upgrade
  shivx golden backup shop --local`,
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkName(in.Name); err != nil {
			return err
		}
		if strings.Contains(args[0], "/") {
			_, golden, _ := strings.Cut(args[0], "/")
			return hint(usagef("a backup is of a set, not of a golden"), "name the new one with --name "+golden)
		}
		if local {
			return a.onLocal(func(ctx context.Context, l *localGolden, args []string) error {
				var err error
				if in.GoldenTarget, _, err = l.target(args[0]); err != nil {
					return err
				}
				return a.backupHere(ctx, l, in)
			})(cmd, args)
		}
		t, err := a.goldenTarget(args[0])
		if err != nil {
			return err
		}
		in.GoldenTarget = t.GoldenTarget
		return a.onGoldenFleet(cmd, shivx.TypeGoldenBackup, shivx.GoldenBackup, t.GoldenTarget, in.Plan, in)
	}
	addGoldenFlags(c, &in.GoldenRequest)
	addInProcess(c, &local)
	addPlan(c, &in.Plan)
	c.Flags().BoolVar(&in.AllowMissing, "allow-missing", false, "store it although paths of the set are missing, or empty, that the golden before has")
	c.Flags().StringVar(&in.Name, "name", "", "name by which it is found, and for which it is kept until it is removed by hand")
	return c
}

// checkName refuses a name before anything is asked.
func checkName(name string) error {
	if err := engine.CheckName(name); err != nil {
		return withCode(exitUsage, err)
	}
	return nil
}

// addGoldenFlags adds the flags that all golden runs share.
func addGoldenFlags(c *cobra.Command, r *shivx.GoldenRequest) {
	fl := c.Flags()
	fl.StringVar(&r.Reason, "reason", "", "why, in one line")
	fl.StringVar(&r.RequestedBy, "by", me(), "who asks")
}

func addInProcess(c *cobra.Command, local *bool) {
	c.Flags().BoolVar(local, "local", false, "run in this process, without Temporal and the agent")
}

func addPlan(c *cobra.Command, plan *bool) {
	c.Flags().BoolVar(plan, "plan", false, "show what would be done, and change nothing")
}

func (a *app) backupHere(ctx context.Context, l *localGolden, in shivx.GoldenBackupInput) error {
	if err := a.openSteps(ctx, l); err != nil {
		return err
	}
	out, err := l.backUp(ctx, in)
	if err = coded(err, exitNotHealed); err == nil {
		return a.backedUp(out)
	}
	if a.json() {
		return errors.Join(a.document(out), quiet(exitCode(err)))
	}
	return err
}

// backUp takes a golden, removes what its retention does not ask for, and records the end of it.
func (l *localGolden) backUp(ctx context.Context, in shivx.GoldenBackupInput) (shivx.GoldenBackupResult, error) {
	t := in.GoldenTarget
	out := shivx.GoldenBackupResult{GoldenResult: shivx.GoldenResult{GoldenTarget: t, Outcome: shivx.OutcomeStored, Started: time.Now().UTC()}}
	run := "local " + ulid.Make().String()
	var taken activities.TakeGoldenResult
	step, err := l.step(shivx.GoldenStepTake, func() (string, error) {
		var err error
		taken, err = l.acts.TakeGolden(ctx, activities.TakeGoldenInput{
			GoldenTarget: t, Run: run, Kind: shivx.GoldenKindBackup, Name: in.Name, Reason: in.Reason, AllowMissing: in.AllowMissing, Plan: in.Plan})
		return taken.Summary, goldenacts.Plain(err)
	})
	out.Steps = append(out.Steps, step)
	if err == nil {
		out.Golden, out.Capture, out.Message = &taken.Golden, taken.Capture, taken.Summary
		step, err = l.step(shivx.GoldenStepPrune, func() (string, error) {
			pruned, err := l.acts.PruneGoldens(ctx, activities.PruneGoldensInput{GoldenTarget: t, Run: run, Kind: shivx.GoldenKindBackup, Plan: in.Plan})
			out.Removed = pruned.Removed
			return pruned.Summary, goldenacts.Plain(err)
		})
		out.Steps = append(out.Steps, step)
		if err != nil && !in.Plan {
			err = fmt.Errorf("the golden %s is stored; %w", taken.Golden.ID, err)
		}
	}
	out.Seconds = time.Since(out.Started).Seconds()
	if err != nil {
		out.Message = err.Error()
		if taken.Golden.ID == "" {
			out.Outcome = shivx.OutcomeFailed
		}
	}
	if in.Plan {
		if err == nil {
			out.Outcome = shivx.OutcomePlanned
		}
		return out, err
	}
	rec, logErr := l.acts.LogGolden(context.WithoutCancel(ctx), activities.LogGoldenInput{
		GoldenTarget: t, Run: run, Action: shivx.GoldenBackup, Outcome: out.Outcome, Message: out.Message, Golden: taken.Golden.ID,
		Started: out.Started, Seconds: out.Seconds, Steps: out.Steps, Reason: in.Reason, RequestedBy: in.RequestedBy})
	if logErr != nil {
		l.log.Error("the end of the backup is not in the ledger", "error", logErr)
	}
	out.LedgerSeq = rec.Seq
	return out, err
}

// backedUp says what came of a backup or a snapshot.
func (a *app) backedUp(r shivx.GoldenBackupResult) error {
	code := codeOfGolden(r.Outcome)
	if a.json() {
		return errors.Join(a.document(r), quiet(code))
	}
	st := green
	if code != exitOK {
		st = red
	}
	a.out.line(st, fmt.Sprintf("%s: %s in %s", r.GoldenTarget, r.Outcome, took(seconds(r.Seconds))))
	if code != exitOK {
		a.out.line(normal, r.Message)
		return quiet(code)
	}
	c := r.Capture
	stored, removed := bytesText(c.BytesStored), "removed"
	if r.Outcome == shivx.OutcomePlanned {
		stored, removed = "", "would go"
	}
	rows := [][2]string{
		{"files", fmt.Sprintf("%d, %d of them unchanged", c.Files, c.Unchanged)},
		{"read", bytesText(c.BytesRead)}, {"stored", stored}, {removed, strings.Join(r.Removed, ", ")},
	}
	if g := r.Golden; g != nil && g.ID != "" {
		rows = append([][2]string{{"golden", g.Set + "/" + g.ID}}, rows...)
		rows = append(rows, [2]string{"unstable", countOf(g.Unstable)}, [2]string{"skipped", countOf(g.Skipped)}, [2]string{"missing", countOf(g.Missing)})
	}
	a.out.details(rows...)
	for _, path := range c.Missing {
		a.out.line(red, shellName(path)+" did not exist: a restore of this golden removes it")
	}
	for _, w := range c.Warnings {
		a.out.line(red, w)
	}
	if g := r.Golden; g != nil && g.Unstable > 0 {
		a.out.line(yellow, a.dressed("some files changed while they were read: shivx golden browse "+g.Set+"/"+g.ID+" --notes")+" says which; databases need a source")
	}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
