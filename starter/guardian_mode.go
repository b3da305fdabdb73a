package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	guardianacts "github.com/shivx/shivx/activities/guardian"
	"github.com/shivx/shivx/workflows"
)

const modePath = "/api/guardian/mode"

// modeRequest is a shivx.ModeRequest that leaves the time to confirm to the configuration when it is nil.
type modeRequest struct {
	Mode          shivx.DefenseMode `json:"mode"`
	By            string            `json:"by"`
	Why           string            `json:"why"`
	ConfirmWithin *shivx.Duration   `json:"confirm_within,omitempty"`
}

func (a *app) guardianLockdownCommand() *cobra.Command {
	var local bool
	var confirm time.Duration
	req := modeRequest{Mode: shivx.DefenseLockdown}
	c := &cobra.Command{
		Use: "lockdown --why TEXT", Short: "Refuse everybody but the allow list, on every host",
		Long: `Refuses all external access but that of the allow list (guardian.allow), on every host within seconds, and
lets only critical runbooks start. The lockdown ends by itself unless it is confirmed in time: so nobody
locks themselves out. Log in anew before you confirm it: shivx guardian confirm`,
		Example: `  shivx guardian lockdown --why "intruder on web-2"
  shivx guardian lockdown --why "intruder" --confirm-within 2m --local`,
		Args: cobra.NoArgs,
	}
	c.RunE = a.does(func(cmd *cobra.Command, _ []string) error {
		if confirm < 0 {
			return usagef("--confirm-within is negative")
		}
		if cmd.Flags().Changed("confirm-within") {
			d := shivx.Duration(confirm)
			req.ConfirmWithin = &d
		}
		return a.setMode(cmd.Context(), local, req)
	})
	c.Flags().StringVar(&req.Why, "why", "", "the reason, in one line")
	c.Flags().DurationVar(&confirm, "confirm-within", 0,
		"it ends by itself then unless it is confirmed; 0: it needs no confirmation (default: guardian.defense.confirm_within, 10m)")
	_ = c.MarkFlagRequired("why")
	addLocal(c, &local)
	addBy(c, &req.By)
	return c
}

func (a *app) guardianConfirmCommand() *cobra.Command {
	var local bool
	var by string
	c := &cobra.Command{
		Use: "confirm", Short: "Keep a lockdown that would end by itself",
		Long: `Keeps a lockdown that would end by itself. Before that make sure, with a new login, that you still get in:
from then on only an address on the allow list, or the machine's console, ends it.`,
		Args: cobra.NoArgs,
	}
	c.RunE = a.does(func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		return a.changeMode(ctx, local, by, func(f *fleet) (shivx.ModeChange, error) {
			return confirmThere(ctx, f, by)
		}, func(ag *agentClient, by string) (c shivx.ModeChange, err error) {
			err = ag.send(ctx, http.MethodPost, modePath+"/confirm?"+url.Values{"by": {by}}.Encode(), nil, &c)
			return c, err
		})
	})
	addLocal(c, &local)
	addBy(c, &by)
	return c
}

// confirmThere keeps the lockdown of the fleet. One that is not in force yet is not confirmed: while no agent
// answers, Temporal would keep the request, and a lockdown asked for before it would begin confirmed, without
// anybody having made sure that they still get in.
func confirmThere(ctx context.Context, f *fleet, by string) (shivx.ModeChange, error) {
	m, err := f.defenseMode(ctx)
	if err != nil {
		return m.ModeChange, err
	}
	if m.To != shivx.DefenseLockdown {
		return m.ModeChange, hint(withCode(exitRefused, errors.New("no lockdown waits to be confirmed")),
			fmt.Sprintf("the mode of the fleet is %s; a lockdown that Temporal was not told of yet is on its host alone: add --local there", m.To))
	}
	return request[shivx.ModeChange](ctx, f, shivx.DefenseModeID, "", shivx.UpdateConfirm, workflows.By{By: by})
}

// setMode asks for a defense mode, through Temporal or here.
func (a *app) setMode(ctx context.Context, local bool, req modeRequest) error {
	return a.changeMode(ctx, local, req.By, func(f *fleet) (shivx.ModeChange, error) {
		_, err := f.client.ExecuteWorkflow(ctx, guardianacts.DefenseOptions(f.runbookQueue(ctx)), shivx.TypeDefenseMode, workflows.DefenseInput{})
		if err != nil {
			return shivx.ModeChange{}, err
		}
		return request[shivx.ModeChange](ctx, f, shivx.DefenseModeID, "", shivx.UpdateSetMode, req)
	}, func(ag *agentClient, by string) (c shivx.ModeChange, err error) {
		req.By = by
		err = ag.send(ctx, http.MethodPut, modePath, req, &c)
		return c, err
	})
}

// changeMode carries a request out, through Temporal or here, and says what came of it.
func (a *app) changeMode(ctx context.Context, local bool, by string,
	there func(*fleet) (shivx.ModeChange, error), here func(*agentClient, string) (shivx.ModeChange, error),
) error {
	var c shivx.ModeChange
	err := a.waiting(func() (err error) {
		if local {
			c, err = asMyself(a, by, here)
		} else {
			c, err = a.modeThere(ctx, there)
		}
		return err
	})
	if err != nil {
		return err
	}
	if a.json() {
		return a.document(c)
	}
	a.printMode("", c)
	if local {
		a.out.line(faint, "it holds on this host now; the fleet is told through Temporal")
	} else {
		a.out.line(faint, "hosts follow within seconds")
	}
	return nil
}

func (a *app) modeThere(ctx context.Context, there func(*fleet) (shivx.ModeChange, error)) (shivx.ModeChange, error) {
	f, err := a.connect(ctx, dialPatience)
	if err != nil {
		return shivx.ModeChange{}, orLocally(err)
	}
	defer f.client.Close()
	c, err := there(f)
	explained := explain("change the defense mode", err)
	if answerLost(err) {
		explained = mayHold(explained)
	}
	return c, orLocally(explained)
}

var modeStyles = map[shivx.DefenseMode]style{shivx.DefenseNormal: green, shivx.DefenseElevated: yellow, shivx.DefenseLockdown: red}

// printMode prints a mode of whom, what led to it, and what to do about it.
func (a *app) printMode(whom string, c shivx.ModeChange) {
	a.out.line(modeStyles[c.To], whom+modeLine(c))
	switch {
	case c.To == shivx.DefenseLockdown && c.Unconfirmed:
		a.out.line(yellow, fmt.Sprintf("it ends by itself in %s (%s) unless confirmed: shivx guardian confirm", left(c.Until), moment(c.Until)))
	case c.To == shivx.DefenseLockdown:
		a.out.line(yellow, "it holds until a person ends it: shivx guardian restore --lockdown")
	}
}

// modeLine tells a mode and what led to it.
func modeLine(c shivx.ModeChange) string {
	line := string(c.To)
	if c.To == c.From && c.To == shivx.DefenseNormal || c.At.IsZero() {
		return line // nothing has changed it yet
	}
	line += " since " + moment(c.At)
	if c.By != "" {
		line += " by " + c.By
	}
	if c.Reason != "" {
		line += ": " + c.Reason
	}
	if c.To == shivx.DefenseElevated && !c.Until.IsZero() {
		line += "; until " + moment(c.Until) + " unless there are more"
	}
	return line
}

// left is how long it is until t.
func left(t time.Time) string { return coarse(max(0, time.Until(t).Round(time.Second))) }
