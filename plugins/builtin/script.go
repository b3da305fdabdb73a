package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/shivx/shivx/plugins/sdk"
)

// Script is the plugin "script", for those who write no plugin: executables named after the steps.
//
// Each gets the request as JSON on standard input and in SHIVX_ variables, writes lines for
// people to standard error while it works, and at its end to standard output either
// {"summary":…,"changes":[…]} or plain text. Exit status 0 is success, 75 (EX_TEMPFAIL) a
// failure worth another try, anything else a failure.
type Script struct{}

var (
	_ sdk.Plugin             = Script{}
	_ sdk.Isolator           = Script{}
	_ sdk.Checkpointer       = Script{}
	_ sdk.Validator          = Script{}
	_ sdk.Undoer             = Script{}
	_ sdk.Resumer            = Script{}
	_ sdk.StepOptionsChecker = Script{}
)

type scriptOptions struct {
	// Dir is a folder with executables named after the steps.
	Dir string `json:"dir"`
	// Plan says that the scripts heed SHIVX_PLAN; others are not run for a plan.
	Plan bool `json:"plan"`

	Isolate     []string `json:"isolate"`
	Checkpoint  []string `json:"checkpoint"`
	Recover     []string `json:"recover"`
	Validate    []string `json:"validate"`
	Reintegrate []string `json:"reintegrate"`
	Undo        []string `json:"undo"`
	Mark        []string `json:"mark"`
	Done        []string `json:"done"`
}

// given returns the command the options give for each step.
func (o scriptOptions) given() map[sdk.Step][]string {
	return map[sdk.Step][]string{
		sdk.StepIsolate: o.Isolate, sdk.StepCheckpoint: o.Checkpoint, sdk.StepRecover: o.Recover,
		sdk.StepValidate: o.Validate, sdk.StepReintegrate: o.Reintegrate, sdk.StepUndo: o.Undo,
		sdk.StepMark: o.Mark, sdk.StepDone: o.Done,
	}
}

// command returns what to run for step: the command of the options, else the file in Dir,
// else nothing.
func (o scriptOptions) command(step sdk.Step) ([]string, error) {
	argv := o.given()[step]
	if len(argv) == 0 && o.Dir != "" {
		path := filepath.Join(o.Dir, string(step))
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		argv = []string{path}
	}
	if len(argv) == 0 {
		return nil, nil
	}
	if _, err := exec.LookPath(argv[0]); err != nil {
		return nil, sdk.BadOption(string(step), "give the path of an executable file; chmod +x makes one of a script", "%v", err)
	}
	return argv, nil
}

// Describe says what the plugin is.
func (Script) Describe() sdk.Description {
	return sdk.Description{
		Name: "script", Version: "1", RecoveryType: "custom",
		Summary: "runs executables named after the steps",
	}
}

// CheckOptions wants an executable for recover, or for both isolate and reintegrate, and every
// other one that is given to be executable.
func (Script) CheckOptions(options json.RawMessage) error {
	var o scriptOptions
	if err := sdk.Decode(options, &o); err != nil {
		return err
	}
	if o.Dir != "" {
		if !filepath.IsAbs(o.Dir) {
			return sdk.BadOption("dir", "write the whole path", "%q is not absolute", o.Dir)
		}
		info, err := os.Stat(o.Dir)
		if err != nil {
			return sdk.BadOption("dir", "make the folder, with an executable named recover in it", "%v", err)
		}
		if !info.IsDir() {
			return sdk.BadOption("dir", "", "%s is not a folder", o.Dir)
		}
	}
	has := map[sdk.Step]bool{}
	for step := range o.given() {
		argv, err := o.command(step)
		if err != nil {
			return err
		}
		has[step] = argv != nil
	}
	switch {
	case has[sdk.StepRecover], has[sdk.StepIsolate] && has[sdk.StepReintegrate]:
		return nil
	case has[sdk.StepIsolate]:
		return sdk.BadOption(string(sdk.StepIsolate), "add a command or an executable for reintegrate", "has no opposite: what isolates must reintegrate")
	}
	return noRecover(o)
}

// CheckOptionsFor wants, besides, what the step runs.
func (s Script) CheckOptionsFor(step sdk.Step, options json.RawMessage) error {
	if err := s.CheckOptions(options); err != nil {
		return err
	}
	var o scriptOptions
	if err := sdk.Decode(options, &o); err != nil {
		return err
	}
	if argv, err := o.command(step); argv != nil || err != nil {
		return err
	}
	switch {
	case step == sdk.StepRecover && o.Dir != "":
		return noRecover(o)
	case step == sdk.StepRecover:
		return sdk.BadOption("isolate", "add recover: [/path/of/script, argument]; a ladder runs it, not isolate", "is there, but no recover")
	case o.Dir != "":
		return sdk.BadOption("dir", "write the executables isolate and reintegrate", "%s has no executable named %s", o.Dir, step)
	}
	return sdk.BadOption("recover", "add isolate: [/path/of/script, argument], and reintegrate", "is there, but no isolate")
}

