package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
)

// overridePath is the agent's route for overrides.
const overridePath = "/api/resilience/override"

// clocksApart is how far the clocks of this machine and of Temporal may be apart.
const clocksApart = 20 * time.Second

// overrideFlags are the flags of shivx level set and clear.
type overrideFlags struct {
	host  string
	local bool
	time  time.Duration
	req   shivx.OverrideRequest
}

func (a *app) levelSetCommand() *cobra.Command {
	var o overrideFlags
	c := &cobra.Command{
		Use: "set LEVEL --for TIME --why TEXT", Short: "Hold a host at a level, whatever its score, until an end",
		Long: `Hold a host at a level, whatever its score, for a time of at most 7 days. A new override takes the
place of the one in force. Features and load shedding follow at once; who asked and why is in the
host's ledger.`,
		Example: `  shivx level set LEVEL_2 --for 30m --why "load test"
  shivx level set NORMAL --for 1h --why "false alarm, see ticket 42" --host web1
  shivx level set LEVEL_1 --for 2h --why "Temporal is being upgraded" --local`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return levelNames(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.RunE = a.does(func(cmd *cobra.Command, args []string) error {
		level, err := shivx.ParseLevel(args[0])
		if err != nil {
			return withCode(exitUsage, err)
		}
		o.req.Level, o.req.For = level, shivx.Duration(o.time)
		return a.override(cmd.Context(), o)
	})
	c.Flags().DurationVar(&o.time, "for", 0, "how long, such as 30m; at most 168h")
	c.Flags().StringVar(&o.req.Why, "why", "", "the reason, in one line")
	_, _ = c.MarkFlagRequired("for"), c.MarkFlagRequired("why")
	a.addOverrideFlags(c, &o)
	return c
}

func (a *app) levelClearCommand() *cobra.Command {
	o := overrideFlags{req: shivx.OverrideRequest{End: true}}
	c := &cobra.Command{
		Use: "clear", Short: "End an override before its time; the level follows the score again",
		Args: cobra.NoArgs,
		RunE: a.does(func(cmd *cobra.Command, _ []string) error { return a.override(cmd.Context(), o) }),
	}
	c.Flags().StringVar(&o.req.Why, "why", "", "the reason, in one line")
	a.addOverrideFlags(c, &o)
	return c
}

func (a *app) addOverrideFlags(c *cobra.Command, o *overrideFlags) {
	c.Flags().StringVar(&o.host, "host", "", "which host; not needed when there is one only")
	c.Flags().BoolVar(&o.local, "local", false, "ask the agent of this host over HTTP; works while Temporal is away")
	addBy(c, &o.req.By)
	c.MarkFlagsMutuallyExclusive("local", "host")
	_ = c.RegisterFlagCompletionFunc("host", func(cmd *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
		return a.completeHost(cmd, nil, part)
	})
}

func levelNames() []string {
	var names []string
	for _, l := range shivx.Levels() {
		names = append(names, string(l))
	}
	return names
}

// override carries out a request and says what came of it.
func (a *app) override(ctx context.Context, o overrideFlags) error {
	if err := o.req.Check(); err != nil {
		return withCode(exitUsage, err)
	}
	var change shivx.LevelChange
	var err error
	if o.local {
		change, err = a.overrideHere(ctx, o.req)
	} else {
		change, err = a.overrideThere(ctx, o)
	}
	if err != nil {
		return err
	}
	if a.json() {
		return a.document(change)
	}
	if v := change.Override; v != nil {
		a.out.printf("%s: held at %s until %s by %s, change %d", change.Host, change.To, moment(v.Until), v.By, change.Number)
		return nil
	}
	a.out.printf("%s: the override is ended by %s; the level is %s, change %d", change.Host, o.req.By, change.To, change.Number)
	return nil
}

// overrideThere asks the host through Temporal.
func (a *app) overrideThere(ctx context.Context, o overrideFlags) (shivx.LevelChange, error) {
	f, err := a.connect(ctx, dialPatience)
	if err != nil {
		return shivx.LevelChange{}, orLocally(err)
	}
	defer f.client.Close()
	host, err := f.host(ctx, o.host)
	if err != nil {
		return shivx.LevelChange{}, err
	}
	o.req.NotAfter = time.Now().Add(answerPatience + clocksApart)
	id := shivx.DegradationID(host)
	change, err := request[shivx.LevelChange](ctx, f, id, "", shivx.UpdateOverride, o.req)
	explained := explain(shivx.UpdateOverride+" "+id, err)
	if answerLost(err) {
		return change, mayBeTaken(explained, host)
	}
	return change, orLocally(explained)
}

// answerLost says whether a request was sent whose answer did not come: it may be carried out.
func answerLost(err error) bool {
	var app *temporal.ApplicationError
	var late *serviceerror.DeadlineExceeded
	var unavailable *serviceerror.Unavailable
	return !errors.As(err, &app) && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.As(err, &late) || errors.As(err, &unavailable))
}

// mayBeTaken adds to an error that the override may be in force all the same.
func mayBeTaken(err error, host string) error {
	advice := fmt.Sprintf("it may have been taken: shivx level %s shows it", host)
	if h := hintOf(err); h != "" {
		advice += "; " + h
	}
	code := exitError
	if coded, ok := errors.AsType[*codeError](err); ok {
		code = coded.code
	}
	return orLocally(withCode(code, hint(errors.New(err.Error()), advice)))
}

// orLocally adds to the error of a way that is blocked that there is another one.
func orLocally(err error) error {
	coded, ok := errors.AsType[*codeError](err)
	if !ok || coded.code != exitUnreachable && coded.code != exitNotHealed || strings.Contains(err.Error(), "--local") {
		return err
	}
	advice := "on the host itself it works without Temporal: add --local"
	if h := hintOf(err); h != "" {
		advice = h + "; " + advice
	}
	return withCode(coded.code, hint(errors.New(err.Error()), advice))
}

// overrideHere asks the agent of this host.
func (a *app) overrideHere(ctx context.Context, req shivx.OverrideRequest) (change shivx.LevelChange, err error) {
	c, err := a.agent()
	if err != nil {
		return change, err
	}
	c.key = rand.Text()
	change, err = c.override(ctx, req)
	if _, ok := errors.AsType[otherNameError](err); ok && req.By == me() {
		req.By = "" // only an administrator may speak for others; the agent knows whose token it is
		return c.override(ctx, req)
	}
	return change, err
}

// override sends the request.
func (c *agentClient) override(ctx context.Context, req shivx.OverrideRequest) (change shivx.LevelChange, err error) {
	if !req.End {
		err = c.send(ctx, http.MethodPost, overridePath, req, &change)
		return change, err
	}
	q := url.Values{}
	if req.By != "" {
		q.Set("by", req.By)
	}
	if req.Why != "" {
		q.Set("why", req.Why)
	}
	if err = c.send(ctx, http.MethodDelete, overridePath+"?"+q.Encode(), nil, &change); err != nil {
		return change, fmt.Errorf("end the override: %w", err)
	}
	return change, nil
}

// completeHost completes the first argument with the names of hosts.
func (a *app) completeHost(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeFirst(cmd, args, func(ctx context.Context, f *fleet) ([]string, error) {
		names, err := f.hosts(ctx)
		for i, n := range names {
			names[i] = clean(n)
		}
		return names, err
	})
}
