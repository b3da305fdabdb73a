package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

// Exit codes; exitCodes tells people of them.
const (
	exitOK = iota
	exitError
	exitUsage
	exitNotHealed
	exitTampered
	exitRefused
	exitUnreachable
)

// codeError is an error with its exit code. Without an error nothing more is said.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *codeError) Unwrap() error { return e.err }

// withCode gives err an exit code.
func withCode(code int, err error) error { return &codeError{code, err} }

// quiet ends the program with a code; what there is to say was said.
func quiet(code int) error {
	if code == exitOK {
		return nil
	}
	return &codeError{code: code}
}

func usagef(format string, args ...any) error {
	return withCode(exitUsage, fmt.Errorf(format, args...))
}

func hint(err error, text string) error { return shivx.Hint(err, text) }

// report tells the user of err and returns the exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	code := exitError
	var coded *codeError
	switch {
	case errors.As(err, &coded):
		code = coded.code
		if coded.err == nil {
			return code
		}
	case !a.began:
		code = exitUsage
	}
	advice := hintOf(err)
	if advice == "" && code == exitUsage && !a.began && cmd != nil {
		advice = "see: " + cmd.CommandPath() + " --help"
	}
	if isGolden(cmd) {
		if advice = a.dressed(advice); a.json() {
			a.reportGolden(err, advice, code)
			return code
		}
	}
	text := "shivx: " + err.Error()
	if advice != "" {
		text += " — " + advice
	}
	a.err.line(red, text)
	return code
}

func hintOf(err error) string {
	if h := shivx.HintOf(err); h != "" {
		return h
	}
	if fail, ok := errors.AsType[*sdk.Fail](err); ok && fail.Hint != "" {
		return fail.Hint
	}
	// Any file may be the one for which there is no room.
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return "make room on that disk, or remove files from it, then do it again"
	}
	return ""
}

// problemsOf returns the problems of a configuration file, if err holds them.
func problemsOf(err error) (config.Errors, bool) {
	if p, ok := errors.AsType[*config.Errors](err); ok {
		return *p, true
	}
	return nil, false
}

// refusals are the error types by which a workflow says that it will not do what is asked.
var refusals = map[string]bool{
	activities.ErrBusy: true, activities.ErrNoOverride: true, "NotWaiting": true, "NotAllowed": true, "NotIsolated": true, "NoLockdown": true,
	"ChildWorkflowExecutionAlreadyStartedError": true,
}

// explain gives an error of Temporal the exit code and the hint that fit it. doing says what was
// asked for.
func explain(doing string, err error) error {
	var coded *codeError
	if err == nil || errors.As(err, &coded) {
		return err
	}
	var (
		app         *temporal.ApplicationError
		notFound    *serviceerror.NotFound
		noNamespace *serviceerror.NamespaceNotFound
		invalid     *serviceerror.InvalidArgument
		denied      *serviceerror.PermissionDenied
		unavailable *serviceerror.Unavailable
		noPoller    *serviceerror.FailedPrecondition
		notReady    *serviceerror.WorkflowNotReady
		late        *serviceerror.DeadlineExceeded
	)
	switch {
	case errors.As(err, &app):
		return explainApplication(app)
	case errors.As(err, &noNamespace):
		return withCode(exitUsage, hint(fmt.Errorf("%s: %w", doing, err), "give --namespace or TEMPORAL_NAMESPACE"))
	case errors.As(err, &notFound):
		return hint(fmt.Errorf("%s: %w", doing, err), "shivx runs lists what runs and ran")
	case errors.As(err, &denied):
		return hint(fmt.Errorf("%s: %w", doing, err), "check TEMPORAL_API_KEY and the certificates of the profile")
	case errors.As(err, &invalid):
		return hint(fmt.Errorf("%s: %w", doing, err), "has an agent connected to this namespace yet? it creates the search attributes")
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: interrupted", doing)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &late), errors.As(err, &noPoller), errors.As(err, &notReady):
		return withCode(exitNotHealed, hint(fmt.Errorf("%s: no agent answered within %s", doing, answerPatience),
			"is the agent up and connected to Temporal?"))
	case errors.As(err, &unavailable):
		return withCode(exitUnreachable, hint(fmt.Errorf("%s: %w", doing, err), "is the server up?"))
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// explainApplication passes on what a workflow said.
func explainApplication(app *temporal.ApplicationError) error {
	err := errors.New(app.Message())
	switch {
	case refusals[app.Type()]:
		return withCode(exitRefused, err)
	case app.Type() == activities.ErrHostAway:
		return withCode(exitNotHealed, err)
	case app.Type() == "BadInput":
		return withCode(exitUsage, err)
	}
	return err
}

// otherNameError is an agent's refusal of what is asked for in the name of another.
type otherNameError struct{ error }

// notThereError is an agent's answer that there is no such thing.
type notThereError struct{ error }

func (e notThereError) Unwrap() error { return e.error }
