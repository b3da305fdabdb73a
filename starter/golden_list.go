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
	goldenacts "github.com/shivx/shivx/activities/golden"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/store"
)

// addStoreFlags lets commands that are always local be called like the others.
func (a *app) addStoreFlags(c *cobra.Command) {
	c.Flags().Bool("local", true, "read the store in this process; this command always does")
	_ = c.Flags().MarkHidden("local") // there is such a flag
	a.bare.flags(c)
}

func compactJSON(v any) ([]byte, error) { return json.Marshal(v) }

// goldenArgs asks for one or two arguments, and names the one that is missing.
func goldenArgs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		_, names, _ := strings.Cut(cmd.Use, " ")
		switch {
		case len(args) < least:
			return hint(usagef("%s needs %s", cmd.CommandPath(), strings.Fields(names)[len(args)]), "see: "+cmd.CommandPath()+" --help")
		case len(args) > most:
			return hint(usagef("%s is one argument too many", args[most]), "see: "+cmd.CommandPath()+" --help")
		}
		return nil
	}
}

// listedGolden is one golden in a list, for programs.
type listedGolden struct {
	shivx.GoldenInfo
	Error string `json:"error,omitempty"`
}

func (a *app) goldenListCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "list [SET]", Short: "List the goldens of the store, newest first", Args: goldenArgs(0, 1),
		Long: "List the goldens of the store, of all hosts, newest first. Exit code 4: one of them is damaged.",
		RunE: a.onLocal(func(ctx context.Context, l *localGolden, args []string) error {
			name, host, _ := strings.Cut(strings.Join(args, ""), "@")
			all, err := l.engine.List(ctx, name)
			if err != nil {
				return err
			}
			if host != "" {
				all = slices.DeleteFunc(all, func(g engine.Listed) bool { return g.Host != host })
			}
			if _, known := l.cfg.GoldenSet(name); name != "" && len(all) == 0 && !known {
				return unknownSet(name, l.cfg.Host, l.cfg.Golden.Sets)
			}
			a.tellUnfinished(l)
			return a.listGoldens(l, all)
		}),
	}
	a.addStoreFlags(c)
	return c
}

// tellUnfinished tells of local restores that were cut off: nothing else in the list matters as much.
func (a *app) tellUnfinished(l *localGolden) {
	halfway, err := goldenacts.Unfinished(l.engine.Journals())
	if err != nil {
		a.tellErr("it is not known whether a restore was cut off: " + err.Error())
	}
	for _, h := range halfway {
		line := fmt.Sprintf("a restore of %s from %s, begun %s, ", h.Set, h.Golden, moment(h.Began))
		switch {
		case h.Running:
			line += "is under way"
		case len(h.Services) > 0:
			line += "was cut off; may be STOPPED: " + strings.Join(h.Services, ", ") + "; end it with: shivx golden resume"
		default:
			line += "was cut off; end it with: shivx golden resume"
		}
		if a.json() {
			_ = a.jsonLine(a.err.w, map[string]any{"unfinished": h})
			continue
		}
		a.err.line(red, a.dressed(line))
	}
}

func (a *app) listGoldens(l *localGolden, all []engine.Listed) error {
	code := exitOK
	if slices.ContainsFunc(all, func(g engine.Listed) bool {
		return errors.Is(g.Err, format.ErrDamaged) && !errors.Is(g.Err, store.ErrUntrusted)
	}) {
		code = exitTampered
	}
	if a.json() {
		out := make([]listedGolden, len(all))
		for i, g := range all {
			out[i].GoldenInfo = g.GoldenInfo
			if g.Err != nil {
				out[i].Error = g.Err.Error()
			}
		}
		return errors.Join(a.document(out), quiet(code))
	}
	if len(all) == 0 {
		a.out.line(faint, a.dressed("nothing is stored yet: shivx golden backup SET"))
		return nil
	}
	a.out.table(goldenTable(l, all))
	for _, g := range all {
		if g.Err != nil {
			a.out.line(red, g.ID+": "+g.Err.Error())
		}
	}
	for _, key := range strangers(all) {
		a.out.line(yellow, "some are signed by a key that is not trusted here; if it is one of yours, add: --trust "+key)
	}
	return quiet(code)
}

func goldenTable(l *localGolden, all []engine.Listed) table {
	t := table{head: []string{"GOLDEN", "SET", "HOST", "TAKEN", "FILES", "SIZE", "KIND", "NAME", "WRONG"}, free: []int{7}, whole: []int{0, 3, 8}}
	for _, g := range all {
		wrong, files, size, kind, host := "", "", "", string(g.Kind), g.Host
		switch {
		case errors.Is(g.Err, store.ErrUntrusted):
			wrong = "untrusted"
		case errors.Is(g.Err, format.ErrDamaged):
			wrong = "damaged"
		case g.Err != nil:
			wrong = "unreadable"
		default:
			files, size = fmt.Sprint(g.Files), bytesText(g.Bytes)
		}
		if g.Kind == shivx.GoldenKindBackup {
			kind = ""
		}
		if host == l.cfg.Host && !l.bare {
			host = "" // as one thinks
		}
		t.add(text(g.ID), text(g.Set), text(host), text(g.Created.Local().Format("2006-01-02 15:04")), text(files), text(size), text(kind), text(g.Name), cell{wrong, red})
	}
	return t
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

// takenAgo says when a golden was taken, and how long ago that is.
func takenAgo(g shivx.GoldenInfo) string {
	return g.Created.Local().Format(time.DateTime) + ", " + coarse(max(0, time.Since(g.Created))) + " ago"
}
