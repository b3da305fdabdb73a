package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/forecast/unit"
)

// explainFlags are the flags of shivx forecast explain.
type explainFlags struct {
	series   string
	since    time.Duration
	pictures pictureFlags
}

func (a *app) forecastExplainCommand() *cobra.Command {
	var o explainFlags
	c := &cobra.Command{
		Use: "explain SUBSYSTEM", Short: "Say why a failure is foreseen, how sure that is, and what would be done",
		Long: `Say of the worst series of a subsystem, or of the one named by --series: how it is and where it goes, when it reaches its
capacity and how sure that is, what the forecast rests on, how often such forecasts came true on this host, and what the
configuration has to prevent it.

ODDS is by what each sign multiplies the odds of a failure: 1 is nothing, 10 turns even odds into ten to one.

` + forecastCodes,
		Example: `  shivx forecast explain memory
  shivx forecast explain disk --series 'shivx_host_filesystem_used_ratio{mountpoint="/var"}' --since 72h --png disk.png`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeSubsystem,
	}
	c.Flags().StringVar(&o.series, "series", "", "the series, as shivx forecast predictions has it")
	c.Flags().DurationVar(&o.since, "since", 24*time.Hour, "how much of the past is shown, such as 6h")
	o.pictures.add(c)
	c.RunE = a.does(func(cmd *cobra.Command, args []string) error { return a.explainForecast(cmd.Context(), args[0], o) })
	return c
}

// explanation is all that is told of a subsystem.
type explanation struct {
	shivx.Risk
	Prediction  *shivx.Prediction `json:"prediction,omitempty"`
	Step        shivx.Duration    `json:"step,omitempty"`
	Slope       float64           `json:"slope_per_hour"`
	Mitigations []plannedRule     `json:"mitigations,omitempty"`
	// NoPast says why the past of the series could not be read.
	NoPast string `json:"no_past,omitempty"`
	past   []shivx.TrackPoint
}

func (a *app) explainForecast(ctx context.Context, arg string, o explainFlags) error {
	target, err := shivx.ParseSubsystemTarget(arg)
	if err != nil {
		return withCode(exitUsage, err)
	}
	if o.since <= 0 {
		return hint(usagef("--since %s is not in the past", o.since), "write 6h or 24h")
	}
	c, err := a.agent()
	if err != nil {
		return err
	}
	e, err := explanationOf(ctx, c, target, o)
	if err != nil {
		return noSuchSubsystem(err)
	}
	query := url.Values{"subsystem": {target.Subsystem}, "since": {o.since.String()}}
	if e.Prediction != nil {
		query.Set("series", e.Prediction.Series)
	}
	if err := o.pictures.write(ctx, a, c, query); err != nil {
		return err
	}
	if a.json() {
		return a.document(e)
	}
	a.tellForecast(e)
	return nil
}

// explanationOf asks the agent for all there is to say.
func explanationOf(ctx context.Context, c *agentClient, target shivx.SubsystemTarget, o explainFlags) (*explanation, error) {
	query := url.Values{"subsystem": {target.Subsystem}}
	var f foreseen
	if err := c.get(ctx, predictionsPath+"?"+query.Encode(), &f); err != nil {
		return nil, err
	}
	if target.Host != "" && target.Host != f.Host {
		return nil, hint(usagef("the agent that was asked is that of %s", f.Host), "say where the agent of "+target.Host+" is with --agent")
	}
	var h shivx.Heatmap
	if err := c.get(ctx, heatmapPath, &h); err != nil {
		return nil, err
	}
	e := &explanation{Step: f.Step, Mitigations: f.Mitigations}
	if i := slices.IndexFunc(h.Risks, func(r shivx.Risk) bool { return r.Subsystem == target.Subsystem }); i >= 0 {
		e.Risk = h.Risks[i]
	}
	named := cmp.Or(o.series, e.Series)
	i := slices.IndexFunc(f.Predictions, func(p shivx.Prediction) bool { return p.Series == named })
	if i < 0 && o.series != "" {
		return nil, hint(usagef("%s has no series %s", target.Subsystem, o.series), "shivx forecast predictions "+target.Subsystem+" lists them")
	}
	if i < 0 && len(f.Predictions) > 0 {
		i = 0
	}
	if i < 0 {
		return e, nil
	}
	e.Prediction = &f.Predictions[i]
	err := e.follow(ctx, c, query, o)
	var coded *codeError
	if err != nil && !errors.As(err, &coded) { // the rest can be told without the past
		e.NoPast, err = err.Error(), nil
	}
	return e, err
}

