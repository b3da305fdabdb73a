package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian/integrity"
)

const baselinePath = "/api/guardian/baseline"

func (a *app) guardianBaselineCommand() *cobra.Command {
	show := &cobra.Command{
		Use: "show", Short: "Show the baseline, tickets and what is not as it should be", Args: cobra.NoArgs,
		RunE: a.does(func(cmd *cobra.Command, _ []string) error { return a.showBaseline(cmd.Context()) }),
	}
	verify := &cobra.Command{
		Use: "verify", Short: "Read every watched file and compare it with the baseline", Args: cobra.NoArgs,
		RunE: a.does(func(cmd *cobra.Command, _ []string) error { return a.verifyBaseline(cmd.Context()) }),
	}
	c := group("baseline", "Watched files: show, verify, announce changes, accept what is there",
		show, verify, a.baselineAcceptCommand(), a.baselineTicketCommand(), a.baselineCloseCommand())
	c.Long = `The guardian watches the files of guardian.integrity.paths for changes that nobody has announced. These
commands ask the agent of this host. Exit code 4: a file is not as the baseline says.`
	return c
}

func (a *app) showBaseline(ctx context.Context) error {
	ag, err := a.agent()
	if err != nil {
		return err
	}
	var s integrity.Status
	if err := a.waiting(func() error { return ag.get(ctx, baselinePath, &s) }); err != nil {
		return notWatched(err)
	}
	if a.json() {
		err = a.document(s)
	} else {
		a.printBaseline(s)
	}
	if err == nil && s.Findings > 0 {
		return quiet(exitTampered)
	}
	return err
}

func (a *app) printBaseline(s integrity.Status) {
	switch {
	case s.Entries == 0:
		a.out.line(yellow, "there is no baseline yet: the first verification makes it")
	case s.Findings > 0:
		a.out.line(red, are(s.Findings, "watched file")+" not as the baseline says")
	case !s.Trusted:
		a.out.line(red, "the baseline is not the one that was recorded: whoever changed it may have changed files before")
	default:
		a.out.line(green, "every watched file is as the baseline says")
	}
	made := moment(s.CreatedAt)
	if s.By != "" {
		made += " by " + s.By
	}
	if s.Why != "" {
		made += ": " + s.Why
	}
	a.out.details([][2]string{
		{"entries", countOf(s.Entries)}, {"made", made}, {"root", s.Root}, {"verified", ago(s.Last.At)},
		{"not watched", countOf(s.Watching.Unwatched)}, {"kernel", s.Watching.Error},
	}...)
	a.section(findingTable(s.Open))
	if more := s.Findings - len(s.Open); more > 0 {
		a.out.line(faint, fmt.Sprintf("… and %d more: shivx guardian baseline verify", more))
	}
	t := table{head: []string{"TICKET", "UNTIL", "BY", "PATHS", "WHY"}, free: []int{3, 4}}
	for _, ticket := range s.Tickets {
		t.add(cells(ticket.ID, moment(ticket.Until), ticket.By, strings.Join(ticket.Paths, " "), ticket.Why)...)
	}
	a.section(t)
	if s.Findings > 0 {
		a.out.line(normal, "")
		a.out.line(faint, "compare them with a known good copy; if they are meant to be so: shivx guardian baseline accept --why TEXT")
	}
}

// notWatched says that files are no matter of the agent's configuration.
func notWatched(err error) error {
	if _, none := errors.AsType[notThereError](err); none {
		return withCode(exitRefused, err)
	}
	return err
}

// hashShown is how much of a hash is shown.
const hashShown = 12

func findingTable(list []integrity.Finding) table {
	t := table{head: []string{"FILE", "WHAT", "FOUND", "EXPECTED", "NOW"}, free: []int{0}}
	for _, f := range list {
		t.add(cell{f.Path, red}, text(string(f.Kind)), text(moment(f.At)),
			text(fmt.Sprintf("%.*s", hashShown, f.ExpectedHash)), text(fmt.Sprintf("%.*s", hashShown, f.CurrentHash)))
	}
	return t
}

func (a *app) verifyBaseline(ctx context.Context) error {
	ag, err := a.agent()
	if err != nil {
		return err
	}
	var r integrity.Report
	err = a.patiently(ag, "reading every watched file", func() error {
		return ag.send(ctx, http.MethodPost, baselinePath+"/verify", nil, &r)
	})
	if err != nil {
		return notWatched(err)
	}
	if a.json() {
		if err := a.document(r); err != nil {
			return err
		}
	} else {
		head, st := "every watched file is as the baseline says", green
		if n := len(r.Findings); n > 0 {
			head, st = are(n, "watched file")+" not as the baseline says", red
		}
		a.out.line(st, head)
		a.out.details([2]string{"entries", fmt.Sprint(r.Entries)}, [2]string{"read", bytesText(r.Bytes)},
			[2]string{"took", took(time.Duration(r.Took * float64(time.Second)))})
		a.section(findingTable(r.Findings))
	}
	if len(r.Findings) > 0 {
		return quiet(exitTampered)
	}
	return nil
}

