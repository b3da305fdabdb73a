package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	goldenacts "github.com/shivx/shivx/activities/golden"
	"github.com/shivx/shivx/internal/config"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/format"
)

// restoreFlags are the flags of a restore.
type restoreFlags struct {
	in      shivx.GoldenRestoreInput
	local   bool
	yes     bool
	inPlace bool
	// besideAgent restores although the agent runs.
	besideAgent bool
	to          string
}

func (a *app) goldenRestoreCommand() *cobra.Command {
	var o restoreFlags
	c := &cobra.Command{
		Use: "restore SET[@HOST][/GOLDEN]", Short: "Bring back what a golden holds", Args: goldenArgs(1, 1),
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
		o.in.Trust = a.bare.trust
		if o.inPlace || len(o.in.Paths) > 0 { // what is around them stays
			o.in.Mode = shivx.RestoreInPlace
		}
		if o.local || a.bare.store != "" {
			return a.onLocal(func(ctx context.Context, l *localGolden, args []string) error {
				return a.restoreHere(ctx, l, args[0], o, cmd.InOrStdin())
			})(cmd, args)
		}
		return a.restoreFleet(cmd, args[0], o)
	}
	addGoldenFlags(c, &o.in.GoldenRequest)
	addInProcess(c, &o.local)
	addPlan(c, &o.in.Plan)
	fl := c.Flags()
	fl.BoolVar(&o.yes, "yes", false, "do not ask")
	fl.BoolVar(&o.besideAgent, "beside-agent", false, "with --local: "+besideUsage)
	fl.BoolVar(&o.inPlace, "in-place", false, "rewrite only what differs")
	fl.StringArrayVar(&o.in.Paths, "only", nil, "restore only this file or folder, in place; again for another")
	fl.StringVar(&o.to, "to", "", "with --local: put the files below this folder instead, and touch nothing else")
	fl.BoolVar(&o.in.KeepOld, "keep-old", false, "keep the old state beside the restored one")
	fl.BoolVar(&o.in.LeaveServices, "leave-services", false, "stop and start no service")
	fl.StringVar(&o.in.From, "from", "", "the host that took the golden, if another")
	a.bare.flags(c)
	return c
}

// restoreFleet restores by a run on Temporal.
func (a *app) restoreFleet(cmd *cobra.Command, arg string, o restoreFlags) error {
	if o.to != "" || o.besideAgent {
		return hint(usagef("--%s is for a restore in this process", verb(o.to != "", "to", "beside-agent")), "add --local")
	}
	t, err := a.goldenTarget(arg)
	if err != nil {
		return err
	}
	o.in.GoldenTarget, o.in.Golden = t.GoldenTarget, t.golden
	for _, p := range o.in.Paths {
		if t.set == nil && !filepath.IsAbs(p) {
			return hint(usagef("--only %s: where on %s does that lie?", p, t.Host), "write the whole path, from / on")
		}
	}
	if o.in.Paths, err = absolute(o.in.Paths); err != nil {
		return err
	}
	ask := func(ctx context.Context) error {
		if o.in.Plan || o.yes {
			return nil
		}
		return a.confirmFleet(ctx, t, o.services(t.set), cmd.InOrStdin())
	}
	return a.onGoldenFleet(cmd, shivx.TypeGoldenRestore, shivx.GoldenRestore, t.GoldenTarget, o.in.Plan, o.in, ask)
}

func (a *app) restoreHere(ctx context.Context, l *localGolden, arg string, o restoreFlags, stdin io.Reader) error {
	t, golden, err := l.target(arg)
	if err != nil {
		return err
	}
	if o.in.Paths, err = absolute(o.in.Paths); err != nil {
		return err
	}
	info, err := l.engine.Find(ctx, engine.Ref{Set: t.Set, Golden: golden, Host: o.in.From, Kind: kindOf(golden), Trust: o.in.Trust})
	if err != nil {
		return err
	}
	o.in.GoldenTarget, o.in.Golden = t, info.ID
	r := engine.Restore{ID: ulid.Make().String(), Set: t.Set, Golden: info.ID, Only: o.in.Paths, InPlace: o.in.Mode == shivx.RestoreInPlace, Trust: o.in.Trust}
	if o.to != "" {
		if r.To, err = filepath.Abs(o.to); err != nil {
			return err
		}
	}
	set, _ := l.cfg.GoldenSet(t.Set)
	services := o.services(&set)
	switch {
	case o.in.Plan:
		return a.planRestore(ctx, l, r, info, services)
	case r.To != "":
		return a.restoreTo(ctx, l, r, info, o.in)
	}
	if err := a.openSteps(ctx, l); err != nil {
		return err
	}
	may := l.mayStop(services, o.besideAgent, "systemctl stop shivx-worker; or leave out --local, so that the agent does it")
	if err := may(); err != nil {
		return err
	}
	if err := a.beforeRestore(ctx, l, info); err != nil {
		return err
	}
	if !o.yes {
		if err := a.ask(ctx, stdin, confirmHere(info, services, o.in), "replaces what is there"); err != nil {
			return err
		}
	}
	defer a.unbroken(ctx)()
	local := goldenacts.Local{Activities: l.acts, Told: l.told, May: may, Ended: a.resumed}
	res, err := local.Restore(ctx, o.in)
	return a.restored(res, err)
}

