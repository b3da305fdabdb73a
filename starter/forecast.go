package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
)

func (a *app) forecastCommand() *cobra.Command {
	c := group("forecast", "See faults before they happen",
		a.forecastHeatmapCommand(), a.forecastPredictionsCommand(), a.forecastExplainCommand(),
		a.forecastBreachCommand(), a.forecastAnomaliesCommand(), a.forecastBacktestCommand())
	c.Long = `heatmap, predictions and explain ask the agent of this host what it foresees; Temporal is not needed. breach, anomalies
and backtest work on the series that you give them, with no agent and no Temporal.`
	return c
}

// The agent's routes for what is foreseen.
const (
	heatmapPath     = "/api/faults/heatmap"
	predictionsPath = "/api/faults/predictions"
	tracksPath      = "/api/faults/tracks"
	picturePath     = "/api/faults/picture"
)

// riskStyles are the colours of risks on a terminal.
var riskStyles = map[shivx.RiskColor]style{shivx.RiskGreen: green, shivx.RiskYellow: yellow, shivx.RiskOrange: orange, shivx.RiskRed: red}

// pictureFlags say where a picture is to be written.
type pictureFlags struct{ png, svg string }

func (p *pictureFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&p.png, "png", "", "write a picture to this file as well")
	c.Flags().StringVar(&p.svg, "svg", "", "the same as SVG")
}

// write asks the agent for the pictures that are wanted and writes them.
func (p *pictureFlags) write(ctx context.Context, a *app, c *agentClient, query url.Values) error {
	for _, one := range []struct{ file, format, kind string }{{p.png, "png", "image/png"}, {p.svg, "svg", "image/svg+xml"}} {
		if one.file == "" {
			continue
		}
		query.Set("format", one.format)
		body, err := c.exchange(ctx, "GET", picturePath+"?"+query.Encode(), nil, one.kind)
		if err != nil {
			return err
		}
		if err := os.WriteFile(one.file, body, 0o666); err != nil { //nolint:gosec // as the user's umask has it; it is no secret
			return hint(fmt.Errorf("write the picture: %w", err), "name a file in a folder that you may write to")
		}
		a.err.printf("wrote %s", one.file)
	}
	return nil
}

// within is a horizon, as a table shows it.
func within(d shivx.Duration) string { return short(d.Std()) }

// probability is a percentage; what is not quite 0 or 1 is not shown as if it were.
func probability(p float64) string {
	switch {
	case p > 0 && p < 0.005:
		return "< 1 %"
	case p > 0.995 && p < 1:
		return "> 99 %"
	}
	return fmt.Sprintf("%.0f %%", 100*p)
}

// reached says when a capacity is reached, and between which times it is with a probability of 80 %. The date is left
// out when it is today's, and of those times when it is the same.
func reached(at, low, high time.Time) string {
	switch {
	case at.IsZero():
		return ""
	case low.IsZero() || high.IsZero() || high.Sub(low) < time.Minute:
		return minute(at, time.Now())
	}
	return fmt.Sprintf("%s (%s to %s)", minute(at, time.Now()), minute(low, at), minute(high, at))
}

// minute is a local time to the minute, with its date when that is not the one of beside.
func minute(t, beside time.Time) string {
	t = t.Local()
	if t.Format(time.DateOnly) == beside.Local().Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return t.Format("2006-01-02 15:04")
}

// completeSubsystem completes names of subsystems.
func (a *app) completeSubsystem(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var h shivx.Heatmap
	var names []string
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	if c, err := a.agent(); len(args) == 0 && err == nil && c.get(ctx, heatmapPath, &h) == nil {
		for _, r := range h.Risks {
			names = append(names, clean(r.Subsystem))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
