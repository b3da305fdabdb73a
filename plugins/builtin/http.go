package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/shivx/shivx/plugins/sdk"
)

// HTTP is the plugin "http": each step is a call of a service's own interface.
//
// What a call did on the other side cannot be looked up. What can be known is noted in the work
// folder: that a call was begun, and that it was answered.
type HTTP struct{ host *host }

var (
	_ sdk.Plugin             = (*HTTP)(nil)
	_ sdk.Isolator           = (*HTTP)(nil)
	_ sdk.Resumer            = (*HTTP)(nil)
	_ sdk.StepOptionsChecker = (*HTTP)(nil)
)

type httpOptions struct {
	Isolate     *httpCall `json:"isolate"`
	Reintegrate *httpCall `json:"reintegrate"`
	Recover     *httpCall `json:"recover"`
}

func (o httpOptions) calls() map[sdk.Step]*httpCall {
	return map[sdk.Step]*httpCall{sdk.StepIsolate: o.Isolate, sdk.StepReintegrate: o.Reintegrate, sdk.StepRecover: o.Recover}
}

type httpCall struct {
	// Method of the request; default POST.
	Method string `json:"method"`
	URL    string `json:"url"`
	// Headers of the request; values may be references: env:NAME, file:PATH.
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
	// Status codes of success; default 200–299.
	Status []int `json:"status"`
	// Repeat says that the call may be made twice without harm, whatever its method.
	Repeat bool `json:"repeat"`
}

func (c httpCall) method() string {
	if c.Method == "" {
		return http.MethodPost
	}
	return c.Method
}

// repeatable says whether the call may be made again when nobody knows whether it arrived;
// see RFC 9110, section 9.2.2.
func (c httpCall) repeatable() bool {
	return c.Repeat || slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions}, c.method())
}

// shown is the call for people, without the query, in which secrets may stand.
func (c httpCall) shown() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return c.method()
	}
	return c.method() + " " + (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// Describe says what the plugin is.
func (*HTTP) Describe() sdk.Description {
	return sdk.Description{
		Name: "http", Version: version, RecoveryType: "custom",
		Summary: "Calls a service's own HTTP interface to shed load, to put it back, or to recover",
	}
}

// CheckOptions checks the options of a hook, of the isolation or of a strategy.
func (*HTTP) CheckOptions(options json.RawMessage) error {
	var o httpOptions
	if err := sdk.Decode(options, &o); err != nil {
		return err
	}
	switch {
	case o.Isolate == nil && o.Reintegrate == nil && o.Recover == nil:
		return sdk.BadOption("isolate", "set isolate and reintegrate, or recover, each with a url", "nothing says what to call")
	case (o.Isolate == nil) != (o.Reintegrate == nil):
		have, lacks := "isolate", "reintegrate"
		if o.Isolate == nil {
			have, lacks = lacks, have
		}
		return sdk.BadOption(have, "add "+lacks, "has no opposite: what isolates must reintegrate")
	}
	for step, c := range o.calls() {
		if c == nil {
			continue
		}
		if err := c.check(string(step)); err != nil {
			return err
		}
	}
	return nil
}

// CheckOptionsFor wants, besides, what the step calls.
func (h *HTTP) CheckOptionsFor(step sdk.Step, options json.RawMessage) error {
	if err := h.CheckOptions(options); err != nil {
		return err
	}
	var o httpOptions
	if err := sdk.Decode(options, &o); err != nil {
		return err
	}
	switch {
	case step == sdk.StepRecover && o.Recover == nil:
		return sdk.BadOption("isolate", "add recover, with a url; a ladder calls nothing else", "is there, but no recover")
	case step == sdk.StepIsolate && o.Isolate == nil:
		return sdk.BadOption("recover", "add isolate and reintegrate, each with a url", "is there, but no isolate")
	}
	return nil
}

var (
	headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	methods    = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
)

func (c httpCall) check(step string) error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return sdk.BadOption(step+".url", "write http://HOST:PORT/PATH or https://…", "is not an HTTP address") // the address may hold a secret
	case u.User != nil:
		return sdk.BadOption(step+".url", "send it in a header: headers: {Authorization: env:NAME}", "holds a user or a password")
	case !slices.Contains(methods, c.method()):
		return sdk.BadOption(step+".method", "write one of "+strings.Join(methods, ", "), "%q is none", c.Method)
	}
	for name, value := range c.Headers {
		option := step + ".headers." + name
		variable, isEnv := strings.CutPrefix(value, "env:")
		file, isFile := strings.CutPrefix(value, "file:")
		switch {
		case !headerName.MatchString(name):
			return sdk.BadOption(option, "", "cannot be the name of a header")
		case isEnv && !envName.MatchString(variable):
			return sdk.BadOption(option, "write env:NAME with the name of an environment variable", "is no reference")
		case isFile && !filepath.IsAbs(file):
			return sdk.BadOption(option, "write file:PATH with an absolute path", "is no reference")
		case strings.ContainsAny(value, "\r\n\x00"):
			return sdk.BadOption(option, "write one line", "has a line break in it")
		}
	}
	for _, code := range c.Status {
		if code < 200 || code > 599 {
			return sdk.BadOption(step+".status", "write codes from 200 to 599", "%d is no status of an answer", code)
		}
	}
	return nil
}

