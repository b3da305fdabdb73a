package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
)

const isolationsPath = "/api/guardian/isolations"

// isolationFlags are those of the commands that change an isolation.
type isolationFlags struct {
	local bool
	time  time.Duration
	req   shivx.IsolationRequest
	// myself isolates also where the request comes from.
	myself bool
}

func (a *app) guardianIsolateCommand() *cobra.Command {
	var o isolationFlags
	c := &cobra.Command{
		Use: "isolate SOURCE", Short: "Keep an address or network out, on every host",
		Long: `Keeps an address (203.0.113.7; of IPv6 its /64) or network (203.0.113.0/24) out, on every host of the
fleet within seconds, for a time or until it is restored. The allow list outranks it. Of several terms
for a source the longest holds; to shorten one: shivx guardian extend.`,
		Example: `  shivx guardian isolate 203.0.113.7 --why "tries our customers' passwords"
  shivx guardian isolate 198.51.100.0/24 --for 24h --why "see ticket 42"
  shivx guardian isolate 203.0.113.7 --indefinite --why "known bad" --local`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.RunE = a.does(func(cmd *cobra.Command, args []string) error {
		if err := o.take(args[0]); err != nil {
			return err
		}
		if err := o.sparesMe(); err != nil {
			return err
		}
		return a.changeIsolation(cmd.Context(), o, a.isolateThere, func(ctx context.Context, ag *agentClient, req shivx.IsolationRequest) (i shivx.Isolation, err error) {
			err = ag.send(ctx, http.MethodPost, isolationsPath, req, &i)
			return i, err
		})
	})
	o.addTo(c)
	c.Flags().BoolVar(&o.myself, "myself", false, "isolate it although you are logged in from there")
	return c
}

func (a *app) guardianExtendCommand() *cobra.Command {
	var o isolationFlags
	c := &cobra.Command{
		Use: "extend SOURCE (--for TIME | --indefinite)", Short: "Change the term of an isolated source",
		Long: "Gives an isolated source a new term, counted from now; it may be shorter than the one before.",
		Example: `  shivx guardian extend 203.0.113.7 --for 24h --why "comes back each night"
  shivx guardian extend 203.0.113.7 --indefinite --why "known bad"`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeSource,
	}
	c.RunE = a.does(func(cmd *cobra.Command, args []string) error {
		if err := o.take(args[0]); err != nil {
			return err
		}
		if o.req.For == 0 && !o.req.Indefinite {
			return hint(usagef("an extension needs a term"), "add --for TIME or --indefinite")
		}
		return a.changeIsolation(cmd.Context(), o, a.extendThere, func(ctx context.Context, ag *agentClient, req shivx.IsolationRequest) (i shivx.Isolation, err error) {
			err = ag.send(ctx, http.MethodPut, isolationsPath+"/"+url.PathEscape(req.Source), req, &i)
			return i, err
		})
	})
	o.addTo(c)
	return c
}

func (o *isolationFlags) addTo(c *cobra.Command) {
	c.Flags().DurationVar(&o.time, "for", 0, "how long, such as 1h; without it the configured term, or 1h through Temporal")
	c.Flags().BoolVar(&o.req.Indefinite, "indefinite", false, "until it is restored by hand")
	c.MarkFlagsMutuallyExclusive("for", "indefinite")
	o.addReason(c)
}

func (o *isolationFlags) addReason(c *cobra.Command) {
	c.Flags().StringVar(&o.req.Why, "why", "", "the reason, in one line")
	addLocal(c, &o.local)
	addBy(c, &o.req.By)
}

// take completes the request from the command line and checks it.
func (o *isolationFlags) take(source string) error {
	o.req.Source, o.req.For = source, shivx.Duration(o.time)
	if err := o.req.Check(); err != nil {
		return withCode(exitUsage, err)
	}
	p, err := shivx.ParseSource(source)
	if err != nil {
		return withCode(exitUsage, err)
	}
	o.req.Source = shivx.SourceString(p)
	return nil
}

func (a *app) guardianRestoreCommand() *cobra.Command {
	var o isolationFlags
	var lockdown bool
	c := &cobra.Command{
		Use: "restore SOURCE | --lockdown", Short: "Let a source go, or end a lockdown",
		Long: `Lets an isolated address or network go, on every host within seconds; or a process, account or cgroup of
this host that is frozen or limited (with --local); or, with --lockdown, ends the lockdown of the fleet.`,
		Example: `  shivx guardian restore 203.0.113.7 --why "our own scanner"
  shivx guardian restore cgroup:system.slice/app.service --local
  shivx guardian restore --lockdown --why "false alarm"`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeSource,
	}
	c.RunE = a.does(func(cmd *cobra.Command, args []string) error {
		if lockdown == (len(args) == 1) {
			return usagef("name a source, or add --lockdown")
		}
		if lockdown {
			return a.setMode(cmd.Context(), o.local, modeRequest{Mode: shivx.DefenseNormal, By: o.req.By, Why: orElse(o.req.Why, "restored by hand")})
		}
		if err := o.takeContained(args[0]); err != nil {
			return err
		}
		return a.changeIsolation(cmd.Context(), o, a.restoreThere, func(ctx context.Context, ag *agentClient, req shivx.IsolationRequest) (i shivx.Isolation, err error) {
			q := url.Values{"by": {req.By}, "why": {req.Why}}
			err = ag.send(ctx, http.MethodDelete, isolationsPath+"/"+url.PathEscape(req.Source)+"?"+q.Encode(), nil, &i)
			if i.Source == "" { // it was a process, an account or a cgroup
				i = shivx.Isolation{Source: req.Source, By: o.req.By, Why: req.Why, Lifted: true, Changed: time.Now().UTC()}
			}
			return i, err
		})
	})
	c.Flags().BoolVar(&lockdown, "lockdown", false, "end the lockdown")
	o.addReason(c)
	return c
}

// takeContained is take for what may be a process, an account or a cgroup, too.
func (o *isolationFlags) takeContained(source string) error {
	kind, _, _ := strings.Cut(source, ":")
	switch kind {
	case "process", "user", "cgroup":
		if o.req.Source = source; !o.local {
			return hint(usagef("%s is a matter of one host", source), "add --local, on that host")
		}
		return nil
	}
	return o.take(source)
}

func untilOf(i shivx.Isolation) string {
	if i.Until.IsZero() {
		return "until it is restored"
	}
	return fmt.Sprintf("until %s (%s)", moment(i.Until), left(i.Until))
}
