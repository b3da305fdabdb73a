package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	goldenacts "github.com/shivx/shivx/activities/golden"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/restore"
)

// restoreFlags are the flags of a restore.
type restoreFlags struct {
	in      shivx.GoldenRestoreInput
	local   bool
	yes     bool
	inPlace bool
	to      string
}

func (a *app) goldenRestoreCommand() *cobra.Command {
	var o restoreFlags
	c := &cobra.Command{
		Use: "restore SET[@HOST][/GOLDEN]", Short: "Bring back what a golden holds", Args: cobra.ExactArgs(1),
		Long: `Verify a golden, build its files beside those in use, validate them, stop the services, swap, start the
services and check their health. Whatever fails after the stop puts the old state back and starts the
services with it. Without --in-place each path is replaced as a whole: what was added since is gone; the
old state can be kept with --keep-old.`,
		Example: `  shivx golden restore shop --local
  shivx golden restore shop/before-upgrade --plan --local
  shivx golden restore shop/latest --only /srv/shop/config.yaml --local
  shivx golden restore shop/latest --to /tmp/look --local`,
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if o.inPlace {
			o.in.Mode = shivx.RestoreInPlace
		}
		if len(o.in.Paths) > 0 { // what is around them stays
			o.in.Mode, o.in.Paths = shivx.RestoreInPlace, absolute(o.in.Paths)
		}
		if o.local || a.bare.store != "" {
			return a.onLocal(func(ctx context.Context, l *localGolden, args []string) error {
				return a.restoreHere(ctx, l, args[0], o, cmd.InOrStdin())
			})(cmd, args)
		}
		if o.to != "" {
			return hint(usagef("--to is for a restore in this process"), "add --local")
		}
		t, golden, err := goldenTarget(args[0])
		if err != nil {
			return err
		}
		o.in.GoldenTarget, o.in.Golden = t, golden
		return a.onGoldenFleet(cmd, shivx.TypeGoldenRestore, shivx.GoldenRestore, t, o.in.Plan, o.in)
	}
	addGoldenFlags(c, &o.in.GoldenRequest, &o.local)
	fl := c.Flags()
	fl.BoolVar(&o.yes, "yes", false, "do not ask, with --local")
	fl.BoolVar(&o.inPlace, "in-place", false, "rewrite only what differs")
	fl.StringSliceVar(&o.in.Paths, "only", nil, "restore only this file or folder; in place")
	fl.StringVar(&o.to, "to", "", "put the files below this folder instead, and touch nothing else")
	fl.BoolVar(&o.in.KeepOld, "keep-old", false, "keep the old state beside the restored one")
	fl.BoolVar(&o.in.LeaveServices, "leave-services", false, "stop and start no service")
	fl.StringVar(&o.in.From, "from", "", "the host that took the golden, if another")
	fl.StringSliceVar(&o.in.Trust, "trust", nil, trustUsage)
	a.bare.flags(c)
	return c
}

func (a *app) restoreHere(ctx context.Context, l *localGolden, arg string, o restoreFlags, stdin io.Reader) error {
	set, golden, err := l.split(arg)
	if err != nil {
		return err
	}
	o.in.Set, o.in.Golden = set, golden
	info, err := l.engine.Find(ctx, engine.Ref{Set: set, Golden: golden, Host: o.in.From, Kind: kindOf(golden), Trust: o.in.Trust})
	if err != nil {
		return err
	}
	o.in.Golden = info.ID
	r := engine.Restore{ID: ulid.Make().String(), Set: set, Golden: info.ID, Only: o.in.Paths, InPlace: o.in.Mode == shivx.RestoreInPlace, To: o.to, Trust: o.in.Trust}
	if o.in.Plan {
		return a.planRestore(ctx, l, r)
	}
	if o.to != "" {
		if r.To, err = filepath.Abs(o.to); err != nil {
			return err
		}
		return a.restoreTo(ctx, l, r)
	}
	if err := a.openSteps(ctx, l); err != nil {
		return err
	}
	if err := a.beforeRestore(ctx, l, info); err != nil {
		return err
	}
	if !o.yes {
		if err := a.confirmRestore(info, stdin); err != nil {
			return err
		}
	}
	defer a.unbroken(ctx)()
	local := goldenacts.Local{Activities: l.acts, Told: a.toldStep}
	res, err := local.Restore(ctx, o.in)
	return a.restored(res, err)
}

// kindOf keeps "latest" to backups: what a guardian keeps of a host under attack is restored when it is named.
func kindOf(golden string) shivx.GoldenKind {
	if golden == shivx.GoldenLatest {
		return shivx.GoldenKindBackup
	}
	return ""
}

