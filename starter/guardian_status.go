package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/guardian/ingest"
)

const guardianPath = "/api/guardian/status"

func (a *app) guardianStatusCommand() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "status", Short: "Show the defense mode, threats, isolated sources, logs and enforcers",
		Long: `Shows how the guardian of this host is: the defense mode, what is wrong, who is isolated and for how long,
how far the logs are read, and whether the enforcers work. With --fleet it shows what Temporal knows: the
fleet's mode and its isolations.`,
		Example: `  shivx guardian status
  shivx guardian status --fleet
  shivx guardian status --output json | jq .isolations`,
		Args: cobra.NoArgs,
	}
	c.RunE = a.does(func(cmd *cobra.Command, _ []string) error {
		if all {
			return a.guardianFleet(cmd.Context())
		}
		return a.guardianHere(cmd.Context())
	})
	c.Flags().BoolVar(&all, "fleet", false, "ask Temporal for the whole fleet")
	return c
}

func (a *app) guardianHere(ctx context.Context) error {
	ag, err := a.agent()
	if err != nil {
		return err
	}
	var s guardian.Status
	if err := a.waiting(func() error { return ag.get(ctx, guardianPath, &s) }); err != nil {
		return err
	}
	if a.json() {
		return a.document(s)
	}
	a.printMode(s.Host+": ", s.Change)
	for _, w := range wrong(s) {
		a.out.line(w.style, "! "+w.text)
	}
	a.out.details(
		[2]string{"isolated", isolatedLine(s)}, [2]string{"threats", threatLine(s.Threats)}, [2]string{"mostly", mostOf(s.Threats.ByType)},
		[2]string{"files watched", filesLine(s)}, [2]string{"budgets", budgetLine(s)},
		[2]string{"sources seen", fmt.Sprintf("%d of at most %d, since %s", s.Sources.Sources, s.Sources.Capacity, moment(s.Since))},
	)
	a.printIsolations(s.Isolations, s.Isolated, "shivx guardian status --output json")
	if s.Budgets != nil {
		a.section(containedTable(s.Budgets.Contained))
	}
	a.section(logTable(s.Logs))
	a.section(enforcerTable(s.Enforcers))
	a.section(busyTable(s.Busiest, s.Isolations))
	return nil
}

const (
	// muchBehind is how much of a log may be unread before that is worth a line, in bytes.
	muchBehind = 1 << 20
	// muchWaiting is how many changes an enforcer may still have to apply.
	muchWaiting = 1000
	// manyWrong is how many troubles of one kind are told.
	manyWrong = 5
)

// wrong tells in plain words what is not as it should be, the worst first.
func wrong(s guardian.Status) (list []cell) {
	add := func(st style, format string, args ...any) {
		list = append(list, cell{fmt.Sprintf(format, args...), st})
	}
	if len(s.Enforcers) == 0 {
		add(yellow, "nothing enforces on this host: only who asks the agent (forward-auth, bouncers) keeps sources out")
	}
	for _, e := range s.Enforcers {
		switch {
		case !e.OK:
			add(red, "%s does not keep sources out: %s", e.Name, e.Error)
		case e.Behind > muchWaiting:
			add(yellow, "%s is %d changes behind", e.Name, e.Behind)
		}
	}
	if w := s.Integrity; w != nil {
		if w.Findings > 0 {
			add(red, "%s not as the baseline says: shivx guardian baseline show", are(w.Findings, "watched file"))
		}
		if w.Entries > 0 && !w.Trusted {
			add(red, "the baseline of watched files is not the one that was recorded: shivx guardian baseline show")
		}
		if w.Watching.Error != "" {
			add(yellow, "the kernel does not tell of changed files: %s; they are verified from time to time", w.Watching.Error)
		}
	}
	if len(s.Logs) == 0 {
		add(yellow, "no log is read: name some in guardian.logs; until then attackers are seen only when applications report them")
	}
	for _, l := range s.Logs {
		list = append(list, wrongWith(l)...)
	}
	if s.Unrecorded > 0 {
		add(yellow, "%s not recorded yet: look at the disk below paths.var", are(s.Unrecorded, "event"))
	}
	if s.Lost > 0 {
		add(red, "%d warnings were given up because the disk took no record", s.Lost)
	}
	return append(list, wrongBudgets(s)...)
}

// wrongWith tells what is wrong with a log.
func wrongWith(l ingest.LogStatus) (list []cell) {
	if l.Error != "" {
		list = append(list, cell{fmt.Sprintf("the log %s is not read: %s", l.Name, l.Error), red})
	}
	if l.Silent {
		last := "since the agent began"
		if !l.LastRead.IsZero() {
			last = "for " + age(l.LastRead)
		}
		list = append(list, cell{fmt.Sprintf("the log %s is silent: nothing read %s; is it still written?", l.Name, last), red})
	}
	if l.Lag > muchBehind {
		list = append(list, cell{fmt.Sprintf("the log %s is %s behind", l.Name, bytesText(l.Lag)), yellow})
	}
	return list
}

func wrongBudgets(s guardian.Status) (list []cell) {
	if s.Budgets == nil {
		return nil
	}
	if e := s.Budgets.Error; e != "" {
		list = append(list, cell{"processes are not watched: " + e, red})
	}
	for _, b := range s.Budgets.Budgets {
		if b.Error != "" && len(list) < manyWrong {
			list = append(list, cell{fmt.Sprintf("the budget %s is not watched: %s", b.Name, b.Error), red})
		}
	}
	if n := len(s.Budgets.Contained); n > 0 {
		list = append(list, cell{are(n, "process or cgroup") + " frozen or limited; let go with: shivx guardian restore SOURCE --local", yellow})
	}
	return list
}

// are counts with a verb: 1 file is, 2 files are.
func are(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what + " is"
	case what == "process or cgroup":
		return fmt.Sprintf("%d processes or cgroups are", n)
	}
	return count(n, what) + " are"
}

func isolatedLine(s guardian.Status) string {
	if s.Isolated == 0 {
		return "nobody"
	}
	return count(s.Isolated, "source")
}

// threatLine counts what the audit holds.
func threatLine(t guardian.Threats) string {
	if t.Total == 0 {
		return "none"
	}
	var parts []string
	for _, l := range []shivx.ThreatLevel{shivx.ThreatCritical, shivx.ThreatHigh, shivx.ThreatMedium, shivx.ThreatLow} {
		if n := t.ByLevel[l]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, l))
		}
	}
	return fmt.Sprintf("%d recorded: %s", t.Total, strings.Join(parts, ", "))
}

func filesLine(s guardian.Status) string {
	if s.Integrity == nil {
		return ""
	}
	line := fmt.Sprintf("%d entries", s.Integrity.Entries)
	if at := s.Integrity.Last.At; !at.IsZero() {
		line += ", verified " + ago(at)
	}
	if n := len(s.Integrity.Tickets); n > 0 {
		line += ", " + count(n, "ticket") + " open"
	}
	return line
}

func budgetLine(s guardian.Status) string {
	if s.Budgets == nil {
		return ""
	}
	beyond := 0
	for _, b := range s.Budgets.Budgets {
		if b.Beyond.Std() > time.Second {
			beyond++
		}
	}
	return fmt.Sprintf("%d, %d exceeded just now", len(s.Budgets.Budgets), beyond)
}
