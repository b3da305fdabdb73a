package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/workflows"
)

// componentView is one component as it is shown.
type componentView struct {
	Component string                    `json:"component"`
	Host      string                    `json:"host"`
	State     string                    `json:"state"`
	Error     string                    `json:"error,omitempty"`
	Status    *workflows.ComponentState `json:"status,omitempty"`
}

func (a *app) statusCommand() *cobra.Command {
	var terms bool
	c := &cobra.Command{
		Use: "status [NAME[@HOST]]", Short: "Show the hosts and components and how they are",
		Long: `Show every host with its level, and every component with its state:

  free         nothing is under way
  held         a run holds it
  maintenance  automation keeps away until it is ended
  isolated     the last run left it out of traffic
  escalated    people were told, and it is not in service again yet
  cooldown     automation keeps away for a short time after a heal
  unknown      no agent answers

With --explain, say how the level of this host comes about, term by term. Its agent answers that;
Temporal is not needed. With --output json the components alone are listed; hosts: shivx level.`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeComponent,
	}
	fleetwide := a.onFleet(func(ctx context.Context, f *fleet, args []string) error {
		if len(args) == 1 {
			return a.show(ctx, f, args[0])
		}
		return a.overview(ctx, f)
	})
	c.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case !terms:
			return fleetwide(cmd, args)
		case len(args) > 0:
			return usagef("--explain is about the whole host and takes no NAME")
		}
		return a.does(func(cmd *cobra.Command, _ []string) error { return a.explainHost(cmd.Context()) })(cmd, args)
	}
	c.Flags().BoolVar(&terms, "explain", false, "say how the level of this host comes about; asks its agent")
	return c
}

// overview prints the hosts and the components.
func (a *app) overview(ctx context.Context, f *fleet) error {
	views, err := f.views(ctx)
	if err != nil {
		return err
	}
	if a.json() {
		return a.document(views)
	}
	hosts, err := f.hostViews(ctx)
	if err != nil {
		return err
	}
	if mode, err := f.defenseMode(ctx); err != nil {
		return err
	} else if mode.To != shivx.DefenseNormal {
		a.printMode("fleet: ", mode.ModeChange)
		a.out.line(normal, "")
	}
	if len(hosts) > 0 {
		a.out.table(hostTable(hosts))
		a.out.line(normal, "")
	}
	if len(views) == 0 {
		a.err.line(normal, "no component is known yet: is an agent up and connected to this Temporal?")
		return nil
	}
	a.out.table(statusTable(views))
	return nil
}

// views asks all entities, a few at a time.
func (f *fleet) views(ctx context.Context) ([]componentView, error) {
	all, err := f.entities(ctx, "", "")
	if err != nil {
		return nil, err
	}
	views := make([]componentView, len(all))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, e := range all {
		group.Go(func() error {
			views[i] = viewOf(f.state(ctx, e.Target))
			views[i].Component, views[i].Host = e.Component, e.Host
			return ctx.Err()
		})
	}
	return views, group.Wait()
}

func viewOf(s workflows.ComponentState, err error) componentView {
	if err != nil {
		return componentView{State: "unknown", Error: err.Error()}
	}
	return componentView{Component: s.Component, Host: s.Host, State: stateOf(s, time.Now()), Status: &s}
}

// stateOf is the one word that matters most.
func stateOf(s workflows.ComponentState, now time.Time) string {
	m := s.Maintenance
	switch {
	case s.Holder != nil:
		return "held"
	case m != nil && m.On && (m.Until.IsZero() || now.Before(m.Until)):
		return "maintenance"
	case s.Isolated:
		return "isolated"
	case s.Escalated:
		return "escalated"
	case now.Before(s.NotBefore):
		return "cooldown"
	}
	return "free"
}

var stateStyles = map[string]style{
	"free": green, "held": cyan, "maintenance": yellow, "isolated": red, "escalated": red, "cooldown": yellow, "unknown": red,
}

