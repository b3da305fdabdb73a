package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// FaultForecast says what is going to fail on a host, and starts a Mitigation for each subsystem that has an
// alert and something that may be done about it. It changes nothing itself and does not wait for them.
func FaultForecast(ctx workflow.Context, in shivx.FaultForecastInput) (shivx.FaultForecastResult, error) {
	f, err := setupForecast(ctx, in)
	if err != nil {
		return shivx.FaultForecastResult{}, err
	}
	return f.run(ctx)
}

// faultForecast is the state of one run.
type faultForecast struct {
	in     shivx.FaultForecastInput
	result shivx.FaultForecastResult
	// looked is true once the host has answered.
	looked bool
	// begun says of each subsystem with an alert what became of its Mitigation.
	begun map[string]string
}

func setupForecast(ctx workflow.Context, in shivx.FaultForecastInput) (*faultForecast, error) {
	if in.Host == "" || strings.ContainsAny(in.Host, "@/") {
		return nil, badInput(`the input has no host; give {"host":"HOST"}`)
	}
	f := &faultForecast{in: in, begun: map[string]string{}}
	f.result.Host = in.Host
	err := workflow.SetQueryHandlerWithOptions(ctx, shivx.QueryHeatmap, func() (shivx.Heatmap, error) { return f.result.Heatmap, nil },
		workflow.QueryHandlerOptions{Description: "The risk of each subsystem of the host, 0 to 100."})
	if err != nil {
		return nil, err
	}
	f.show(ctx)
	return f, workflow.UpsertTypedSearchAttributes(ctx, activities.AttrRunbook.ValueSet(shivx.RunbookFaultForecast), activities.AttrHost.ValueSet(in.Host))
}

func (f *faultForecast) run(ctx workflow.Context) (shivx.FaultForecastResult, error) {
	found, err := activities.ForecastFaults.Execute(quickRead(ctx, shivx.HostQueue(f.in.Host), "look at the host and forecast its faults"),
		activities.ForecastFaultsInput{Host: f.in.Host})
	if err != nil {
		return f.result, f.failed(ctx, err)
	}
	f.looked = true
	f.result.Heatmap, f.result.Predictions = found.Heatmap, found.Predictions
	f.result.Message = f.summary()
	f.show(ctx)
	for _, subsystem := range found.Mitigate {
		if err := f.mitigate(ctx, subsystem); err != nil {
			return f.result, err
		}
		f.show(ctx)
	}
	return f.result, nil
}

// mitigate starts the Mitigation for a subsystem. One that is under way is as good.
func (f *faultForecast) mitigate(ctx workflow.Context, subsystem string) error {
	if f.in.Plan {
		f.begun[subsystem] = "would be mitigated"
		return nil
	}
	t := shivx.SubsystemTarget{Subsystem: subsystem, Host: f.in.Host}
	id := shivx.MitigationID(t)
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            id,
		WorkflowTaskTimeout:   shivx.TaskTimeout,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		TypedSearchAttributes: activities.MitigationAttributes(t),
		StaticSummary:         activities.MitigationSummary(t), StaticDetails: activities.MitigationDetails,
	}), shivx.TypeMitigation, shivx.MitigationInput{
		SubsystemTarget: t, Reason: activities.ReasonForecast + f.why(subsystem), RequestedBy: f.in.RequestedBy,
	})
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	switch {
	case err == nil:
		f.begun[subsystem] = "is mitigated by " + id
	case temporal.IsWorkflowExecutionAlreadyStartedError(err):
		f.begun[subsystem] = "is under way: " + id
	case temporal.IsCanceledError(err):
		return err
	default: // the others are started all the same; the next forecast tries this one again
		workflow.GetLogger(ctx).Error("a mitigation was not started", "subsystem", subsystem, "error", reason(err))
		f.begun[subsystem] = "could not be started: " + reason(err)
		return nil
	}
	f.result.Mitigations = append(f.result.Mitigations, id)
	return nil
}

// why says in a line what is forecast of a subsystem.
func (f *faultForecast) why(subsystem string) string {
	for _, r := range f.result.Risks {
		if r.Subsystem == subsystem && r.Why != "" {
			return r.Why
		}
	}
	return subsystem + " is going to fail"
}

