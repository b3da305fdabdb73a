package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
)

// recordFilter says which records are shown.
type recordFilter struct {
	ledgerPlace
	component, event, since, until, run string
	limit                               int

	from, to time.Time
}

func (a *app) ledgerShowCommand() *cobra.Command {
	o := recordFilter{ledgerPlace: ledgerPlace{name: "recovery"}}
	c := &cobra.Command{
		Use: "show [PATH]", Short: "Show records of a ledger",
		Long: `Show records of a ledger, oldest first; the latest 50 unless --limit says otherwise. With
--output json each line is one record, as it is stored.`,
		Example: `  shivx ledger show --component redis --since 24h
  shivx ledger show --type recovery --output json | jq .outcome
  shivx ledger show --ledger resilience --type degradation
  shivx ledger show --ledger guardian --component 203.0.113.7`,
		Args: cobra.MaximumNArgs(1),
	}
	c.RunE = a.does(func(_ *cobra.Command, args []string) error {
		if err := o.parse(); err != nil {
			return err
		}
		if err := a.locate(&o.ledgerPlace, args); err != nil {
			return err
		}
		return a.showLedger(o)
	})
	a.addVar(c, &o.ledgerPlace)
	fl := c.Flags()
	fl.StringVar(&o.component, "component", "", "only those of this component, module or source")
	fl.StringVar(&o.event, "type", "", "only those of this event type, such as fault, recovery or threat")
	fl.StringVar(&o.since, "since", "", "only those from then on: 24h (ago), 2006-01-02 or 2006-01-02T15:04:05Z")
	fl.StringVar(&o.until, "until", "", "only those up to then")
	fl.StringVar(&o.run, "run", "", "only those of this run: a part of its workflow or run id")
	fl.IntVar(&o.limit, "limit", 50, "how many, the latest; 0: all")
	return c
}

func (o *recordFilter) parse() (err error) {
	if o.limit < 0 {
		return usagef("--limit %d is negative", o.limit)
	}
	if o.from, err = pointInTime("--since", o.since); err != nil {
		return err
	}
	o.to, err = pointInTime("--until", o.until)
	return err
}