func statusTable(views []componentView) table {
	t := table{head: []string{"COMPONENT", "HOST", "STATE", "LAST RUN", "HEALS", "PENDING FAULT"}, free: []int{3, 5}}
	for _, v := range views {
		row := []cell{text(v.Component), text(v.Host), {v.State, stateStyles[v.State]}}
		if v.Status == nil {
			t.add(append(row, text(v.Error))...)
			continue
		}
		s := v.Status
		last := cell{"never", faint}
		if s.Last != nil {
			last = cell{fmt.Sprintf("%s %s ago", s.Last.Outcome, age(s.Last.Ended)), outcomeStyle(s.Last.Outcome)}
		}
		pending := ""
		if len(s.Pending) > 0 {
			pending = s.Pending[0].Reason
		}
		t.add(append(row, last, text(budget(*s)), cell{pending, yellow})...)
	}
	return t
}

// budget says how many heals of those allowed have been used up.
func budget(s workflows.ComponentState) string {
	n, since := 0, time.Now().Add(-s.Policy.Limits.Window.Std())
	for _, h := range s.Heals {
		if h.After(since) {
			n++
		}
	}
	return fmt.Sprintf("%d/%d per %s", n, s.Policy.Limits.Heals, short(s.Policy.Limits.Window.Std()))
}

// show prints all that is known of one component.
func (a *app) show(ctx context.Context, f *fleet, arg string) error {
	e, err := f.find(ctx, arg)
	if err != nil {
		return err
	}
	s, err := f.state(ctx, e.Target)
	if err != nil {
		return err
	}
	v := viewOf(s, nil)
	if a.json() {
		return a.document(v)
	}
	a.out.line(stateStyles[v.State], fmt.Sprintf("%s: %s", e.Target, v.State))
	a.out.details(describe(s)...)
	return nil
}

func describe(s workflows.ComponentState) [][2]string {
	pairs := [][2]string{{"heals", budget(s)}}
	add := func(name, format string, args ...any) {
		pairs = append(pairs, [2]string{name, fmt.Sprintf(format, args...)})
	}
	if h := s.Holder; h != nil {
		add("held by", "%s since %s", h.WorkflowID, moment(h.Since))
		add("because", "%s", h.Reason)
		for _, other := range h.Sources {
			add("seen as well", "%s", other)
		}
	}
	if m := s.Maintenance; m != nil && m.On {
		add("maintenance", "by %s %s", m.By, until(m.Until))
		add("for", "%s", m.Reason)
	}
	for _, p := range s.Pending {
		add("pending fault", "%s, found by %s %s ago", p.Reason, p.Source, age(p.ObservedAt))
	}
	if s.NotBefore.After(time.Now()) {
		add("cooldown", "until %s", moment(s.NotBefore))
	}
	if l := s.Last; l != nil {
		add("last run", "%s %s ago: %s", l.Outcome, age(l.Ended), l.Message)
		add("", "shivx runs show %s", l.RunID)
	}
	if s.Isolated {
		add("traffic", "isolated")
	}
	if s.Escalated {
		add("escalated", "people were told")
	}
	if s.Suppressed > 0 {
		add("held back", "%d faults, in maintenance or old ones", s.Suppressed)
	}
	return append(pairs, policy(s)...)
}

// policy is what the configuration of the component's host says.
func policy(s workflows.ComponentState) [][2]string {
	l := s.Policy.Limits
	checkpoints := "on demand"
	if every := s.Policy.CheckpointEvery.Std(); every > 0 {
		checkpoints = "every " + short(every)
	}
	return [][2]string{
		{"critical", verb(s.Policy.Critical, "yes", "no")},
		{"cools down for", fmt.Sprintf("%s, at most %s", short(l.Cooldown.Std()), short(l.MaxCooldown.Std()))},
		{"checkpoints", checkpoints},
	}
}

func until(t time.Time) string {
	if t.IsZero() {
		return "until it is ended"
	}
	return "until " + moment(t)
}
