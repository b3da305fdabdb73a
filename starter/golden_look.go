package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/format"
)

func (a *app) goldenDiffCommand() *cobra.Command {
	var only []string
	c := &cobra.Command{
		Use: "diff SET[/GOLDEN]", Short: "Show how this host differs from a golden", Args: cobra.ExactArgs(1),
		Long: "Compare by content what a golden holds with what is on this host: + is in the golden alone, - on the host alone, ~ other content, m other owner, mode or time.",
		RunE: a.onLocal(func(ctx context.Context, l *localGolden, args []string) error {
			set, golden, err := l.split(args[0])
			if err != nil {
				return err
			}
			info, err := l.engine.Find(ctx, engine.Ref{Set: set, Golden: golden, Kind: kindOf(golden)})
			if err != nil {
				return err
			}
			c, err := l.engine.PlanRestore(ctx, engine.Restore{Set: set, Golden: info.ID, Only: absolute(only)}, l.tell)
			if err != nil {
				return err
			}
			return a.changes(c, "")
		}),
	}
	c.Flags().StringSliceVar(&only, "only", nil, "compare only this file or folder")
	a.addStoreFlags(c)
	return c
}

// browsedEntry is one entry of a golden, for programs.
type browsedEntry struct {
	Path  string    `json:"path"`
	Type  string    `json:"type"`
	Mode  string    `json:"mode,omitempty"`
	UID   uint32    `json:"uid"`
	GID   uint32    `json:"gid"`
	Size  int64     `json:"size"`
	MTime time.Time `json:"mtime,omitzero"`
	Link  string    `json:"link,omitempty"`
}

func (a *app) goldenBrowseCommand() *cobra.Command {
	var notes, deep bool
	c := &cobra.Command{
		Use: "browse SET[/GOLDEN] [PATH]", Short: "List what a golden holds", Args: cobra.RangeArgs(1, 2),
		Example: "  shivx golden browse shop\n  shivx golden browse shop/before-upgrade /srv/shop --deep",
	}
	c.RunE = a.onLocal(func(ctx context.Context, l *localGolden, args []string) error {
		set, golden, err := l.split(args[0])
		if err != nil {
			return err
		}
		ref := engine.Ref{Set: set, Golden: golden, Kind: kindOf(golden)}
		if notes {
			return a.goldenNotes(ctx, l, ref)
		}
		return a.browse(ctx, l, ref, strings.Join(args[1:], ""), deep)
	})
	c.Flags().BoolVar(&notes, "notes", false, "list what changed while it was read, and what was not stored")
	c.Flags().BoolVar(&deep, "deep", false, "list all below the path, not only what lies in it")
	a.addStoreFlags(c)
	return c
}

func (a *app) goldenNotes(ctx context.Context, l *localGolden, ref engine.Ref) error {
	h, err := l.engine.Header(ctx, ref)
	if err != nil {
		return err
	}
	if a.json() {
		return a.document(map[string]any{"missing": h.Missing, "unstable": h.Unstable, "skipped": h.Skipped, "exclude": h.Exclude, "sources": h.Sources})
	}
	t := table{head: []string{"", "PATH", "WHY"}, free: []int{2}}
	for _, p := range h.Missing {
		t.add(text("missing"), text(p), text("did not exist"))
	}
	for _, n := range h.Unstable {
		t.add(text("unstable"), text(n.Path), text(n.Why))
	}
	for _, n := range h.Skipped {
		t.add(text("skipped"), text(n.Path), text(n.Why))
	}
	for _, s := range h.Sources {
		t.add(text("exported"), text(s.Path), text(s.Type+" "+s.Name))
	}
	for _, e := range h.Exclude {
		t.add(text("left out"), text(e), text("by its pattern"))
	}
	a.out.table(t)
	return nil
}

