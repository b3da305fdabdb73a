package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/shivx/shivx"
)

// ask asks on a terminal; a no is an error. Where nobody can be asked, what says what the command does.
func (a *app) ask(ctx context.Context, stdin io.Reader, question, what string) error {
	if !a.out.tty || a.json() {
		return hint(usagef("it %s, and nobody can be asked", what), "look with --plan, then say --yes")
	}
	_, _ = fmt.Fprint(a.out.w, clean(question)+" [y/N] ")
	answered := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdin).ReadString('\n') // what cannot be read is no yes
		answered <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case answer := <-answered:
		if answer == "y" || answer == "yes" {
			return nil
		}
	case <-ctx.Done():
		_, _ = fmt.Fprintln(a.out.w)
	}
	return withCode(exitRefused, errors.New("nothing was changed"))
}

// confirmHere asks for a restore in this process.
func confirmHere(info shivx.GoldenInfo, services []string, in shivx.GoldenRestoreInput) string {
	what := info.Set
	if n := len(in.Paths); n > 0 {
		what = strings.Join(in.Paths[:min(n, 3)], ", ")
		if n > 3 {
			what += fmt.Sprintf(" and %d more", n-3)
		}
	}
	how := "Replace"
	if in.Mode == shivx.RestoreInPlace {
		how = "Rewrite what differs of"
	}
	return fmt.Sprintf("%s %s by its golden %s of %s with %s, %s? %s", how, what, info.ID,
		info.Created.Local().Format(time.DateTime), count(int(info.Files), "file"), bytesText(info.Bytes), stopsText(services))
}

// stopsText says which services a restore stops.
func stopsText(services []string) string {
	if len(services) == 0 {
		return "No service is stopped."
	}
	return "Stops and starts: " + strings.Join(services, ", ") + "."
}

// confirmFleet asks for a restore by a run, unless people have to approve that anyway.
func (a *app) confirmFleet(ctx context.Context, t fleetTarget, services []string, stdin io.Reader) error {
	stops := "Which services it stops, its configuration says."
	if t.set != nil {
		if n := t.set.Approval.Required; n > 0 {
			who := strings.Join(t.set.Approval.Of, ", ")
			if !a.json() {
				a.out.line(faint, fmt.Sprintf("nothing is touched before %d of %s approve it", n, orElse(who, "all")))
			}
			return nil
		}
		stops = stopsText(services)
	}
	if !a.out.tty || a.json() {
		return nil // a program has asked, and is no less sure of it than before
	}
	return a.ask(ctx, stdin, fmt.Sprintf("Replace %s by its golden %s? %s", t.GoldenTarget, orElse(t.golden, shivx.GoldenLatest), stops), "")
}
