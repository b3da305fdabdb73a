package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/store"
)

// pruneFlags are the flags of a prune.
type pruneFlags struct {
	order  engine.PruneOrder
	remove string
	yes    bool
}

func (a *app) goldenPruneCommand() *cobra.Command {
	var o pruneFlags
	c := &cobra.Command{
		Use: "prune [SET]", Short: "Remove the goldens that the retention does not ask for", Args: goldenArgs(0, 1),
		Long: `Remove the goldens of this host that the retention of their sets does not ask for, of one set or of all, and
the data that no golden needs any more. A golden with a name stays until --remove names it. What is
immutable yet, and the last golden that is known to be good, is not removed.`,
		Example: `  shivx golden prune --plan
  shivx golden prune --remove shop/before-upgrade`,
	}
	c.RunE = a.onLocal(func(ctx context.Context, l *localGolden, args []string) error {
		if err := o.read(ctx, l, args); err != nil {
			return err
		}
		return a.prune(ctx, l, o, c.InOrStdin())
	})
	fl := c.Flags()
	addPlan(c, &o.order.Plan)
	fl.BoolVar(&o.yes, "yes", false, "do not ask")
	fl.StringVar(&o.remove, "remove", "", "remove this golden, SET/GOLDEN, whatever the retention says")
	fl.BoolVar(&o.order.ClockIsRight, "clock-is-right", false, "prune although the clock was found suspicious: you have checked it")
	a.addStoreFlags(c)
	return c
}

// read finds out which set, and which golden, is meant.
func (o *pruneFlags) read(ctx context.Context, l *localGolden, args []string) error {
	if o.remove != "" {
		if len(args) > 0 {
			return usagef("--remove names the set already")
		}
		t, golden, err := l.target(o.remove)
		if err != nil {
			return err
		}
		if !strings.Contains(o.remove, "/") || golden == shivx.GoldenLatest {
			return hint(usagef("which golden of %s is to be removed?", t.Set), "name it: --remove "+t.Set+"/GOLDEN; shivx golden list "+t.Set+" shows them")
		}
		info, err := l.engine.Find(ctx, engine.Ref{Set: t.Set, Golden: golden})
		if err != nil {
			return err
		}
		o.order.Set, o.order.Remove = t.Set, []string{info.ID}
		return nil
	}
	if len(args) > 0 {
		t, _, err := l.target(args[0])
		if err != nil {
			return err
		}
		if strings.Contains(args[0], "/") {
			return hint(usagef("a prune is of a set"), "to remove one golden: shivx golden prune --remove "+args[0])
		}
		o.order.Set = t.Set
	}
	return nil
}

func (a *app) prune(ctx context.Context, l *localGolden, o pruneFlags, stdin io.Reader) error {
	began := time.Now()
	look := o.order
	look.Plan = true
	plan, err := l.engine.Prune(ctx, look, l.tell)
	l.tell(shivx.GoldenProgress{})
	if err != nil || o.order.Plan {
		return errors.Join(err, a.pruned(l, plan, o.order, err))
	}
	if err := o.protected(plan); err != nil {
		return err
	}
	if n := len(plan.Removed); n > 0 && !o.yes {
		if a.out.tty && !a.json() {
			a.out.table(fates(l, plan, o.order, false))
		}
		if err := a.ask(ctx, stdin, fmt.Sprintf("Remove %s?", count(n, "golden")), "removes what is stored"); err != nil {
			return err
		}
	}
	if err := l.openLedger(ctx); err != nil {
		return err
	}
	p, err := l.engine.Prune(ctx, o.order, l.tell)
	l.tell(shivx.GoldenProgress{})
	l.recordPrune(ctx, p, o.order, began, err)
	if err != nil {
		return err
	}
	return a.pruned(l, p, o.order, nil)
}

// protected refuses the removal of a golden that stays whoever asks.
func (o *pruneFlags) protected(p engine.Pruned) error {
	for _, f := range p.Fates {
		if slices.Contains(o.order.Remove, f.ID) && f.Keep {
			return withCode(exitRefused, fmt.Errorf("%s/%s stays: %s", f.Set, f.ID, strings.Join(f.Why, "; ")))
		}
	}
	return nil
}

// recordPrune writes to the ledger what was removed.
func (l *localGolden) recordPrune(ctx context.Context, p engine.Pruned, o engine.PruneOrder, began time.Time, err error) {
	r := shivx.RecoveryRecord{
		Timestamp: time.Now().UTC(), EventType: shivx.EventStepDone, Set: o.Set, Host: l.cfg.Host, Severity: shivx.SeverityInfo,
		Run: "local " + ulid.Make().String(), Step: shivx.Step(shivx.GoldenStepPrune), DurationMS: time.Since(began).Milliseconds(),
		Message: fmt.Sprintf("asked for by %s: removed %s, %d stay, %d bytes freed", me(), count(len(p.Removed), "golden"), p.Kept, p.Freed),
		Details: map[string]any{"removed": list(p.Removed), "by_hand": len(o.Remove) > 0, "clock_is_right": o.ClockIsRight},
	}
	ok := err == nil
	if r.Success = &ok; !ok {
		r.EventType, r.Severity, r.Message = shivx.EventStepFailed, shivx.SeverityWarning, err.Error()
	}
	l.write(ctx, r)
}

// write appends to the ledger. What was done stays done without it.
func (l *localGolden) write(ctx context.Context, r shivx.RecoveryRecord) {
	if _, err := l.led.Append(context.WithoutCancel(ctx), "", r); err != nil {
		l.log.Error("it is not in the ledger", "step", r.Step, "error", err)
	}
}

