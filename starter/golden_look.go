package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/restore"
)

func (a *app) goldenDiffCommand() *cobra.Command {
	var only []string
	c := &cobra.Command{
		Use: "diff SET[/GOLDEN]", Short: "Show how this host differs from a golden", Args: goldenArgs(1, 1),
		Long: `Compare by content what a golden holds with what is on this host, and show what a restore would do:
` + legend,
		RunE: a.onLocal(func(ctx context.Context, l *localGolden, args []string) error {
			t, golden, err := l.target(args[0])
			if err != nil {
				return err
			}
			info, err := l.engine.Find(ctx, engine.Ref{Set: t.Set, Golden: golden, Kind: kindOf(golden)})
			if err != nil {
				return err
			}
			paths, err := absolute(only)
			if err != nil {
				return err
			}
			c, err := l.engine.PlanRestore(ctx, engine.Restore{Set: t.Set, Golden: info.ID, Only: paths}, l.tell)
			if err != nil {
				return err
			}
			if a.json() {
				return a.document(planned(info, nil, c))
			}
			a.out.printf("%s/%s of %s", info.Set, info.ID, takenAgo(info))
			a.changes(c)
			return nil
		}),
	}
	c.Flags().StringArrayVar(&only, "only", nil, "compare only this file or folder; again for another")
	a.addStoreFlags(c)
	return c
}

// legend explains the marks of changes.
const legend = `+ would be added: in the golden alone; - removed: on the host alone
~ rewritten: other content; m changed: another owner, mode or time`

// planDocument is what a restore would change, for programs.
type planDocument struct {
	Golden shivx.GoldenInfo `json:"golden"`
	// Services would be stopped, and started in this order.
	Services []string `json:"services"`
	restore.Changes
	List []plannedChange `json:"list"`
}

// plannedChange is one change. A path that is no UTF-8 stands in base64.
type plannedChange struct {
	restore.Change
	Path       string `json:"path,omitempty"`
	PathBase64 string `json:"path_base64,omitempty"`
}

func planned(info shivx.GoldenInfo, services []string, c restore.Changes) planDocument {
	d := planDocument{Golden: info, Services: append([]string{}, services...), Changes: c, List: []plannedChange{}}
	for _, one := range c.List {
		p := plannedChange{Change: one}
		p.Path, p.PathBase64 = textOrBase64(one.Path)
		d.List = append(d.List, p)
	}
	return d
}

// changes prints what differs between a golden and what is there.
func (a *app) changes(c restore.Changes) {
	t := table{head: []string{"", "PATH", "BYTES", "WHAT"}, free: []int{1, 3}}
	marks := map[restore.Kind]cell{restore.Added: {"+", green}, restore.Removed: {"-", red}, restore.Content: {"~", yellow}, restore.Metadata: {"m", cyan}}
	for _, one := range c.List {
		size := ""
		if one.Bytes > 0 {
			size = bytesText(one.Bytes)
		}
		t.add(marks[one.Kind], text(shellName(one.Path)), text(size), text(one.Detail))
	}
	if len(c.List) > 0 {
		a.out.table(t)
		for line := range strings.Lines(legend) {
			a.out.line(faint, strings.TrimSpace(line))
		}
	}
	if c.More > 0 {
		a.out.line(faint, fmt.Sprintf("and %d more", c.More))
	}
	for _, note := range c.Notes {
		a.out.line(yellow, "! "+note)
	}
	a.out.printf("%d to add, %d to remove, %d to rewrite, %d in owner, mode or time; %d as they are",
		c.Added.Entries, c.Removed.Entries, c.Content.Entries, c.Metadata.Entries, c.Same.Entries)
}

// browsedEntry is one entry of a golden, for programs. Another name of a file, a hard link, has only its paths; a
// path that is no UTF-8 stands in base64.
type browsedEntry struct {
	Path       string    `json:"path,omitempty"`
	PathBase64 string    `json:"path_base64,omitempty"`
	Type       string    `json:"type"`
	Mode       string    `json:"mode,omitempty"`
	UID        *uint32   `json:"uid,omitempty"`
	GID        *uint32   `json:"gid,omitempty"`
	Size       int64     `json:"size"`
	MTime      time.Time `json:"mtime,omitzero"`
	Link       string    `json:"link,omitempty"`
	LinkBase64 string    `json:"link_base64,omitempty"`
}

