package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"

	"github.com/shivx/shivx"
	guardianacts "github.com/shivx/shivx/activities/guardian"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/builtin"
	"github.com/shivx/shivx/workflows"
)

const (
	// defaultTerm of an isolation that is begun in Temporal; a host's own grows with each offence.
	defaultTerm = time.Hour
	// settlePatience is how long a run may take to say what holds after it was told something.
	settlePatience = 3 * time.Second
)

// sparesMe refuses to isolate the address from which this session is logged in.
func (o *isolationFlags) sparesMe() error {
	from, _, _ := strings.Cut(loggedInBy(), " ")
	a, err := netip.ParseAddr(from)
	p, sourceErr := shivx.ParseSource(o.req.Source)
	if o.myself || err != nil || sourceErr != nil || !p.Contains(a.Unmap().WithZone("")) {
		return nil
	}
	return hint(withCode(exitRefused, fmt.Errorf("that would keep you out: you are logged in from %s", from)),
		"put your address in guardian.allow first, or add --myself")
}

// loggedInBy returns the SSH connection of this session; "" when there is none. As sudo and su take it out of
// the environment, that of the processes that have started this one is read, too.
func loggedInBy() string {
	names := []string{"SSH_CONNECTION", "SSH_CLIENT"}
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	if _, emptied := os.LookupEnv(names[0]); emptied {
		return ""
	}
	for pid := os.Getppid(); pid > 1; pid = parentOf(pid) {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			return "" // it is another account's
		}
		for one := range strings.SplitSeq(string(environ), "\x00") {
			if name, value, _ := strings.Cut(one, "="); slices.Contains(names, name) {
				return value
			}
		}
	}
	return ""
}

// parentOf returns the process that has started another one; 0 when that cannot be known.
func parentOf(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name before stands in brackets, and may have any.
	after := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(after) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(after[1])
	if err != nil {
		return 0
	}
	return parent
}

// outcome is what came of a request about a source.
type outcome struct {
	shivx.Isolation
	// Waits is true when Temporal keeps the request for an agent to come.
	Waits bool `json:"waits_for_agent,omitempty"`
	// Longer is true when the source was isolated before, for longer than was asked for.
	Longer bool `json:"held_before,omitempty"`
}

// changeIsolation carries a request out, through Temporal or here, and says what came of it.
func (a *app) changeIsolation(ctx context.Context, o isolationFlags,
	there func(context.Context, *fleet, shivx.IsolationRequest) (outcome, error),
	here func(context.Context, *agentClient, shivx.IsolationRequest) (shivx.Isolation, error),
) error {
	var done outcome
	err := a.waiting(func() (err error) {
		if !o.local {
			done, err = a.askFleet(ctx, o.req, there)
			return err
		}
		done.Isolation, err = asMyself(a, o.req.By, func(ag *agentClient, by string) (shivx.Isolation, error) {
			req := o.req
			req.By = by
			return here(ctx, ag, req)
		})
		return notThere(o.req.Source, err)
	})
	if err != nil {
		return err
	}
	if a.json() {
		return a.document(done)
	}
	if done.Lifted {
		a.out.printf("%s: let go by %s", done.Source, done.By)
	} else {
		a.out.printf("%s: isolated %s by %s", done.Source, untilOf(done.Isolation), done.By)
	}
	if done.Longer {
		a.out.line(yellow, "it was isolated before, and the longer term holds; to change it: shivx guardian extend "+done.Source)
	}
	if !done.Lifted && a.allows(done.Source) {
		a.out.line(yellow, "it is on this host's allow list, which outranks that: here nothing keeps it out")
	}
	switch {
	case done.Waits:
		a.out.line(yellow, "no agent answers just now: Temporal keeps the request, and hosts follow when they are back; on a host itself: add --local")
	case o.local:
		a.out.line(faint, "it holds on this host now; the fleet is told through Temporal")
	default:
		a.out.line(faint, "hosts follow within seconds")
	}
	return nil
}

// allows says whether the allow list of this host's configuration has all of a source.
func (a *app) allows(source string) bool {
	cfg, err := config.Load(orElse(a.configPath(), systemConfig), builtin.Known())
	p, sourceErr := shivx.ParseSource(source)
	if err != nil || sourceErr != nil {
		return false // what is wrong with a configuration is told where it is needed
	}
	return slices.ContainsFunc(cfg.Guardian.Allow, func(text string) bool {
		allowed, err := shivx.ParseSource(text)
		return err == nil && allowed.Bits() <= p.Bits() && allowed.Contains(p.Addr())
	})
}

func (a *app) askFleet(ctx context.Context, req shivx.IsolationRequest,
	there func(context.Context, *fleet, shivx.IsolationRequest) (outcome, error),
) (outcome, error) {
	f, err := a.connect(ctx, dialPatience)
	if err != nil {
		return outcome{}, orLocally(err)
	}
	defer f.client.Close()
	done, err := there(ctx, f, req)
	return done, orLocally(err)
}

