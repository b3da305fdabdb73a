package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// lookEvery is the time between two looks at a run that is followed.
const lookEvery = 200 * time.Millisecond

// Outcomes of runs that say nothing of their end themselves.
const (
	outcomeRunning    shivx.Outcome = "running"
	outcomeTerminated shivx.Outcome = "terminated"
	outcomeTimedOut   shivx.Outcome = "timed-out"
	outcomeCanceled   shivx.Outcome = "cancelled"
)

// result waits for the end of a run. What it returns is as good as the run left it.
func (f *fleet) result(ctx context.Context, ref activities.RunRef) (workflows.SelfHealResult, error) {
	var res workflows.SelfHealResult
	err := f.client.GetWorkflow(ctx, ref.WorkflowID, ref.RunID).Get(ctx, &res)
	return endOf(res, err, ref)
}

// endOf reads the result of a run out of the error with which it ended.
func endOf(res workflows.SelfHealResult, err error, ref activities.RunRef) (workflows.SelfHealResult, error) {
	outcome, message, err := ended(err, ref, &res)
	if res.Outcome == "" {
		res.Outcome, res.Message = outcome, message
	}
	return res, err
}

// ended reads into res the result that a failed run has as the details of its error, and says how a run ended
// that has none.
func ended(err error, ref activities.RunRef, res any) (outcome shivx.Outcome, message string, fault error) {
	var (
		app        *temporal.ApplicationError
		terminated *temporal.TerminatedError
		timeout    *temporal.TimeoutError
		canceled   *temporal.CanceledError
		ended      *temporal.WorkflowExecutionError
	)
	if err == nil {
		return "", "", nil
	}
	if !errors.As(err, &ended) {
		return "", "", explain("wait for "+ref.WorkflowID, err)
	}
	switch {
	case errors.As(err, &app):
		_ = app.Details(res) // one without a result has only its message
		return shivx.OutcomeFailed, app.Message(), nil
	case errors.As(err, &terminated):
		return outcomeTerminated, "ended by hand in Temporal, without compensation", nil
	case errors.As(err, &timeout):
		return outcomeTimedOut, "Temporal ended the run", nil
	case errors.As(err, &canceled):
		return outcomeCanceled, "", nil
	default:
		return shivx.OutcomeFailed, err.Error(), nil
	}
}

// watch asks a run again and again how it stands, until it has ended, and returns its result. A failure of the run is
// the error; of one that is not followed any more the error says so.
func watch[S any](ctx context.Context, f *fleet, run client.WorkflowRun, name string, seen func(S)) (json.RawMessage, error) {
	ended := make(chan error, 1)
	var result json.RawMessage
	go func() { ended <- run.Get(ctx, &result) }()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		var err error
		over := false
		select {
		case err = <-ended:
			over = true
		case <-look.C:
		}
		if ctx.Err() != nil {
			return nil, hint(fmt.Errorf("no longer following %s; the run goes on", run.GetID()), "stop it with: shivx abort "+run.GetID())
		}
		if s, lookErr := query[S](ctx, f, run.GetID(), run.GetRunID(), name); lookErr == nil {
			seen(s)
		}
		if over {
			return result, err
		}
	}
}

// runWaits tells what a run waits for.
func (a *app) runWaits(ref activities.RunRef, what string, approval *shivx.Approval) {
	if a.json() {
		line := map[string]any{"waits_for": what}
		if approval != nil {
			line["approval"] = approval
		}
		_ = a.jsonLine(a.err.w, line)
		return
	}
	a.out.line(yellow, what)
	if approval != nil {
		a.out.line(yellow, "answer with: shivx approve "+ref.WorkflowID+" [--deny]")
	}
}

// follow shows a run until it ends.
func (a *app) follow(ctx context.Context, f *fleet, t shivx.Target, ref activities.RunRef) (workflows.SelfHealResult, error) {
	type end struct {
		res workflows.SelfHealResult
		err error
	}
	ended := make(chan end, 1)
	go func() {
		res, err := f.result(ctx, ref)
		ended <- end{res, err}
	}()
	v := view{s: a.out, silent: a.json(), printed: map[string]string{}}
	v.s.wide = false // a line that wraps cannot be drawn again
	watching, stop := context.WithCancel(ctx)
	defer stop()
	looks := f.looks(watching, ref)
	for {
		select {
		case e := <-ended:
			if ctx.Err() != nil {
				return e.res, hint(fmt.Errorf("no longer following %s; the run goes on", ref.WorkflowID), "stop it with: shivx abort "+t.String())
			}
			if e.err == nil {
				if e.res.Component == "" {
					e.res.Target = t
				}
				v.show(workflows.SelfHealStatus{Steps: e.res.Steps})
			}
			return e.res, e.err
		case status := <-looks:
			v.show(status)
		}
	}
}

