package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// why says in one line why the run was started.
func (g *goldenRun) why() string {
	switch {
	case g.request.Reason != "":
		return g.request.Reason
	case g.request.RequestedBy != "":
		return "asked for by " + g.request.RequestedBy
	default:
		return "started by hand"
	}
}

// step runs one step, of a service where it is about one, and keeps its report. A stopped run begins no
// further step.
func (g *goldenRun) step(ctx workflow.Context, name shivx.GoldenStep, service string, act func() (activities.RestoreStep, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	i := g.begin(ctx, name, service)
	g.show(ctx)
	res, err := act()
	r := &g.steps[i]
	r.Seconds = secondsSince(ctx, r.Started)
	r.Outcome, r.Summary, r.Files, r.Bytes = shivx.StepDone, res.Summary, res.Files, res.Bytes
	g.vanished = nil
	switch {
	case err != nil:
		r.Outcome, r.Summary = shivx.StepFailed, reason(err)
		if hostVanished(err) {
			g.vanished = err
		}
	case res.Skipped:
		r.Outcome = shivx.StepSkipped
	}
	g.show(ctx)
	return err
}

// begin puts a report in the place of the waiting one of its step, or of the one that failed just before
// and is tried again, or behind those that have begun; it returns its index.
func (g *goldenRun) begin(ctx workflow.Context, name shivx.GoldenStep, service string) int {
	r := shivx.GoldenStepReport{Name: name, Service: service, Outcome: shivx.StepRunning, Started: workflow.Now(ctx).UTC()}
	at := len(g.steps)
	for i, s := range slices.Backward(g.steps) {
		if s.Outcome == shivx.StepWaiting {
			at = i
		}
	}
	if at > 0 {
		if last := g.steps[at-1]; last.Name == name && last.Service == service && last.Outcome == shivx.StepFailed {
			r.Tries = max(last.Tries, 1) + 1
			g.steps[at-1] = r
			return at - 1
		}
	}
	for i, s := range g.steps {
		if s.Name == name && s.Outcome == shivx.StepWaiting {
			g.steps = slices.Delete(g.steps, i, i+1)
			break
		}
	}
	g.steps = slices.Insert(g.steps, min(at, len(g.steps)), r)
	return min(at, len(g.steps)-1)
}

// skip reports a step that has nothing to do.
func (g *goldenRun) skip(ctx workflow.Context, name shivx.GoldenStep, why string) {
	i := g.begin(ctx, name, "")
	g.steps[i].Outcome, g.steps[i].Summary = shivx.StepSkipped, why
	g.show(ctx)
}

// dropWaiting forgets the steps that were not begun.
func (g *goldenRun) dropWaiting() {
	g.steps = slices.DeleteFunc(g.steps, func(s shivx.GoldenStepReport) bool { return s.Outcome == shivx.StepWaiting })
}

// secondsSince returns the time passed since t, to the millisecond.
func secondsSince(ctx workflow.Context, t time.Time) float64 {
	return since(ctx, t).Std().Seconds()
}

// note says what the run waits for; "" when it waits for nothing.
func (g *goldenRun) note(ctx workflow.Context, waitsFor string) {
	g.waitsFor = waitsFor
	g.show(ctx)
}

// show writes the run's story where the Temporal UI shows it.
func (g *goldenRun) show(ctx workflow.Context) {
	var b strings.Builder
	title := activities.GoldenSummary(g.action, g.target)
	if g.request.Plan {
		title = "Plan: " + title
	}
	fmt.Fprintf(&b, "### %s\n\n**Why:** %s\n\n", title, cell(g.why()))
	if g.golden != nil {
		fmt.Fprintf(&b, "**Golden:** %s\n\n", cell(goldenLine(*g.golden)))
	}
	if g.extent != nil {
		fmt.Fprintf(&b, "**Extent:** %s\n\n", cell(g.extent()))
	}
	if g.waitsFor != "" {
		fmt.Fprintf(&b, "**Waits:** %s\n\n", cell(g.waitsFor))
	}
	if g.outcome != "" {
		fmt.Fprintf(&b, "**%s** — %s\n\n", g.outcome, cell(g.message))
	}
	b.WriteString("| | step | what | size | took |\n|---|---|---|---|---|\n")
	for _, s := range g.steps {
		name, took := string(s.Name), ""
		if s.Service != "" {
			name += " " + s.Service
		}
		if s.Tries > 1 {
			name += fmt.Sprintf(" (try %d)", s.Tries)
		}
		if s.Seconds > 0 {
			took = time.Duration(s.Seconds * float64(time.Second)).Round(time.Millisecond).String()
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", marks[s.Outcome], cell(name), cell(s.Summary), sizeOf(s.Files, s.Bytes), took)
	}
	workflow.SetCurrentDetails(ctx, b.String())
}

// sizeOf is a number of files and bytes for people; "" for none.
func sizeOf(files, size int64) string {
	var parts []string
	if files > 0 {
		parts = append(parts, fmt.Sprintf("%d files", files))
	}
	switch {
	case size >= 1<<30:
		parts = append(parts, fmt.Sprintf("%.1f GiB", float64(size)/(1<<30)))
	case size >= 1<<20:
		parts = append(parts, fmt.Sprintf("%.1f MiB", float64(size)/(1<<20)))
	case size > 0:
		parts = append(parts, fmt.Sprintf("%d bytes", size))
	}
	return strings.Join(parts, ", ")
}
