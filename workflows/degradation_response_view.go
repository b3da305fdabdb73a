package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
)

// changesShown is how many changes the Temporal UI shows.
const changesShown = 10

// show writes the level and how it came about where the Temporal UI shows it.
func (d *degradation) show(ctx workflow.Context) {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s: %s\n\n| | |\n|---|---|\n", d.Host, orNone(string(d.LevelNow()), "not known yet"))
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "| %s | %s |\n", name, cell(value))
		}
	}
	if n := len(d.Changes); n > 0 {
		row("why", d.Changes[n-1].Reason)
		row("since", d.Since.Format(time.RFC3339))
	}
	row("override", overrideLine(d.Override))
	if d.Score != nil {
		row("score", fmt.Sprintf("%.0f at %s", *d.Score, d.AppliedAt.Format(time.RFC3339)))
	}
	row("features off", strings.Join(d.FeaturesOff, ", "))
	if d.HostAway() {
		row("host", "does not answer since "+d.AwaySince.Format(time.RFC3339))
	}
	row("in error", d.LastError)
	row("missing changes", d.Missing())
	if n := len(d.FormerLedgers); n > 0 {
		f := d.FormerLedgers[n-1]
		row("ledger", fmt.Sprintf("`%s` counts anew since %s; `%s` ended at %d", d.Ledger, f.Until.Format(time.RFC3339), f.Ledger, f.Number))
	}
	if n := len(d.Rewinds); n > 0 {
		row("went back", d.Rewinds[n-1].Line()+" at "+d.Rewinds[n-1].At.Format(time.RFC3339)+": was an old copy put back?")
	}
	for _, m := range d.Untold {
		row("to be told", m.Text)
	}
	d.showHooks(&b)
	d.showChanges(&b)
	workflow.SetCurrentDetails(ctx, b.String())
}

func (d *degradation) showHooks(b *strings.Builder) {
	if len(d.Hooks) == 0 {
		return
	}
	b.WriteString("\n| hook | from | | |\n|---|---|---|---|\n")
	for _, h := range d.Hooks {
		state, what := "off", h.Summary
		if h.On {
			state = "**sheds load**"
		}
		if h.Error != "" {
			state, what = "✘ "+state, h.Error
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", cell(h.Name), h.Level, state, cell(what))
	}
}

func (d *degradation) showChanges(b *strings.Builder) {
	if len(d.Changes) == 0 {
		return
	}
	b.WriteString("\n| # | when | from | to | why |\n|---|---|---|---|---|\n")
	for i, c := range slices.Backward(d.Changes) {
		if i < len(d.Changes)-changesShown {
			break
		}
		fmt.Fprintf(b, "| %d | %s | %s | %s | %s |\n", c.Number, c.At.Format(time.RFC3339), c.From, c.To, cell(c.Reason))
	}
}

// Missing lists the numbers of changes that were never told.
func (s DegradationState) Missing() string {
	var parts []string
	for _, m := range s.MissingNumbers {
		if m.From == m.To {
			parts = append(parts, fmt.Sprint(m.From))
			continue
		}
		parts = append(parts, fmt.Sprintf("%d–%d", m.From, m.To))
	}
	return strings.Join(parts, ", ")
}

func overrideLine(o *shivx.Override) string {
	if o == nil {
		return ""
	}
	return fmt.Sprintf("%s until %s by %s: %s", o.Level, o.Until.Format(time.RFC3339), o.By, o.Why)
}

func orNone(s, none string) string {
	if s == "" {
		return none
	}
	return s
}