// services are those that the restore stops; none where they are not known.
func (o restoreFlags) services(set *config.GoldenSet) []string {
	if o.in.LeaveServices || o.to != "" || set == nil {
		return nil
	}
	return set.Services
}

// kindOf keeps "latest" to backups: what a guardian keeps of a host under attack is restored when it is named.
func kindOf(golden string) shivx.GoldenKind {
	if golden == shivx.GoldenLatest {
		return shivx.GoldenKindBackup
	}
	return ""
}

// restored says what came of a restore.
func (a *app) restored(r shivx.GoldenRestoreResult, err error) error {
	code := codeOfGolden(r.Outcome)
	if err != nil && code == exitOK {
		code = exitNotHealed
	}
	if r.Steps = list(r.Steps); a.json() {
		return errors.Join(a.document(r), quiet(code))
	}
	line := fmt.Sprintf("%s: %s in %s", r.GoldenTarget, r.Outcome, took(seconds(r.Seconds)))
	if r.Downtime > 0 {
		line += fmt.Sprintf(", services down for %s", took(seconds(r.Downtime)))
	}
	if code == exitOK {
		a.out.line(green, line)
		a.out.line(faint, r.Message)
		a.changedPaths(r)
		return nil
	}
	a.out.line(red, line)
	if len(r.Stopped) > 0 {
		a.out.line(red, "STOPPED, and not started again: "+strings.Join(r.Stopped, ", "))
	}
	if err == nil { // one that was called off
		a.out.line(normal, r.Message)
		return quiet(code)
	}
	return withCode(code, err)
}

// changedPaths lists what a run's plan would change.
func (a *app) changedPaths(r shivx.GoldenRestoreResult) {
	if r.Outcome != shivx.OutcomePlanned {
		return
	}
	if g := r.Golden; g != nil {
		a.out.printf("%s/%s of %s: %s, %s", g.Set, g.ID, takenAgo(*g), count(int(g.Files), "file"), bytesText(g.Bytes))
	}
	for _, p := range r.Changes.Paths {
		a.out.line(normal, "  "+p)
	}
	if len(r.Changes.Paths) > 0 {
		a.out.line(faint, "+ would be added, - removed, ~ rewritten")
	}
}

// planRestore verifies what is needed, and says what would change.
func (a *app) planRestore(ctx context.Context, l *localGolden, r engine.Restore, info shivx.GoldenInfo, services []string) error {
	v, err := l.engine.Verify(ctx, engine.VerifyOrder{Set: r.Set, Golden: info.ID, Paths: r.Only, Trust: r.Trust}, l.tell)
	l.tell(shivx.GoldenProgress{})
	if err != nil {
		return err
	}
	if v.Damaged > 0 {
		return hint(fmt.Errorf("%w, and a restore would refuse it: %s of %s/%s, the first: %s", format.ErrDamaged, count(v.Damaged, "place"), r.Set, info.ID, v.Damage[0].What),
			"shivx golden scrub --repair mends what parity can mend; else take an older golden: shivx golden list "+r.Set)
	}
	c, err := l.engine.PlanRestore(ctx, r, l.tell)
	l.tell(shivx.GoldenProgress{})
	if err != nil {
		return err
	}
	if a.json() {
		return a.document(planned(info, services, c))
	}
	a.out.printf("%s/%s of %s: %s, %s", info.Set, info.ID, takenAgo(info), count(int(info.Files), "file"), bytesText(info.Bytes))
	stops := "no service would be stopped"
	if len(services) > 0 {
		stops = "would be stopped, and started again: " + strings.Join(services, ", ")
	}
	a.out.line(normal, stops)
	a.changes(c)
	return nil
}