func browsed(e *format.Entry) browsedEntry {
	b := browsedEntry{Type: string(e.Type), Size: e.Size}
	b.Path, b.PathBase64 = textOrBase64(e.Path)
	b.Link, b.LinkBase64 = textOrBase64(e.Link)
	if e.Type != format.TypeHardlink {
		uid, gid := e.UID, e.GID
		b.Mode, b.UID, b.GID, b.MTime = fmt.Sprintf("%04o", e.Mode), &uid, &gid, e.ModTime
	}
	return b
}

// browsedRow is one entry of a golden, for people.
func browsedRow(e *format.Entry) []cell {
	name := shellName(e.Path)
	switch e.Type {
	case format.TypeDir:
		name += "/"
	case format.TypeSymlink:
		name += " → " + shellName(e.Link)
	case format.TypeHardlink:
		return cells("-", "-", "", "-", name+" is one file with "+shellName(e.Link))
	default:
	}
	size := ""
	if e.Type == format.TypeFile {
		size = bytesText(e.Size)
	}
	return cells(fmt.Sprintf("%04o", e.Mode), fmt.Sprintf("%d:%d", e.UID, e.GID), size, e.ModTime.Local().Format(time.DateTime), name)
}

func (a *app) goldenBrowseCommand() *cobra.Command {
	var notes, deep bool
	c := &cobra.Command{
		Use: "browse SET[/GOLDEN] [PATH]", Short: "List what a golden holds", Args: goldenArgs(1, 2),
		Example: "  shivx golden browse shop\n  shivx golden browse shop/before-upgrade /srv/shop --deep",
	}
	c.RunE = a.onLocal(func(ctx context.Context, l *localGolden, args []string) error {
		t, golden, err := l.target(args[0])
		if err != nil {
			return err
		}
		ref := engine.Ref{Set: t.Set, Golden: golden, Kind: kindOf(golden)}
		if notes {
			return a.goldenNotes(ctx, l, ref)
		}
		paths, err := absolute(args[1:])
		if err != nil {
			return err
		}
		return a.browse(ctx, l, ref, strings.Join(paths, ""), deep)
	})
	c.Flags().BoolVar(&notes, "notes", false, "list what changed while it was read, and what was not stored")
	c.Flags().BoolVar(&deep, "deep", false, "list all below the path, not only what lies in it")
	a.addStoreFlags(c)
	return c
}

func (a *app) browse(ctx context.Context, l *localGolden, ref engine.Ref, path string, deep bool) error {
	t := table{head: []string{"MODE", "OWNER", "SIZE", "CHANGED", "PATH"}, free: []int{4}, whole: []int{0, 3}}
	list := []browsedEntry{}
	found := false
	err := l.engine.Browse(ctx, ref, path, deep, func(e *format.Entry) error {
		if found = true; a.json() {
			list = append(list, browsed(e))
		} else {
			t.add(browsedRow(e)...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !found && path != "" {
		return l.notHeld(ctx, ref, path)
	}
	if a.json() {
		return a.document(list)
	}
	a.out.table(t)
	return nil
}

// notHeld is the error for a path that a golden does not have.
func (l *localGolden) notHeld(ctx context.Context, ref engine.Ref, path string) error {
	h, err := l.engine.Header(ctx, ref)
	if err != nil {
		return err
	}
	roots := slices.Clone(h.Roots)
	for i, r := range roots {
		roots[i] = shellName(r)
	}
	return withCode(exitRefused, hint(fmt.Errorf("%s is not in the golden %s/%s", shellName(path), h.Set, h.ID), "it holds: "+strings.Join(roots, ", ")))
}

func (a *app) goldenNotes(ctx context.Context, l *localGolden, ref engine.Ref) error {
	h, err := l.engine.Header(ctx, ref)
	if err != nil {
		return err
	}
	if a.json() {
		return a.document(map[string]any{"missing": list(h.Missing), "unstable": list(h.Unstable), "skipped": list(h.Skipped),
			"exclude": list(h.Exclude), "sources": list(h.Sources)})
	}
	t := table{head: []string{"", "PATH", "WHY"}, free: []int{1, 2}}
	for _, p := range h.Missing {
		t.add(text("missing"), text(shellName(p)), text("did not exist"))
	}
	for _, n := range h.Unstable {
		t.add(text("unstable"), text(shellName(n.Path)), text(n.Why))
	}
	for _, n := range h.Skipped {
		t.add(text("skipped"), text(shellName(n.Path)), text(n.Why))
	}
	for _, s := range h.Sources {
		t.add(text("exported"), text(shellName(s.Path)), text(s.Type+" "+s.Name))
	}
	for _, e := range h.Exclude {
		t.add(text("left out"), text(e), text("by its pattern"))
	}
	a.out.table(t)
	return nil
}

// list is never null in JSON.
func list[T any](s []T) []T { return append([]T{}, s...) }