func (a *app) browse(ctx context.Context, l *localGolden, ref engine.Ref, path string, deep bool) error {
	t := table{head: []string{"MODE", "OWNER", "SIZE", "CHANGED", "PATH"}, free: []int{4}}
	list := []browsedEntry{}
	err := l.engine.Browse(ctx, ref, path, deep, func(e *format.Entry) error {
		if a.json() {
			list = append(list, browsedEntry{e.Path, string(e.Type), fmt.Sprintf("%04o", e.Mode), e.UID, e.GID, e.Size, e.ModTime, e.Link})
			return nil
		}
		name := e.Path
		switch e.Type {
		case format.TypeDir:
			name += "/"
		case format.TypeSymlink, format.TypeHardlink:
			name += " → " + e.Link
		default:
		}
		size := ""
		if e.Type == format.TypeFile {
			size = bytesText(e.Size)
		}
		t.add(text(fmt.Sprintf("%04o", e.Mode)), text(fmt.Sprintf("%d:%d", e.UID, e.GID)), text(size), text(e.ModTime.Local().Format(time.DateTime)), text(name))
		return nil
	})
	if err != nil {
		return err
	}
	if a.json() {
		return a.document(list)
	}
	a.out.table(t)
	return nil
}

func (a *app) goldenScrubCommand() *cobra.Command {
	var repair bool
	c := &cobra.Command{
		Use: "scrub", Short: "Read the whole store, find what is damaged and repair it where there is parity", Args: cobra.NoArgs,
		Long: "Read every byte of the store. Exit code 4: something is damaged still.",
		RunE: a.onLocal(func(ctx context.Context, l *localGolden, _ []string) error {
			began := time.Now()
			v, err := l.engine.Verify(ctx, engine.VerifyOrder{All: true, Repair: repair}, l.tell)
			if err != nil {
				return err
			}
			return a.verified(shivx.GoldenVerifyResult{
				GoldenResult: shivx.GoldenResult{GoldenTarget: shivx.GoldenTarget{Set: "the store", Host: l.cfg.Host}, Outcome: outcomeOf(v),
					Started: began.UTC(), Seconds: time.Since(began).Seconds()},
				Goldens: v.Goldens, Bytes: v.Bytes, Damaged: v.Damaged, Repaired: v.Repaired, Damage: v.Damage,
			})
		}),
	}
	c.Flags().BoolVar(&repair, "repair", false, "mend what parity can mend")
	a.addStoreFlags(c)
	return c
}

func outcomeOf(v engine.Verified) shivx.Outcome {
	if v.Damaged > 0 {
		return shivx.OutcomeDamaged
	}
	return shivx.OutcomeVerified
}

func (a *app) goldenPruneCommand() *cobra.Command {
	var plan bool
	c := &cobra.Command{
		Use: "prune [SET]", Short: "Remove the goldens that the retention does not ask for", Args: cobra.MaximumNArgs(1),
		RunE: a.onLocal(func(ctx context.Context, l *localGolden, args []string) error {
			p, err := l.engine.Prune(ctx, strings.Join(args, ""), "", plan, l.tell)
			if err != nil {
				return err
			}
			return a.pruned(p, plan)
		}),
	}
	c.Flags().BoolVar(&plan, "plan", false, "show what would go, and why each other one stays")
	a.addStoreFlags(c)
	return c
}

func (a *app) pruned(p engine.Pruned, plan bool) error {
	if a.json() {
		return a.document(p)
	}
	t := table{head: []string{"", "SET", "GOLDEN", "HOST", "WHY"}, free: []int{4}}
	for _, f := range p.Fates {
		mark := cell{"stays", green}
		if !f.Keep {
			mark = cell{"goes", yellow}
		}
		t.add(mark, text(f.Set), text(f.ID), text(f.Host), text(strings.Join(f.Why, "; ")))
	}
	a.out.table(t)
	would := ""
	if plan {
		would = "would be "
	}
	a.out.printf("%s %sremoved, %s freed", count(len(p.Removed), "golden"), would, bytesText(p.Freed))
	if len(p.Blocked) > 0 {
		return hint(errors.New("no data was removed: "+strings.Join(p.Blocked, "; ")), "see: shivx golden scrub")
	}
	return nil
}
