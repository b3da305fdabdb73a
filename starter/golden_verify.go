package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	engine "github.com/shivx/shivx/internal/golden"
)

func (a *app) goldenVerifyCommand() *cobra.Command {
	var in shivx.GoldenVerifyInput
	var local bool
	c := &cobra.Command{
		Use: "verify SET[@HOST][/GOLDEN]", Short: "Compare what is stored with what was signed", Args: goldenArgs(1, 1),
		Long: `Read every stored byte of a golden and compare it with what was signed. Exit code 4: something is damaged.`,
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		in.Trust = a.bare.trust
		if local || a.bare.store != "" {
			return a.onLocal(func(ctx context.Context, l *localGolden, args []string) error {
				var err error
				if in.GoldenTarget, in.Golden, err = l.target(args[0]); err != nil {
					return err
				}
				return a.verifyHere(ctx, l, in)
			})(cmd, args)
		}
		t, err := a.goldenTarget(args[0])
		if err != nil {
			return err
		}
		in.GoldenTarget, in.Golden = t.GoldenTarget, t.golden
		return a.onGoldenFleet(cmd, shivx.TypeGoldenVerify, shivx.GoldenVerify, t.GoldenTarget, false, in)
	}
	addGoldenFlags(c, &in.GoldenRequest)
	addInProcess(c, &local)
	a.bare.flags(c)
	c.Flags().StringVar(&in.From, "from", "", "the host that took the golden, if another")
	return c
}

// fleetTarget is what a run on Temporal is about.
type fleetTarget struct {
	shivx.GoldenTarget
	golden string
	// set is what the configuration says of it; nil for another host's.
	set *config.GoldenSet
}

// goldenTarget reads SET[@HOST][/GOLDEN]. Without a host this one is meant: others may have a set of that
// name, too.
func (a *app) goldenTarget(arg string) (fleetTarget, error) {
	name, golden, _ := strings.Cut(arg, "/")
	parsed, err := shivx.ParseGoldenTarget(name)
	t := fleetTarget{GoldenTarget: parsed, golden: golden}
	if err != nil {
		return t, withCode(exitUsage, err)
	}
	if err := a.bare.check(); err != nil {
		return t, err
	}
	cfg, err := a.agentConfig()
	switch {
	case err != nil && t.Host == "":
		return t, err
	case err != nil || cfg == nil || t.Host != "" && t.Host != cfg.Host:
		if t.Host == "" {
			return t, hint(usagef("which host's set %q is meant?", t.Set), "write "+t.Set+"@HOST; there is no configuration that names this host; name one with --config FILE")
		}
		return t, nil
	}
	t.Host = cfg.Host
	s, ok := cfg.GoldenSet(t.Set)
	if !ok {
		err := unknownSet(t.Set, cfg.Host, cfg.Golden.Sets)
		return t, withCode(exitRefused, hint(err, shivx.HintOf(err)+"; write "+t.Set+"@HOST for another host's"))
	}
	t.set = &s
	return t, nil
}

func (a *app) verifyHere(ctx context.Context, l *localGolden, in shivx.GoldenVerifyInput) error {
	began := time.Now()
	info, err := l.engine.Find(ctx, engine.Ref{Set: in.Set, Golden: in.Golden, Host: in.From, Kind: kindOf(in.Golden), Trust: in.Trust})
	if err != nil {
		return err
	}
	v, err := l.engine.Verify(ctx, engine.VerifyOrder{Set: in.Set, Golden: info.ID, Trust: in.Trust}, l.tell)
	if err != nil {
		return coded(err, exitNotHealed)
	}
	return a.verified(verifyResult(in.GoldenTarget, &info, v, began))
}

// verifyResult is the result of a verification in this process.
func verifyResult(t shivx.GoldenTarget, info *shivx.GoldenInfo, v engine.Verified, began time.Time) shivx.GoldenVerifyResult {
	r := shivx.GoldenVerifyResult{
		GoldenResult: shivx.GoldenResult{GoldenTarget: t, Outcome: shivx.OutcomeVerified, Golden: info, Started: began.UTC(), Seconds: time.Since(began).Seconds(),
			Steps: []shivx.GoldenStepReport{}},
		Goldens: v.Goldens, Bytes: v.Bytes, Damaged: v.Damaged, Repaired: v.Repaired, Damage: v.Damage,
	}
	r.Message = fmt.Sprintf("%s of %s damaged, %d repaired", count(v.Damaged, "place"), count(v.Goldens, "golden"), v.Repaired)
	if v.Damaged > 0 {
		r.Outcome = shivx.OutcomeDamaged
	}
	return r
}

// verified says what came of a verification.
func (a *app) verified(r shivx.GoldenVerifyResult) error {
	code := codeOfGolden(r.Outcome)
	if a.json() {
		return errors.Join(a.document(r), quiet(code))
	}
	st := green
	if code != exitOK {
		st = red
	}
	what := r.String()
	if r.Golden != nil {
		what = r.Golden.Set + "/" + r.Golden.ID
	}
	if code != exitOK && r.Damaged == 0 {
		a.out.line(st, fmt.Sprintf("%s: %s in %s", what, r.Outcome, took(seconds(r.Seconds))))
		a.out.line(normal, r.Message)
		return quiet(code)
	}
	a.out.line(st, fmt.Sprintf("%s: %s; %s read in %s, %s damaged, %d repaired", what, r.Outcome, bytesText(r.Bytes),
		took(seconds(r.Seconds)), count(r.Damaged, "place"), r.Repaired))
	for _, d := range r.Damage {
		line := "  " + d.What
		switch {
		case d.Repaired:
			line = "  repaired: " + d.Object
		case d.Path != "":
			line += ": lost with it: " + d.Path
		}
		a.out.line(normal, line)
	}
	if r.Damaged > 0 {
		a.out.line(normal, a.dressed("shivx golden scrub --repair mends what parity can mend; else restore another golden: shivx golden list"))
	}
	return quiet(code)
}