// failed turns the error of the look into the end of the run. People are told once a day of a host that is
// gone, and not by each run of its schedule.
func (f *faultForecast) failed(ctx workflow.Context, err error) error {
	if temporal.IsCanceledError(err) {
		return err
	}
	outcome := shivx.OutcomeFailed
	f.result.Message = reason(err)
	if hostVanished(err) {
		outcome = shivx.OutcomeUnreachable
		f.result.Message = "no agent of " + f.in.Host + " took the work within " + hostPatience.String()
		if !f.in.Plan {
			tell(ctx, activities.EscalateInput{
				Target: shivx.Target{Component: "forecast", Host: f.in.Host}, Run: shivx.FaultForecastID(f.in.Host), Outcome: outcome,
				Message: "the faults of " + f.in.Host + " are not forecast: " + f.result.Message,
				Hint:    "check that the host is up and its agent connected to Temporal",
				Key:     string(outcome) + "/" + workflow.Now(ctx).UTC().Format(time.DateOnly),
			}, true)
		}
	}
	f.show(ctx)
	if err := workflow.UpsertTypedSearchAttributes(ctx, activities.AttrOutcome.ValueSet(string(outcome))); err != nil {
		workflow.GetLogger(ctx).Warn("the outcome cannot be searched for", "error", err)
	}
	return temporal.NewNonRetryableApplicationError(string(outcome)+": "+f.result.Message, string(outcome), nil, f.result)
}

// summary says in a line how the host stands.
func (f *faultForecast) summary() string {
	if len(f.result.Risks) == 0 {
		return "no subsystem is watched"
	}
	alerts, unknown := 0, 0
	worst := f.result.Risks[0]
	for _, r := range f.result.Risks {
		if r.Missing != "" {
			unknown++
		}
		if rank(r) > rank(worst) {
			worst = r
		}
		if r.Alert {
			alerts++
		}
	}
	if unknown == len(f.result.Risks) {
		return fmt.Sprintf("nothing is known yet of %d subsystems", unknown)
	}
	line := fmt.Sprintf("%d of %d subsystems have an alert; the worst is %s, %d (%s)", alerts, len(f.result.Risks), worst.Subsystem, worst.Risk, worst.Color)
	if unknown > 0 {
		line += fmt.Sprintf("; nothing is known of %d", unknown)
	}
	return line
}

// colors are the colours of risks as people see them.
var colors = map[shivx.RiskColor]string{
	shivx.RiskGreen: "🟢", shivx.RiskYellow: "🟡", shivx.RiskOrange: "🟠", shivx.RiskRed: "🔴",
}

// show writes the heatmap where the Temporal UI shows it, the worst first.
func (f *faultForecast) show(ctx workflow.Context) {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n", activities.ForecastSummary(f.in.Host))
	if f.result.Message != "" {
		fmt.Fprintf(&b, "%s\n\n", cell(f.result.Message))
	}
	if !f.looked {
		workflow.SetCurrentDetails(ctx, b.String())
		return
	}
	b.WriteString("| | risk | subsystem | failure | what | mitigation |\n|---|---|---|---|---|---|\n")
	risks := slices.Clone(f.result.Risks)
	slices.SortStableFunc(risks, func(a, b shivx.Risk) int { return rank(b) - rank(a) })
	for _, r := range risks {
		if r.Missing != "" {
			fmt.Fprintf(&b, "| ⚪ unknown | – | %s | | %s | |\n", cell(r.Subsystem), cell(r.Missing))
			continue
		}
		what := r.Why
		if r.Alert {
			what = "**alert** " + what
		}
		fmt.Fprintf(&b, "| %s %s | %d | %s | %s | %s | %s |\n", colors[r.Color], r.Color, r.Risk, cell(r.Subsystem),
			cell(when(r.BreachAt, r.Low, r.High)), cell(what), cell(f.begun[r.Subsystem]))
	}
	fmt.Fprintf(&b, "\nas of %s\n", f.result.At.UTC().Format(time.RFC3339))
	workflow.SetCurrentDetails(ctx, b.String())
}

// rank orders risks; one of which nothing is known comes last.
func rank(r shivx.Risk) int {
	if r.Missing != "" {
		return -1
	}
	return r.Risk
}

// when says in words when a failure is forecast; "" when none is.
func when(at, low, high time.Time) string {
	if at.IsZero() {
		return ""
	}
	line := at.UTC().Format(time.DateTime) + " UTC"
	if !low.IsZero() && !high.IsZero() {
		line += fmt.Sprintf(" (80 %%: %s to %s)", low.UTC().Format(clock(at, low)), high.UTC().Format(clock(at, high)))
	}
	return line
}

// clock is how a time is written beside another: without its day where that is the same.
func clock(beside, t time.Time) string {
	if beside.UTC().Format(time.DateOnly) == t.UTC().Format(time.DateOnly) {
		return time.TimeOnly
	}
	return time.DateTime
}