// follow reads the past of the series.
func (e *explanation) follow(ctx context.Context, c *agentClient, query url.Values, o explainFlags) error {
	query.Set("since", o.since.String())
	var all struct {
		Tracks []shivx.ForecastTrack `json:"tracks"`
	}
	if err := c.get(ctx, tracksPath+"?"+query.Encode(), &all); err != nil {
		return err
	}
	for _, t := range all.Tracks {
		if t.Prediction.Series == e.Prediction.Series {
			e.past = t.Past
		}
	}
	e.Slope = slope(e.past, e.Prediction.Horizon.Std())
	return nil
}

// slope is how much a series grew per hour over the last part of it: the line with the least squares.
func slope(past []shivx.TrackPoint, over time.Duration) float64 {
	if len(past) == 0 {
		return 0
	}
	end := past[len(past)-1].At
	var n, x, y, xx, xy float64
	for _, p := range past {
		if hours := p.At.Sub(end).Hours(); hours >= -over.Hours() {
			n, x, y, xx, xy = n+1, x+hours, y+p.Value, xx+hours*hours, xy+hours*p.Value
		}
	}
	if spread := n*xx - x*x; spread > 0 {
		return (n*xy - x*y) / spread
	}
	return 0
}

// tellForecast prints an explanation in words.
func (a *app) tellForecast(e *explanation) {
	switch {
	case e.Missing != "":
		a.out.line(bold, fmt.Sprintf("%s: nothing is known: %s", e.SubsystemTarget, e.Missing))
	default:
		a.out.line(riskStyles[e.Color], fmt.Sprintf("%s: risk %d of 100, %s", e.SubsystemTarget, e.Risk.Risk, e.Color))
	}
	if e.Prediction != nil {
		a.out.details(describePrediction(e)...)
		a.section(precursorTable(*e.Prediction, e.Step.Std()))
	}
	a.out.line(normal, "")
	a.out.line(normal, reliabilityWords(e.Reliability))
	if len(e.Reliability.Bins) > 0 {
		a.out.table(reliabilityTable(e.Reliability.Bins))
	}
	a.out.line(normal, "")
	a.tellMitigations(e)
}

func describePrediction(e *explanation) [][2]string {
	p, u := e.Prediction, unit.Of(e.Prediction.Series)
	pairs := [][2]string{{"series", p.Series}, {"of", p.Component}}
	if p.Missing != "" {
		return append(pairs, [2]string{"no forecast", p.Missing})
	}
	pairs = append(pairs,
		[2]string{"now", fmt.Sprintf("%s; it must not reach %s", u.Text(p.Value, 2), u.Text(p.Capacity, 2))},
		[2]string{"course", cmp.Or(trackCourse(e.past), e.NoPast)}, [2]string{"trend", trendWords(e, u)}, [2]string{"forecast", forecastWords(p)},
		[2]string{"reached", reachedWords(p)})
	if p.Alert {
		pairs = append(pairs, [2]string{"alert", "somebody should act, since " + moment(p.Since)})
	}
	if p.Anomaly >= 0.5 {
		pairs = append(pairs, [2]string{"strange", fmt.Sprintf("%.2f of 1; from 0.5 on it is an alarm", p.Anomaly)})
	}
	return pairs
}
