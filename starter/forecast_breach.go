package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx/forecasting"
)

func (a *app) forecastBreachCommand() *cobra.Command {
	var o forecasting.Options
	c := &cobra.Command{
		Use: "breach --capacity C [FILE]", Short: "Forecast whether and when a series reaches its capacity",
		Long: `Reads CSV rows "timestamp,value" or "step,value" from a file, or from standard input, and prints for each, from the rows up to
it alone: the probability that the capacity is reached within the horizon, when the present trend leads there, from when
to when with a probability of 80 %, and whether it is time to act (1) or not (0). A time is empty when the trend leads
nowhere. Over the first 48 steps nothing is forecast: the probability is 0, and -o json says why.

Timestamps are RFC 3339, "2006-01-02 15:04:05" (taken as UTC), or seconds or milliseconds since 1970; whole numbers below
100 million are steps of the length --step, and so are then the forecast times. A value that is empty or NaN is missing.
With -o json each row is a JSON object, with the precursors.`,
		Example: `  shivx forecast breach --capacity 1.0 --horizon 6h memory.csv
  shivx forecast breach --capacity 8589934592 -o json memory.csv | jq -c 'select(.alert)'
  shivx forecast breach --capacity 90 --horizon 1h - < disk.csv | awk -F, '$7 == 1 { print; exit }'`,
		Args: cobra.MaximumNArgs(1),
	}
	c.Flags().Float64Var(&o.Capacity, "capacity", 0, "the level that must not be reached, in the unit of the series")
	c.Flags().DurationVar(&o.Horizon, "horizon", 6*time.Hour, "how far to look ahead")
	c.Flags().DurationVar(&o.Step, "step", 5*time.Minute, "the time that one value stands for; values of one step are averaged")
	_ = c.MarkFlagRequired("capacity")
	c.RunE = a.does(func(cmd *cobra.Command, args []string) error {
		path := "-"
		if len(args) > 0 {
			path = args[0]
		}
		return a.breach(cmd.Context(), path, cmd.InOrStdin(), o)
	})
	return c
}

func (a *app) breach(ctx context.Context, path string, stdin io.Reader, o forecasting.Options) error {
	b, err := forecasting.NewBreach(o)
	if err != nil {
		return badBreach(err)
	}
	p := breachPrinter{step: o.Step, json: a.json()}
	const heading = "step,value,probability,breach_at,low,high,alert\n"
	return a.rowByRow(ctx, path, stdin, heading, func(out *bufio.Writer, m measurement) error {
		b.Update(p.time(m), m.value)
		return p.print(out, m, b.Forecast())
	})
}

// badBreach is the error of options that nothing can be forecast with.
func badBreach(err error) error {
	return hint(withCode(exitUsage, err), "give --capacity, --horizon and --step so that a horizon has 6 to 288 steps")
}

// breachPrinter prints forecasts in the way in which the series gives its times.
type breachPrinter struct {
	step        time.Duration
	json        bool
	begun, bare bool // bare: the series counts steps
}

// time returns when a row was measured. The first row tells how the series gives its times.
func (p *breachPrinter) time(m measurement) time.Time {
	n, err := strconv.ParseUint(m.stamp, 10, 64)
	if !p.begun {
		p.begun, p.bare = true, err == nil && n < 1e8
	}
	if p.bare && err == nil {
		return time.Unix(0, 0).Add(time.Duration(n) * p.step).UTC()
	}
	return m.at
}

func (p *breachPrinter) print(out *bufio.Writer, m measurement, f forecasting.Forecast) error {
	if p.json {
		return json.NewEncoder(out).Encode(p.line(m, f))
	}
	alert := 0
	if f.Alert {
		alert = 1
	}
	_, err := fmt.Fprintf(out, "%s,%s,%.6f,%s,%s,%s,%d\n", m.stamp, m.text, f.Probability, p.when(f.BreachAt), p.when(f.Low), p.when(f.High), alert)
	return err
}

// when writes a time as the series does.
func (p *breachPrinter) when(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case p.bare:
		return strconv.FormatFloat(math.Round(10*float64(t.UnixNano())/float64(p.step))/10, 'f', -1, 64)
	default:
		return t.UTC().Format(time.RFC3339)
	}
}

// breachLine is what is printed of a row with -o json.
type breachLine struct {
	Step        string        `json:"step"`
	Value       *float64      `json:"value"`
	Missing     string        `json:"missing,omitempty"`
	Probability float64       `json:"probability"`
	Leak        float64       `json:"leak,omitempty"`
	BreachAt    string        `json:"breach_at,omitempty"`
	Low         string        `json:"low,omitempty"`
	High        string        `json:"high,omitempty"`
	Alert       bool          `json:"alert"`
	Precursors  []breachCause `json:"precursors,omitempty"`
}

type breachCause struct {
	Feature string  `json:"feature"`
	Value   float64 `json:"value"`
	Weight  float64 `json:"weight"`
}

func (p *breachPrinter) line(m measurement, f forecasting.Forecast) breachLine {
	l := breachLine{
		Step: m.stamp, Missing: f.Missing, Probability: digits(f.Probability), Leak: digits(f.Leak), Alert: f.Alert,
		BreachAt: p.when(f.BreachAt), Low: p.when(f.Low), High: p.when(f.High),
	}
	if !math.IsNaN(m.value) && !math.IsInf(m.value, 0) {
		l.Value = &m.value
	}
	for _, c := range f.Causes {
		l.Precursors = append(l.Precursors, breachCause{c.Feature, digits(c.Value), digits(c.Weight)})
	}
	return l
}

func digits(x float64) float64 { return math.Round(x*1e4) / 1e4 }