// pointInTime reads a time, or how long ago it was.
func pointInTime(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{time.DateTime, time.DateOnly, "2006-01-02 15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, hint(usagef("%s %q is no time", flag, s), "write 24h for a day ago, 2006-01-02, or 2006-01-02T15:04:05Z")
}

func (o *recordFilter) match(r shivx.RecoveryRecord) bool {
	switch {
	case o.component != "" && r.Component != o.component,
		o.event != "" && r.EventType != o.event,
		o.run != "" && !strings.Contains(r.Run, o.run),
		!o.from.IsZero() && r.Timestamp.Before(o.from),
		!o.to.IsZero() && r.Timestamp.After(o.to):
		return false
	}
	return true
}

// record is a stored line and what it says.
type record struct {
	ledger.Record
	shivx.RecoveryRecord
}

func decodeRecord(r ledger.Record) record {
	out := record{Record: r}
	if err := r.Decode(&out.RecoveryRecord); err != nil {
		out.Message = err.Error()
	}
	if out.Component == "" {
		out.fromAudit()
	}
	if out.Component == "" {
		out.fromGuardian()
	}
	return out
}

// fromAudit completes a record of the resilience audit, which names a module and tells the rest
// in its details.
func (r *record) fromAudit() {
	var d struct {
		Reason  string   `json:"reason"`
		Summary string   `json:"summary"`
		Error   string   `json:"error"`
		Message string   `json:"message"`
		From    string   `json:"from"`
		To      string   `json:"to"`
		Name    string   `json:"name"`
		Phase   string   `json:"phase"`
		Level   string   `json:"level"`
		Score   *float64 `json:"score"`
	}
	var m struct {
		Module string `json:"module"`
	}
	if r.Decode(&m) != nil || r.Decode(&shivx.ResilienceRecord{Details: &d}) != nil || m.Module == "" {
		return
	}
	r.Component = m.Module
	r.Message = cmp.Or(d.Reason, d.Error, d.Summary, d.Message)
	switch r.EventType {
	case shivx.EventHealthCheck:
		r.Strategy = d.Level
		if d.Score != nil {
			r.Message = fmt.Sprintf("score %.0f", *d.Score)
		}
	case shivx.EventShed, shivx.EventUnshed:
		r.Strategy, r.Outcome = d.Name, shivx.Outcome(d.Phase)
	default:
		if d.From != d.To {
			r.Strategy = d.From + " → " + d.To
		}
	}
}

func (a *app) showLedger(o recordFilter) error {
	var found []record
	err := ledger.Read(o.path, 0, func(r ledger.Record) error {
		rec := decodeRecord(r)
		if !o.match(rec.RecoveryRecord) {
			return nil
		}
		if found = append(found, rec); o.limit > 0 && len(found) >= 2*o.limit {
			found = append(found[:0:0], found[len(found)-o.limit:]...)
		}
		return nil
	})
	if err != nil && !errors.Is(err, ledger.ErrDamaged) {
		return ledgerError(err)
	}
	if o.limit > 0 && len(found) > o.limit {
		found = found[len(found)-o.limit:]
	}
	t := recordTable()
	a.printRecords(&t, found, true)
	// What is sound was shown; that some is not must be said nevertheless.
	return err
}

func (a *app) ledgerTailCommand() *cobra.Command {
	o := ledgerPlace{name: "recovery"}
	var follow bool
	var n int
	c := &cobra.Command{
		Use: "tail [PATH]", Short: "Show the latest records of a ledger, and those to come",
		Args: cobra.MaximumNArgs(1),
		RunE: a.does(func(cmd *cobra.Command, args []string) error {
			if n < 0 {
				return usagef("-n %d is negative", n)
			}
			if err := a.locate(&o, args); err != nil {
				return err
			}
			return a.tail(cmd.Context(), o.path, n, follow)
		}),
	}
	a.addVar(c, &o)
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with the records to come")
	c.Flags().IntVarP(&n, "lines", "n", 10, "how many")
	return c
}

func (a *app) tail(ctx context.Context, path string, n int, follow bool) error {
	latest, err := ledger.Tail(path, max(n, 1))
	if err != nil && !follow {
		return ledgerError(err)
	}
	from := uint64(1)
	records := make([]record, 0, len(latest))
	for _, r := range latest {
		from = max(from, r.Seq+1)
		records = append(records, decodeRecord(r))
	}
	if n == 0 {
		records = nil
	}
	t := recordTable()
	a.printRecords(&t, records, true)
	if !follow {
		return nil
	}
	err = ledger.Follow(ctx, path, from, func(r ledger.Record) error {
		a.printRecords(&t, []record{decodeRecord(r)}, false)
		return nil
	})
	if ctx.Err() != nil {
		return nil // ended by Ctrl-C, as meant
	}
	return err
}

func recordTable() table {
	return table{
		head:    []string{"SEQ", "TIME", "EVENT", "COMPONENT", "WHAT", "OUTCOME", "TOOK", "MESSAGE"},
		free:    []int{3, 4, 7},
		whole:   []int{0, 1},
		atLeast: []int{4, 19, 12, 9, 7, 7, 5},
	}
}

// printRecords prints records as rows, or as they are stored. Rows printed later keep to the
// columns of those before.
func (a *app) printRecords(t *table, records []record, head bool) {
	t.rows = nil
	for _, r := range records {
		if a.json() {
			_, _ = fmt.Fprintln(a.out.w, escapeJSON(r.Raw))
			continue
		}
		t.add(recordRow(r)...)
	}
	if a.json() || len(records) == 0 {
		return
	}
	a.out.lines(t.render(&a.out, head))
	for _, row := range t.rows {
		for i := range t.atLeast {
			t.atLeast[i] = max(t.atLeast[i], width(clean(row[i].text)))
		}
	}
}

var severityStyles = map[shivx.Severity]style{
	shivx.SeverityWarning: yellow, shivx.SeverityError: red, shivx.SeverityCritical: red,
}

func recordRow(r record) []cell {
	what := string(r.Step)
	if r.Strategy != "" {
		what = strings.TrimSpace(what + " " + r.Strategy)
	}
	if r.Attempt > 1 {
		what += " #" + strconv.Itoa(r.Attempt)
	}
	outcome := string(r.Outcome)
	if outcome == "" && r.Success != nil {
		outcome = verb(*r.Success, "success", "failure")
	}
	at := ""
	if !r.Timestamp.IsZero() {
		at = r.Timestamp.Local().Format(time.DateTime)
	}
	return []cell{
		text(strconv.FormatUint(r.Seq, 10)), text(at), {r.EventType, severityStyles[r.Severity]}, text(orElse(r.Component, orElse(r.Set, r.Subsystem))),
		text(what), text(outcome), text(took(time.Duration(r.DurationMS) * time.Millisecond)), text(r.Message),
	}
}