func (a *app) confirmRestore(info shivx.GoldenInfo, stdin io.Reader) error {
	if !a.out.tty || a.json() {
		return hint(usagef("a restore replaces what is there, and nobody can be asked"), "look with --plan, then say --yes")
	}
	_, _ = fmt.Fprintf(a.out.w, "Replace %s by its golden %s of %s, %s with %s? [y/N] ", clean(info.Set), clean(info.ID),
		info.Created.Local().Format(time.DateTime), count(int(info.Files), "file"), bytesText(info.Bytes))
	line, err := bufio.NewReader(stdin).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err != nil || answer != "y" && answer != "yes" {
		return withCode(exitRefused, errors.New("nothing was changed"))
	}
	return nil
}

// toldStep prints a step when it has ended.
func (a *app) toldStep(s shivx.GoldenStepReport) {
	switch {
	case a.json():
		_ = a.jsonLine(a.err.w, map[string]any{"step": s})
	case s.Outcome != shivx.StepRunning:
		mark, st := "✓", green
		switch s.Outcome {
		case shivx.StepFailed:
			mark, st = "✗", red
		case shivx.StepSkipped:
			mark, st = "–", faint
		}
		name := string(s.Name)
		if s.Service != "" {
			name += " " + s.Service
		}
		_, _ = fmt.Fprintln(a.out.w, a.out.paint(st, mark)+clean(fmt.Sprintf(" %-18s %8s  %s", name, took(seconds(s.Seconds)), s.Summary)))
	}
}

// restored says what came of a restore.
func (a *app) restored(r shivx.GoldenRestoreResult, err error) error {
	code := exitOK
	if err != nil {
		code = codeOfGolden(r.Outcome)
	}
	if a.json() {
		return errors.Join(a.document(r), quiet(code))
	}
	line := fmt.Sprintf("%s: %s in %s", r.GoldenTarget, r.Outcome, took(seconds(r.Seconds)))
	if r.Downtime > 0 {
		line += fmt.Sprintf(", services down for %s", took(seconds(r.Downtime)))
	}
	if err == nil {
		a.out.line(green, line)
		a.out.line(faint, r.Message)
		return nil
	}
	a.out.line(red, line)
	if len(r.Stopped) > 0 {
		a.out.line(red, "STOPPED, and not started again: "+strings.Join(r.Stopped, ", "))
	}
	return withCode(code, err)
}

func (a *app) planRestore(ctx context.Context, l *localGolden, r engine.Restore) error {
	c, err := l.engine.PlanRestore(ctx, r, l.tell)
	if err != nil {
		return err
	}
	return a.changes(c, "would be ")
}

// changes prints what differs between a golden and what is there.
func (a *app) changes(c restore.Changes, would string) error {
	if a.json() {
		return a.document(c)
	}
	t := table{head: []string{"", "PATH", "BYTES", "WHAT"}, free: []int{1, 3}}
	marks := map[restore.Kind]cell{restore.Added: {"+", green}, restore.Removed: {"-", red}, restore.Content: {"~", yellow}, restore.Metadata: {"m", cyan}}
	for _, one := range c.List {
		t.add(marks[one.Kind], text(one.Path), text(bytesText(one.Bytes)), text(one.Detail))
	}
	if len(c.List) > 0 {
		a.out.table(t)
	}
	if c.More > 0 {
		a.out.line(faint, fmt.Sprintf("and %d more", c.More))
	}
	a.out.printf("%d %sadded, %d removed, %d changed, %d in owner, mode or time alone; %d as they are",
		c.Added.Entries, would, c.Removed.Entries, c.Content.Entries, c.Metadata.Entries, c.Same.Entries)
	return nil
}

// restoreTo puts the files of a golden below another folder.
func (a *app) restoreTo(ctx context.Context, l *localGolden, r engine.Restore) error {
	began := time.Now()
	if _, err := l.engine.Stage(ctx, r, l.tell); err != nil {
		return err
	}
	c, err := l.engine.Swap(ctx, r)
	if err != nil {
		_, undo := l.engine.Undo(context.WithoutCancel(ctx), r)
		return errors.Join(err, undo)
	}
	if _, err := l.engine.Finish(ctx, r, false); err != nil {
		return err
	}
	if a.json() {
		return a.document(c)
	}
	a.out.line(green, fmt.Sprintf("restored %d entries with %s below %s in %s", c.Written.Entries, bytesText(c.Written.Bytes), r.To, took(time.Since(began))))
	return nil
}