// patiently asks for what may take long, and shows for how long it has.
func (a *app) patiently(ag *agentClient, what string, ask func() error) error {
	ag.http.Timeout = 0 // Ctrl-C ends it
	began := time.Now()
	shown := newProgress(&a.err, func() string { return what + ": " + age(began) })
	defer shown.end()
	return ask()
}

func (a *app) baselineAcceptCommand() *cobra.Command {
	var by, why string
	c := &cobra.Command{
		Use: "accept --why TEXT", Short: "Take what is there now for the new baseline",
		Long: "Takes what is there now for the new baseline, whatever was found before. Look at it first: shivx guardian baseline show",
		Args: cobra.NoArgs,
		RunE: a.does(func(cmd *cobra.Command, _ []string) error {
			s, err := asMyself(a, by, func(ag *agentClient, by string) (s integrity.Summary, err error) {
				err = a.patiently(ag, "reading every watched file", func() error {
					return ag.send(cmd.Context(), http.MethodPost, baselinePath, map[string]string{"by": by, "why": why}, &s)
				})
				return s, err
			})
			if err != nil {
				return notWatched(err)
			}
			if a.json() {
				return a.document(s)
			}
			a.out.printf("%d entries are the new baseline: %d added, %d removed, %d changed", s.Entries, s.Added, s.Removed, s.Changed)
			return nil
		}),
	}
	c.Flags().StringVar(&why, "why", "", "the reason, in one line")
	_ = c.MarkFlagRequired("why")
	addBy(c, &by)
	return c
}

func (a *app) baselineTicketCommand() *cobra.Command {
	var by, why string
	var term time.Duration
	c := &cobra.Command{
		Use: "ticket PATH… --for TIME --why TEXT", Short: "Announce changes of watched files",
		Long: `Announces changes: until the ticket ends, what changes below these paths is recorded and is no tampering; then
it becomes part of the baseline. A pattern may have * and **.`,
		Example: `  shivx guardian baseline ticket /opt/app --for 30m --why "deploy 1.4.2"`,
		Args:    cobra.MinimumNArgs(1),
	}
	c.RunE = a.does(func(cmd *cobra.Command, args []string) error {
		paths := make([]string, len(args))
		for i, p := range args {
			abs, err := filepath.Abs(p)
			if err != nil {
				return withCode(exitUsage, err)
			}
			paths[i] = abs
		}
		ticket, err := asMyself(a, by, func(ag *agentClient, by string) (t integrity.Ticket, err error) {
			in := map[string]any{"paths": paths, "for": shivx.Duration(term), "by": by, "why": why}
			err = a.patiently(ag, "looking at the files", func() error {
				return ag.send(cmd.Context(), http.MethodPost, baselinePath+"/tickets", in, &t)
			})
			return t, err
		})
		if err != nil {
			return notWatched(err)
		}
		if a.json() {
			return a.document(ticket)
		}
		a.out.printf("ticket %s until %s; close it before: shivx guardian baseline close %s", ticket.ID, moment(ticket.Until), ticket.ID)
		return nil
	})
	c.Flags().DurationVar(&term, "for", 0, "how long, such as 30m")
	c.Flags().StringVar(&why, "why", "", "the reason, in one line")
	_, _ = c.MarkFlagRequired("for"), c.MarkFlagRequired("why")
	addBy(c, &by)
	return c
}

func (a *app) baselineCloseCommand() *cobra.Command {
	var by string
	c := &cobra.Command{
		Use: "close TICKET", Short: "Close a ticket: what changed under it is the baseline from now on",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeTicket,
		RunE: a.does(func(cmd *cobra.Command, args []string) error {
			s, err := asMyself(a, by, func(ag *agentClient, by string) (s integrity.Summary, err error) {
				path := baselinePath + "/tickets/" + url.PathEscape(args[0]) + "?" + url.Values{"by": {by}}.Encode()
				err = a.patiently(ag, "looking at the files", func() error {
					return ag.send(cmd.Context(), http.MethodDelete, path, nil, &s)
				})
				return s, err
			})
			if err != nil {
				return notWatched(err)
			}
			if a.json() {
				return a.document(s)
			}
			a.out.printf("closed; %d entries are the baseline: %d added, %d removed, %d changed", s.Entries, s.Added, s.Removed, s.Changed)
			return nil
		}),
	}
	addBy(c, &by)
	return c
}

// completeTicket completes the first argument with the tickets that are open.
func (a *app) completeTicket(cmd *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	var s integrity.Status
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	if c, err := a.agent(); len(args) == 0 && err == nil && c.get(ctx, baselinePath, &s) == nil {
		for _, t := range s.Tickets {
			names = append(names, described(t.ID, t.Why))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