func noRecover(o scriptOptions) error {
	if o.Dir != "" {
		return sdk.BadOption("dir", "write an executable "+filepath.Join(o.Dir, "recover"), "%s has no executable named recover", o.Dir)
	}
	return sdk.BadOption("recover", `write recover: [/path/of/script, argument], or isolate and reintegrate, or dir: /folder/of/scripts`, "there is nothing to run")
}

// Recover runs the script recover, which must exist.
func (s Script) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	return s.step(ctx, sdk.StepRecover, req)
}

// Isolate runs the script isolate, if there is one.
func (s Script) Isolate(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	return s.step(ctx, sdk.StepIsolate, req)
}

// Reintegrate runs the script reintegrate, if there is one.
func (s Script) Reintegrate(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	return s.step(ctx, sdk.StepReintegrate, req)
}

// Checkpoint runs the script checkpoint, if there is one.
func (s Script) Checkpoint(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	return s.step(ctx, sdk.StepCheckpoint, req)
}

// Validate runs the script validate, if there is one.
func (s Script) Validate(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	return s.step(ctx, sdk.StepValidate, req)
}

// Undo runs the script undo, if there is one.
func (s Script) Undo(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	return s.step(ctx, sdk.StepUndo, req)
}

func (s Script) step(ctx context.Context, step sdk.Step, req sdk.Request) (sdk.Result, error) {
	answer, ran, err := s.run(ctx, step, req)
	if err != nil || ran {
		return sdk.Result{Summary: answer.Summary, Changes: answer.Changes}, err
	}
	return sdk.Result{Summary: fmt.Sprintf("no %s script", step)}, nil
}

// Mark answers what the script mark prints, and "" without one.
func (s Script) Mark(ctx context.Context, step sdk.Step, req sdk.Request) (string, error) {
	req.Of = step
	answer, _, err := s.run(ctx, sdk.StepMark, req)
	return answer.Mark, err
}

// Done answers what the script done prints: yes or no. Without one it cannot tell.
func (s Script) Done(ctx context.Context, step sdk.Step, req sdk.Request) (bool, error) {
	req.Of = step
	answer, ran, err := s.run(ctx, sdk.StepDone, req)
	switch {
	case err != nil:
		return false, err
	case !ran:
		return false, &sdk.Fail{Message: "no done script", Err: sdk.ErrUnknown}
	case answer.Done == nil:
		return false, &sdk.Fail{Message: "the done script printed neither yes nor no", Hint: `print yes, no or {"done":true}`, Err: sdk.ErrUnknown}
	}
	return *answer.Done, nil
}

// scriptAnswer is what a script prints.
type scriptAnswer struct {
	Summary string   `json:"summary"`
	Changes []string `json:"changes"`
	Mark    string   `json:"mark"`
	Done    *bool    `json:"done"`
}

// run runs the script of step; ran is false when there is none or the plan does not run it.
func (Script) run(ctx context.Context, step sdk.Step, req sdk.Request) (answer scriptAnswer, ran bool, err error) {
	var o scriptOptions
	if err := req.Decode(&o); err != nil {
		return scriptAnswer{}, false, err
	}
	argv, err := o.command(step)
	if err != nil {
		return scriptAnswer{}, false, err
	}
	if argv == nil {
		if step == sdk.StepRecover {
			return scriptAnswer{}, false, noRecover(o)
		}
		return scriptAnswer{}, false, nil
	}
	if req.Plan && !o.Plan {
		if step == sdk.StepMark || step == sdk.StepDone {
			return scriptAnswer{}, false, nil
		}
		would := strings.Join(argv, " ")
		return scriptAnswer{Summary: "would run " + would, Changes: []string{"run " + would}}, true, nil
	}
	out, err := runScript(ctx, scriptCall{argv: argv, dir: o.Dir, step: step, req: req.Folders(ctx)})
	if err != nil {
		return scriptAnswer{}, true, err
	}
	answer, err = parseAnswer(step, argv[0], out)
	return answer, true, err
}

// parseAnswer reads what the script of step printed.
func parseAnswer(step sdk.Step, name string, out []byte) (scriptAnswer, error) {
	text := strings.TrimSpace(string(out))
	var answer scriptAnswer
	if strings.HasPrefix(text, "{") {
		if err := sdk.Decode([]byte(text), &answer); err != nil {
			return answer, &sdk.Fail{
				Message: fmt.Sprintf("%s printed JSON that is no answer: %v", name, err),
				Hint:    `print {"summary":"…","changes":["…"]} or plain text`,
			}
		}
		return answer, nil
	}
	switch step {
	case sdk.StepMark:
		answer.Mark = text
	case sdk.StepDone:
		yes := strings.EqualFold(text, "yes") || strings.EqualFold(text, "true")
		if yes || strings.EqualFold(text, "no") || strings.EqualFold(text, "false") {
			answer.Done = &yes
		}
	default:
		summary, rest, _ := strings.Cut(text, "\n")
		answer.Summary = summary
		if summary == "" {
			answer.Summary = "ran " + name
		}
		for l := range strings.Lines(rest) {
			answer.Changes = append(answer.Changes, strings.TrimSpace(l))
		}
	}
	return answer, nil
}