// looks asks a run for its status again and again until ctx ends. A question without an answer
// is asked again: the end of the run is waited for beside.
func (f *fleet) looks(ctx context.Context, ref activities.RunRef) <-chan workflows.SelfHealStatus {
	looks := make(chan workflows.SelfHealStatus)
	go func() {
		for ctx.Err() == nil {
			status, err := query[workflows.SelfHealStatus](ctx, f, ref.WorkflowID, ref.RunID, shivx.QueryStatus)
			if err == nil {
				select {
				case looks <- status:
				case <-ctx.Done():
				}
			}
			select {
			case <-time.After(lookEvery):
			case <-ctx.Done():
			}
		}
	}()
	return looks
}

// view is a run on the screen: a table drawn again and again on a terminal, else one line for
// each change.
type view struct {
	s      screen
	silent bool
	drawn  int
	// printed holds what was last said of each step, and of what the run waits for.
	printed map[string]string
}

func (v *view) show(st workflows.SelfHealStatus) {
	switch {
	case v.silent || len(st.Steps) == 0:
	case v.s.tty:
		v.draw(st)
	default:
		v.tell(st)
	}
}

// draw replaces what was drawn before.
func (v *view) draw(st workflows.SelfHealStatus) {
	t := stepTable(st.Steps)
	lines := t.render(&v.s, false)
	if w := waits(st); w != "" {
		columns := v.s.columns()
		if columns == 0 {
			columns = 80
		}
		lines = append(lines, v.s.paint(yellow, cut(clean(w), columns)))
	}
	if _, rows := v.s.size(); rows > 2 && len(lines) > rows-1 {
		lines = lines[len(lines)-(rows-1):] // what has scrolled away cannot be drawn again
	}
	back := ""
	if v.drawn > 0 {
		back = fmt.Sprintf("\x1b[%dA\r\x1b[J", v.drawn)
	}
	_, _ = fmt.Fprint(v.s.w, back+strings.Join(lines, "\n")+"\n")
	v.drawn = len(lines)
}

// tell prints what has changed.
func (v *view) tell(st workflows.SelfHealStatus) {
	for _, s := range st.Steps {
		key := fmt.Sprint(s.Step, s.Strategy, s.Attempt, s.Started)
		if s.State == "waiting" || v.printed[key] == s.State {
			continue
		}
		v.printed[key] = s.State
		line := fmt.Sprintf("%s %s", marks[s.State].text, s.Step)
		if s.Strategy != "" {
			line += " by " + rungOf(s)
		}
		line += ": " + s.State
		if s.Took > 0 {
			line += " in " + took(s.Took.Std())
		}
		if s.Summary != "" {
			line += " — " + s.Summary
		}
		v.s.line(marks[s.State].style, line)
	}
	if w := waits(st); w != v.printed[""] {
		if v.printed[""] = w; w != "" {
			v.s.line(yellow, w)
		}
	}
}

func waits(st workflows.SelfHealStatus) string {
	switch {
	case st.WaitsFor == "":
		return ""
	case st.Approval != nil:
		return fmt.Sprintf("… %s; answer with: shivx approve %s [--deny]", st.WaitsFor, st.Target)
	case st.Paused != "":
		return fmt.Sprintf("… %s; go on with: shivx resume %s", st.WaitsFor, st.Target)
	}
	return "… " + st.WaitsFor
}

var marks = map[string]cell{
	"waiting": {"·", faint}, "running": {"▶", cyan}, "done": {"✔", green}, "skipped": {"–", faint}, "failed": {"✘", red},
}

// stepTable is the story of a run.
func stepTable(steps []activities.StepReport) table {
	t := table{free: []int{4}}
	for _, s := range steps {
		d := s.Took.Std()
		if s.State == "running" {
			d = time.Since(s.Started).Truncate(100 * time.Millisecond)
		}
		t.add(marks[s.State], text(string(s.Step)), text(rungOf(s)), cell{took(d), faint}, text(s.Summary))
	}
	return t
}

// rungOf names the strategy and, from the second on, the attempt.
func rungOf(s activities.StepReport) string {
	if s.Attempt > 1 {
		return fmt.Sprintf("%s (attempt %d)", s.Strategy, s.Attempt)
	}
	return s.Strategy
}
