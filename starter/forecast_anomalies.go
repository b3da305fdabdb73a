package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx/forecasting"
)

func (a *app) forecastAnomaliesCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "anomalies [FILE]", Short: "Score each point of a series by how strange it is",
		Long: `Reads CSV rows "timestamp,value" from a file, or from standard input, and prints each with an anomaly score
from 0 to 1, using only the rows before it: 0.5 and more is an alarm. An anomaly gives one alarm as a rule: while it
lasts, the score is low again. A change that stays may give a few more. Over the first 144 values the score is 0, as nothing is known yet.

Timestamps are RFC 3339, "2006-01-02 15:04:05" (taken as UTC), or seconds or milliseconds since 1970. A value that is
empty or NaN is missing: it scores 0 and is not learnt from. A first line that is no data is a heading.
With -o json each row is a JSON object, with the reasons for its score.`,
		Example: `  shivx forecast anomalies cpu.csv | awk -F, '$3 >= 0.5'
  shivx forecast anomalies -o json cpu.csv | jq -c 'select(.anomaly_score >= 0.5)'
  tail -n +1 -F cpu.csv | shivx forecast anomalies`,
		Args: cobra.MaximumNArgs(1),
	}
	c.RunE = a.does(func(cmd *cobra.Command, args []string) error {
		path := "-"
		if len(args) > 0 {
			path = args[0]
		}
		return a.anomalies(cmd.Context(), path, cmd.InOrStdin())
	})
	return c
}

func (a *app) anomalies(ctx context.Context, path string, stdin io.Reader) error {
	detector := forecasting.NewAnomaly()
	print := printAnomalyCSV
	if a.json() {
		print = printAnomalyJSON
	}
	return a.rowByRow(ctx, path, stdin, "timestamp,value,anomaly_score\n", func(out *bufio.Writer, m measurement) error {
		return print(out, m, detector.Update(m.at, m.value))
	})
}

func printAnomalyCSV(out *bufio.Writer, m measurement, s forecasting.AnomalyScore) error {
	row := make([]byte, 0, 64)
	row = append(append(append(row, m.stamp...), ','), m.text...)
	row = strconv.AppendFloat(append(row, ','), s.Score, 'f', 6, 64)
	_, err := out.Write(append(row, '\n'))
	return err
}

// anomalyLine is what is printed of a point with -o json.
type anomalyLine struct {
	Timestamp string          `json:"timestamp"`
	Value     *float64        `json:"value"`
	Score     float64         `json:"anomaly_score"`
	WarmUp    bool            `json:"warm_up,omitempty"`
	Reasons   []anomalyReason `json:"reasons,omitempty"`
}

type anomalyReason struct {
	Kind    string  `json:"kind"`
	Feature string  `json:"feature"`
	Side    string  `json:"side"`
	Share   float64 `json:"share"`
}

func printAnomalyJSON(out *bufio.Writer, m measurement, s forecasting.AnomalyScore) error {
	line := anomalyLine{Timestamp: m.at.UTC().Format(time.RFC3339Nano), Score: math.Round(s.Score*1e6) / 1e6, WarmUp: s.WarmUp}
	if !math.IsNaN(m.value) && !math.IsInf(m.value, 0) {
		line.Value = &m.value
	}
	for _, r := range s.Reasons {
		if r.Share == 0 {
			break
		}
		side := "low"
		if r.High {
			side = "high"
		}
		line.Reasons = append(line.Reasons, anomalyReason{r.Kind.String(), r.Feature, side, math.Round(r.Share*1e3) / 1e3})
	}
	return json.NewEncoder(out).Encode(line)
}
