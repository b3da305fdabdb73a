package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/store"
)

// addStoreFlags lets commands that are always local be called like the others.
func (a *app) addStoreFlags(c *cobra.Command) {
	c.Flags().Bool("local", true, "read the store in this process; this command always does")
	a.bare.flags(c)
}

func compactJSON(v any) ([]byte, error) { return json.Marshal(v) }

// listedGolden is one golden in a list, for programs.
type listedGolden struct {
	shivx.GoldenInfo
	Error string `json:"error,omitempty"`
}

func (a *app) goldenListCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "list [SET]", Short: "List the goldens of the store, newest first", Args: cobra.MaximumNArgs(1),
		RunE: a.onLocal(func(ctx context.Context, l *localGolden, args []string) error {
			all, err := l.engine.List(ctx, strings.Join(args, ""))
			if err != nil {
				return err
			}
			return a.listGoldens(all)
		}),
	}
	a.addStoreFlags(c)
	return c
}

func (a *app) listGoldens(all []engine.Listed) error {
	if a.json() {
		out := make([]listedGolden, len(all))
		for i, g := range all {
			out[i].GoldenInfo = g.GoldenInfo
			if g.Err != nil {
				out[i].Error = g.Err.Error()
			}
		}
		return a.document(out)
	}
	if len(all) == 0 {
		a.out.line(faint, "nothing is stored yet: shivx golden backup SET")
		return nil
	}
	t := table{head: []string{"GOLDEN", "SET", "HOST", "NAME", "KIND", "TAKEN", "FILES", "SIZE", "WRONG"}, free: []int{8}}
	for _, g := range all {
		wrong, st := "", normal
		if g.Err != nil {
			wrong, st = g.Err.Error(), red
		}
		kind := string(g.Kind)
		if g.Kind == shivx.GoldenKindBackup {
			kind = ""
		}
		files, size := "", ""
		if g.Err == nil {
			files, size = fmt.Sprint(g.Files), bytesText(g.Bytes)
		}
		t.add(text(g.ID), text(g.Set), text(g.Host), text(g.Name), text(kind), text(g.Created.Local().Format(time.DateTime)), text(files), text(size), cell{wrong, st})
	}
	a.out.table(t)
	for _, key := range strangers(all) {
		a.out.line(yellow, "some are signed by a key that is not trusted here; if it is one of yours, add: --trust "+key)
	}
	return nil
}

// strangers are the keys that are not trusted, each once.
func strangers(all []engine.Listed) []string {
	var keys []string
	for _, g := range all {
		if errors.Is(g.Err, store.ErrUntrusted) && g.Key != "" && !slices.Contains(keys, g.Key) {
			keys = append(keys, g.Key)
		}
	}
	return keys
}

func (a *app) goldenVerifyCommand() *cobra.Command {
	var in shivx.GoldenVerifyInput
	var local bool
	c := &cobra.Command{
		Use: "verify SET[@HOST][/GOLDEN]", Short: "Compare what is stored with what was signed", Args: cobra.ExactArgs(1),
		Long: `Read every stored byte of a golden and compare it with what was signed. Exit code 4: something is damaged.`,
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if local || a.bare.store != "" {
			return a.onLocal(func(ctx context.Context, l *localGolden, args []string) error {
				var err error
				if in.Set, in.Golden, err = l.split(args[0]); err != nil {
					return err
				}
				return a.verifyHere(ctx, l, in)
			})(cmd, args)
		}
		t, golden, err := goldenTarget(args[0])
		if err != nil {
			return err
		}
		in.GoldenTarget, in.Golden = t, golden
		return a.onGoldenFleet(cmd, shivx.TypeGoldenVerify, shivx.GoldenVerify, t, in.Plan, in)
	}
	addGoldenFlags(c, &in.GoldenRequest, &local)
	c.Flags().StringSliceVar(&in.Trust, "trust", nil, trustUsage)
	a.bare.flags(c)
	c.Flags().StringVar(&in.From, "from", "", "the host that took the golden, if another")
	return c
}

// goldenTarget reads SET[@HOST][/GOLDEN].
func goldenTarget(arg string) (shivx.GoldenTarget, string, error) {
	name, golden, _ := strings.Cut(arg, "/")
	t, err := shivx.ParseGoldenTarget(name)
	if err != nil {
		return t, "", withCode(exitUsage, err)
	}
	return t, golden, nil
}

func (a *app) verifyHere(ctx context.Context, l *localGolden, in shivx.GoldenVerifyInput) error {
	began := time.Now()
	info, err := l.engine.Find(ctx, engine.Ref{Set: in.Set, Golden: in.Golden, Host: in.From, Kind: kindOf(in.Golden), Trust: in.Trust})
	if err != nil {
		return err
	}
	v, err := l.engine.Verify(ctx, engine.VerifyOrder{Set: in.Set, Golden: info.ID, Trust: in.Trust, Plan: in.Plan}, l.tell)
	if err != nil {
		return err
	}
	r := shivx.GoldenVerifyResult{
		GoldenResult: shivx.GoldenResult{GoldenTarget: shivx.GoldenTarget{Set: in.Set, Host: l.cfg.Host}, Outcome: shivx.OutcomeVerified,
			Golden: &info, Started: began.UTC(), Seconds: time.Since(began).Seconds()},
		Goldens: v.Goldens, Bytes: v.Bytes, Damaged: v.Damaged, Repaired: v.Repaired, Damage: v.Damage,
	}
	if v.Damaged > 0 {
		r.Outcome = shivx.OutcomeDamaged
	}
	return a.verified(r)
}

// verified says what came of a verification.
func (a *app) verified(r shivx.GoldenVerifyResult) error {
	code := exitOK
	if r.Damaged > 0 {
		code = exitTampered
	}
	if a.json() {
		return errors.Join(a.document(r), quiet(code))
	}
	st := green
	if r.Damaged > 0 {
		st = red
	}
	what := r.String()
	if r.Golden != nil {
		what = r.Golden.Set + "/" + r.Golden.ID
	}
	a.out.line(st, fmt.Sprintf("%s: %s; %s read in %s, %s damaged, %d repaired", what, r.Outcome, bytesText(r.Bytes),
		took(seconds(r.Seconds)), count(r.Damaged, "place"), r.Repaired))
	for _, d := range r.Damage {
		line := "  " + d.What
		if d.Path != "" {
			line += ": lost with it: " + d.Path
		}
		a.out.line(normal, line)
	}
	return quiet(code)
}