// Isolate makes the call isolate.
func (h *HTTP) Isolate(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	return h.step(ctx, sdk.StepIsolate, req)
}

// Reintegrate makes the call reintegrate.
func (h *HTTP) Reintegrate(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	return h.step(ctx, sdk.StepReintegrate, req)
}

// Recover makes the call recover.
func (h *HTTP) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	return h.step(ctx, sdk.StepRecover, req)
}

// call returns the call that the options have for step.
func (h *HTTP) call(step sdk.Step, req sdk.Request) (*httpCall, error) {
	if err := h.CheckOptions(req.Options); err != nil {
		return nil, err
	}
	var o httpOptions
	if err := req.Decode(&o); err != nil {
		return nil, err
	}
	c := o.calls()[step]
	if c == nil {
		return nil, sdk.Failf(fmt.Sprintf("add %s: {method: POST, url: …} to the options of the plugin http", step), "no call is configured for step %s", step)
	}
	return c, nil
}

func (h *HTTP) step(ctx context.Context, step sdk.Step, req sdk.Request) (sdk.Result, error) {
	c, err := h.call(step, req)
	if err != nil {
		return sdk.Result{}, err
	}
	headers, err := c.resolve()
	if err != nil {
		return sdk.Result{}, err
	}
	if req.Plan {
		return sdk.Result{Summary: "would call " + c.shown(), Changes: []string{"call " + c.shown()}}, nil
	}
	file := workFile(req, "http.json")
	leave, err := h.host.alone(ctx, "http "+file+" "+req.Component)
	if err != nil {
		return sdk.Result{}, err
	}
	defer leave()
	notes, err := readNotes(file)
	if err != nil {
		return sdk.Result{}, err
	}
	if before := notes[step]; before.Key == req.Key && !c.repeatable() {
		if before.Answered {
			return sdk.Result{Summary: "had been answered before: " + c.shown()}, nil
		}
		return sdk.Result{}, unknownCall(c)
	}
	if err := notes.put(file, step, callNote{Key: req.Key}); err != nil {
		return sdk.Result{}, err
	}
	status, sent, err := c.do(ctx, headers)
	if err != nil {
		if sent && !c.repeatable() {
			return sdk.Result{}, err // nobody knows; the note stays
		}
		delete(notes, step)
		return sdk.Result{}, errors.Join(err, notes.write(file))
	}
	delete(notes, opposite(step))
	if err := notes.put(file, step, callNote{Key: req.Key, Answered: true}); err != nil {
		return sdk.Result{}, err
	}
	did := fmt.Sprintf("%s answered %d", c.shown(), status)
	return sdk.Result{Summary: did, Changes: []string{did}}, nil
}

// opposite is the step that the success of step takes back, so that it may be asked for again.
func opposite(step sdk.Step) sdk.Step {
	switch step {
	case sdk.StepIsolate:
		return sdk.StepReintegrate
	case sdk.StepReintegrate:
		return sdk.StepIsolate
	default:
		return ""
	}
}

func unknownCall(c *httpCall) error {
	return &sdk.Fail{
		Message: "an earlier attempt of " + c.shown() + " was cut off, and nobody knows whether it arrived",
		Hint:    "look at the service; if the call may be made twice without harm, add repeat: true", Err: sdk.ErrUnknown,
	}
}

// Mark has nothing to say: the notes tell.
func (h *HTTP) Mark(_ context.Context, step sdk.Step, req sdk.Request) (string, error) {
	_, err := h.call(step, req)
	return "", err
}

// Done says whether the call was answered. One that was begun and not answered has taken place
// for all we know; it counts as not done only when it may be made twice.
func (h *HTTP) Done(_ context.Context, step sdk.Step, req sdk.Request) (bool, error) {
	c, err := h.call(step, req)
	if err != nil {
		return false, err
	}
	file := workFile(req, "http.json")
	if file == "" {
		return false, sdk.ErrUnknown
	}
	notes, err := readNotes(file)
	if err != nil {
		return false, err
	}
	n := notes[step]
	switch {
	case n.Key != req.Key || c.repeatable() && !n.Answered:
		return false, nil
	case n.Answered:
		return true, nil
	}
	return false, unknownCall(c)
}