// isolateThere starts the source's ThreatIsolation, or gives the one that runs the new term.
func (a *app) isolateThere(ctx context.Context, f *fleet, req shivx.IsolationRequest) (outcome, error) {
	now := time.Now().UTC()
	i := shivx.Isolation{
		Source: req.Source, Since: now, Type: shivx.ThreatReported, Reason: orElse(req.Why, "isolated by hand"), Why: req.Why, By: req.By,
		Changed: now, Offence: 1}
	if !req.Indefinite {
		term := req.For.Std()
		if term == 0 {
			term = defaultTerm
		}
		i.Until = now.Add(term)
	}
	id := shivx.IsolationID(req.Source)
	_, err := f.client.SignalWithStartWorkflow(ctx, id, shivx.SignalIsolate, i,
		guardianacts.IsolationOptions(f.runbookQueue(ctx), i), shivx.TypeThreatIsolation, workflows.IsolationInput{Source: req.Source})
	if err != nil {
		return outcome{}, explain("isolate "+req.Source, err)
	}
	// One that held before may hold for longer.
	limited, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	state, err := query[workflows.IsolationState](limited, f, id, "", shivx.QueryStatus)
	if err != nil || state.Source == "" {
		return outcome{Isolation: i, Waits: true}, ctx.Err()
	}
	longer := !i.Until.IsZero() && (state.Until.IsZero() || state.Until.After(i.Until))
	return outcome{Isolation: state.Isolation, Longer: longer}, nil
}

func (a *app) extendThere(ctx context.Context, f *fleet, req shivx.IsolationRequest) (outcome, error) {
	id := shivx.IsolationID(req.Source)
	i, err := request[shivx.Isolation](ctx, f, id, "", shivx.UpdateExtend, req)
	if answerLost(err) {
		return outcome{}, mayHold(explain(shivx.UpdateExtend+" "+id, err))
	}
	return outcome{Isolation: i}, notThere(req.Source, explain(shivx.UpdateExtend+" "+id, err))
}

// restoreThere asks the source's run to let it go, and waits until it has ended.
func (a *app) restoreThere(ctx context.Context, f *fleet, req shivx.IsolationRequest) (outcome, error) {
	id := shivx.IsolationID(req.Source)
	done := outcome{Isolation: shivx.Isolation{Source: req.Source, Lifted: true, By: req.By, Why: req.Why, Changed: time.Now().UTC()}}
	d, err := f.client.DescribeWorkflowExecution(ctx, id, "")
	if err == nil {
		err = f.client.SignalWorkflow(ctx, id, d.GetWorkflowExecutionInfo().GetExecution().GetRunId(), shivx.SignalRestore,
			shivx.IsolationRequest{Source: req.Source, By: req.By, Why: req.Why})
	}
	if err != nil {
		return done, notThere(req.Source, explain("restore "+req.Source, err))
	}
	limited, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	run := f.client.GetWorkflow(ctx, id, d.GetWorkflowExecutionInfo().GetExecution().GetRunId())
	switch err := inTime(ctx, limited, run.Get(limited, nil)); {
	case err == nil:
		return done, nil
	case errors.Is(err, context.DeadlineExceeded):
		done.Waits = true
		return done, nil
	default:
		return done, explain("restore "+req.Source, err)
	}
}

// notThere says in plain words that a source is not isolated, whoever says so.
func notThere(source string, err error) error {
	_, noRun := errors.AsType[*serviceerror.NotFound](err)
	_, notHere := errors.AsType[notThereError](err)
	switch kind, _, _ := strings.Cut(source, ":"); {
	case !noRun && !notHere:
		return err
	case kind == "process" || kind == "user" || kind == "cgroup":
		return hint(withCode(exitRefused, fmt.Errorf("%s is neither frozen nor limited", source)), "shivx guardian status lists what is")
	case notHere:
		return hint(withCode(exitRefused, fmt.Errorf("%s is not isolated", source)), "shivx guardian status lists what is")
	}
	return hint(withCode(exitRefused, fmt.Errorf("%s is not isolated", source)),
		"shivx guardian status --fleet lists what is; what Temporal was not told of yet is on its host alone: add --local there")
}

// mayHold adds to an error without an answer that what was asked for may hold all the same.
func mayHold(err error) error {
	advice := "it may have been taken: shivx guardian status --fleet shows it"
	if h := hintOf(err); h != "" {
		advice += "; " + h
	}
	code := exitError
	if coded, ok := errors.AsType[*codeError](err); ok {
		code = coded.code
	}
	return withCode(code, hint(errors.New(err.Error()), advice))
}
