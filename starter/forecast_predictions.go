package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/forecast/unit"
)

// foreseen is what the agent answers of one subsystem, or of all.
type foreseen struct {
	Host        string             `json:"host"`
	Predictions []shivx.Prediction `json:"predictions"`
	Step        shivx.Duration     `json:"step,omitempty"`
	Mitigations []plannedRule      `json:"mitigations,omitempty"`
}

// plannedRule is an action that the configuration has for a subsystem.
type plannedRule struct {
	Name      string `json:"name"`
	Plugin    string `json:"plugin,omitempty"`
	Component string `json:"component,omitempty"`
	Strategy  string `json:"strategy,omitempty"`
	Snapshot  string `json:"snapshot,omitempty"`
	When      string `json:"when"`
	Approvals int    `json:"approvals,omitempty"`
}

func (a *app) forecastPredictionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "predictions [SUBSYSTEM]", Short: "Show what is foreseen of each series of this host",
		Long: `Show of each series that is watched, or of those of one subsystem: its level now and what it must not reach, with which
probability it does within the horizon, and when. ! marks those on which somebody should act; "strange" is the anomaly score
of the present, an alarm from 0.5 on.

` + forecastCodes,
		Example: `  shivx forecast predictions
  shivx forecast predictions disk -o json | jq -r '.predictions[] | select(.alert) | .series'`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeSubsystem,
		RunE: a.does(func(cmd *cobra.Command, args []string) error { return a.predictions(cmd.Context(), args) }),
	}
}

func (a *app) predictions(ctx context.Context, args []string) error {
	c, err := a.agent()
	if err != nil {
		return err
	}
	path := predictionsPath
	if len(args) == 1 {
		path += "?" + url.Values{"subsystem": args}.Encode()
	}
	var f foreseen
	if err := c.get(ctx, path, &f); err != nil {
		return noSuchSubsystem(err)
	}
	if a.json() {
		return a.document(f)
	}
	if len(f.Predictions) == 0 {
		a.err.line(normal, "nothing has been measured yet of what is watched")
		return nil
	}
	a.out.table(predictionTable(f.Predictions))
	return nil
}

// noSuchSubsystem makes an error of usage of the agent's answer that there is no such thing.
func noSuchSubsystem(err error) error {
	if _, ok := err.(notThereError); ok { //nolint:errorlint // as the client gives it
		return withCode(exitUsage, hint(err, "shivx forecast heatmap lists them"))
	}
	return err
}

func predictionTable(all []shivx.Prediction) table {
	t := table{head: []string{"SUBSYSTEM", "SERIES", "NOW", "LIMIT", "PROBABILITY", "REACHED", "NOTE"}, free: []int{1, 6}, whole: []int{0}}
	for _, p := range all {
		name := cell{p.Subsystem, normal}
		if p.Alert {
			name = cell{p.Subsystem + " !", red}
		}
		if p.Missing != "" {
			t.add(name, text(p.Series), text(""), text(""), text(""), text(""), cell{"no forecast: " + p.Missing, faint})
			continue
		}
		u := unit.Of(p.Series)
		t.add(name, text(p.Series), text(u.Text(p.Value, 2)), text(u.Text(p.Capacity, 2)),
			text(probability(p.Probability)+" in "+within(p.Horizon)), text(reached(p.BreachAt, p.Low, p.High)), text(predictionNote(p)))
	}
	return t
}

func predictionNote(p shivx.Prediction) string {
	var notes []string
	if p.Component != "" {
		notes = append(notes, "of "+p.Component)
	}
	if p.Alert && !p.Since.IsZero() {
		notes = append(notes, "alert since "+moment(p.Since))
	}
	if p.Anomaly >= 0.5 {
		notes = append(notes, fmt.Sprintf("strange: %.2f", p.Anomaly))
	}
	return strings.Join(notes, "; ")
}