// prunedDocument is what a prune removed, or would remove, for programs.
type prunedDocument struct {
	Plan       bool           `json:"plan"`
	Removed    []string       `json:"removed"`
	Kept       int            `json:"kept"`
	FreedBytes int64          `json:"freed_bytes"`
	Goldens    []fateDocument `json:"goldens"`
	// Blocked says why no data was removed.
	Blocked []string `json:"blocked"`
}

type fateDocument struct {
	Set     string    `json:"set"`
	ID      string    `json:"id"`
	Host    string    `json:"host"`
	Name    string    `json:"name,omitempty"`
	Kind    string    `json:"kind"`
	Created time.Time `json:"created"`
	Stays   bool      `json:"stays"`
	Why     []string  `json:"why"`
}

// meant says whether a prune is about a golden.
func meant(f store.Fate, o engine.PruneOrder) bool {
	return (o.Set == "" || f.Set == o.Set) && (len(o.Remove) == 0 || slices.Contains(o.Remove, f.ID))
}

// why says why a golden stays or goes. The store does not know that it is not asked about some.
func (l *localGolden) why(f store.Fate) []string {
	_, known := l.cfg.GoldenSet(f.Set)
	switch {
	case f.Keep && f.Host != "" && f.Host != l.cfg.Host:
		return []string{"it is of " + f.Host + ", which prunes its own"}
	case f.Keep && !known:
		return []string{"its set is not configured here"}
	}
	return f.Why
}

// fates lists what becomes of the goldens that are meant; all of them, or only those that go.
func fates(l *localGolden, p engine.Pruned, o engine.PruneOrder, all bool) table {
	t := table{head: []string{"", "SET", "GOLDEN", "HOST", "WHY"}, free: []int{4}, whole: []int{0, 2}}
	for _, f := range p.Fates {
		mark, host := cell{"stays", green}, f.Host
		if !f.Keep {
			mark = cell{"goes", yellow}
		}
		if host == l.cfg.Host {
			host = ""
		}
		if meant(f, o) && (all || !f.Keep) {
			t.add(mark, text(f.Set), text(f.ID), text(host), text(strings.Join(l.why(f), "; ")))
		}
	}
	return t
}

// pruned says what a prune did, or would do; nothing after an error.
func (a *app) pruned(l *localGolden, p engine.Pruned, o engine.PruneOrder, err error) error {
	if err != nil {
		return nil
	}
	if a.json() {
		d := prunedDocument{Plan: o.Plan, Removed: list(p.Removed), Kept: p.Kept, FreedBytes: p.Freed, Goldens: []fateDocument{}, Blocked: list(p.Blocked)}
		for _, f := range p.Fates {
			if meant(f, o) {
				d.Goldens = append(d.Goldens, fateDocument{f.Set, f.ID, f.Host, f.Name, string(f.Kind), f.Created, f.Keep, l.why(f)})
			}
		}
		code := exitOK
		if len(p.Blocked) > 0 {
			code = exitTampered
		}
		return errors.Join(a.document(d), quiet(code))
	}
	if t := fates(l, p, o, true); len(t.rows) > 0 {
		a.out.table(t)
	}
	would := ""
	if o.Plan {
		would = "would be "
	}
	a.out.printf("%s %sremoved, %s freed", count(len(p.Removed), "golden"), would, bytesText(p.Freed))
	if len(p.Blocked) > 0 {
		return withCode(exitTampered, hint(errors.New("no data was removed: "+strings.Join(p.Blocked, "; ")), "see: shivx golden scrub"))
	}
	return nil
}

func (a *app) goldenScrubCommand() *cobra.Command {
	var repair bool
	c := &cobra.Command{
		Use: "scrub", Short: "Read the whole store, find what is damaged and repair it where there is parity", Args: goldenArgs(0, 0),
		Long: "Read every byte of the store. Exit code 4: something is damaged still.",
		RunE: a.onLocal(func(ctx context.Context, l *localGolden, _ []string) error {
			if repair {
				if err := l.openLedger(ctx); err != nil {
					return err
				}
			}
			began := time.Now()
			v, err := l.engine.Verify(ctx, engine.VerifyOrder{All: true, Repair: repair, Salvage: repair, Trust: a.bare.trust}, l.tell)
			l.tell(shivx.GoldenProgress{})
			if err != nil {
				return err
			}
			r := verifyResult(shivx.GoldenTarget{Set: "the store", Host: l.cfg.Host}, nil, v, began)
			if repair {
				l.recordScrub(ctx, r)
			}
			return a.verified(r)
		}),
	}
	c.Flags().BoolVar(&repair, "repair", false, "mend what parity can mend")
	a.addStoreFlags(c)
	return c
}

// recordScrub writes to the ledger what was mended.
func (l *localGolden) recordScrub(ctx context.Context, r shivx.GoldenVerifyResult) {
	ok, severity := r.Outcome.GoldenDone(), shivx.SeverityInfo
	if !ok || r.Repaired > 0 {
		severity = shivx.SeverityWarning
	}
	l.write(ctx, shivx.RecoveryRecord{
		Timestamp: time.Now().UTC(), EventType: shivx.EventStepDone, Host: l.cfg.Host, Severity: severity, Run: "local " + ulid.Make().String(),
		Step: shivx.Step(shivx.GoldenStepVerify), Outcome: r.Outcome, Success: &ok, DurationMS: int64(r.Seconds * 1000),
		Message: "the store was repaired, asked for by " + me() + ": " + r.Message, Details: activities.VerifyGoldenResult{
			Summary: r.Message, Goldens: r.Goldens, Bytes: r.Bytes, Damaged: r.Damaged, Repaired: r.Repaired, Damage: r.Damage},
	})
}
