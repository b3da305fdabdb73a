package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/api"
	"github.com/shivx/shivx/internal/config"
)

// spring is when the faults of these tests are foreseen.
var spring = time.Date(2026, 3, 1, 14, 0, 0, 0, time.UTC)

// filling foresees that the memory is full in the evening. Of the disk nothing is known.
type filling struct{}

func (filling) target(name string) shivx.SubsystemTarget {
	return shivx.SubsystemTarget{Subsystem: name, Host: "here"}
}

func (f filling) Predictions() []shivx.Prediction {
	horizon := shivx.Duration(6 * time.Hour)
	return []shivx.Prediction{
		{SubsystemTarget: f.target("cpu"), Series: "shivx_host_cpu_used_ratio", Model: shivx.ForecastSpike, At: spring, Value: 0.124, Capacity: 0.95,
			Horizon: shivx.Duration(time.Hour), Probability: 0.001, Raw: 0.001, Anomaly: 0.62},
		{SubsystemTarget: f.target("memory"), Series: "shivx_host_memory_used_ratio", Model: shivx.ForecastExhaustion, At: spring, Value: 0.81, Capacity: 0.95,
			Horizon: horizon, Probability: 0.91, Raw: 0.8, Alert: true, Since: spring.Add(-110 * time.Minute),
			BreachAt: spring.Add(200 * time.Minute), Low: spring.Add(155 * time.Minute), High: spring.Add(280 * time.Minute),
			Precursors: []shivx.Precursor{{Series: "shivx_host_memory_used_ratio", Feature: "rate-72", Value: 1.8012, Weight: 2.1},
				{Series: "queue\x1b[31m", Feature: "anomaly: level", Value: 0.7}}},
		{SubsystemTarget: f.target("memory"), Series: "x_bytes", Component: "shop", Model: shivx.ForecastExhaustion, At: spring, Value: 1 << 30, Capacity: 4 << 30, Horizon: horizon},
		{SubsystemTarget: f.target("disk"), Series: `x_ratio{mountpoint="/var"}`, Model: shivx.ForecastExhaustion, At: spring, Missing: "31 of 48 steps were measured", Horizon: horizon},
	}
}

func (f filling) Heatmap() shivx.Heatmap {
	h := shivx.Heatmap{Host: "here", At: spring}
	for i, p := range f.Predictions() {
		if i == 2 {
			continue
		}
		risk := int(100 * p.Probability)
		h.Risks = append(h.Risks, shivx.Risk{SubsystemTarget: p.SubsystemTarget, Risk: risk, Color: shivx.ColorOf(risk), Missing: p.Missing, Series: p.Series,
			Probability: p.Probability, Horizon: p.Horizon, BreachAt: p.BreachAt, Low: p.Low, High: p.High, Alert: p.Alert, Why: "of " + p.Series})
	}
	h.Risks[1].Reliability = shivx.Reliability{Outcomes: 20, LeftOut: 2, ECE: 0.05, Skill: 0.31, Bins: []shivx.ReliabilityBin{{Count: 15, Said: 0.1, Seen: 0.07}, {Count: 5, Said: 0.9, Seen: 0.8}}}
	return h
}

func (f filling) Tracks(_ context.Context, subsystem string, since time.Duration) (out []shivx.ForecastTrack, _ error) {
	for _, p := range f.Predictions() {
		if p.Subsystem != subsystem {
			continue
		}
		t := shivx.ForecastTrack{Prediction: p}
		for ago := min(since, 12*time.Hour); ago >= 0; ago -= 5 * time.Minute {
			t.Past = append(t.Past, shivx.TrackPoint{At: spring.Add(-ago), Value: p.Value - 0.04*ago.Hours()})
		}
		out = append(out, t)
	}
	return out, nil
}

// startFaults starts the HTTP interface of an agent that foresees, and returns its address and its token.
func startFaults(dir string) (address, token string, stop func(), err error) {
	cfg := config.Default()
	cfg.Host, cfg.Paths.Var, cfg.API.Listen = "here", dir, "127.0.0.1:0"
	for i := range cfg.Forecast.Subsystems {
		if s := &cfg.Forecast.Subsystems[i]; s.Name == "memory" {
			s.Mitigations = []config.MitigationRule{
				{Name: "cache", Plugin: "script", When: "now", Snapshot: "shop", Approval: config.Approval{Required: 2}},
				{Name: "again", Heal: "shop", Strategy: "restart", When: "quiet"},
			}
		}
	}
	s, err := api.New(cfg, api.Options{Faults: filling{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Run(ctx)
	}()
	token, err = api.Token(dir)
	return s.Address(), token, func() { cancel(); <-ended }, err
}

// serveFaults starts an agent that foresees for a script, and sets SHIVX_AGENT and SHIVX_TOKEN.
func serveFaults(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: faults")
	}
	address, token, stop, err := startFaults(ts.MkAbs("agent"))
	ts.Check(err)
	ts.Defer(stop)
	ts.Setenv("SHIVX_AGENT", address)
	ts.Setenv("SHIVX_TOKEN", token)
}

func TestForecastsAsJSON(t *testing.T) {
	dir := t.TempDir()
	address, token, stop, err := startFaults(dir)
	require.NoError(t, err)
	defer stop()
	t.Setenv("SHIVX_AGENT", address)
	t.Setenv("SHIVX_TOKEN", token)
	require.Equal(t, filling{}.Heatmap(), decode[shivx.Heatmap](t, want(t, exitOK, nil, "forecast", "heatmap", "-o", "json")))
	require.Equal(t, filling{}.Predictions(), decode[foreseen](t, want(t, exitOK, nil, "forecast", "predictions", "-o", "json")).Predictions)

	got := decode[explanation](t, want(t, exitOK, nil, "forecast", "explain", "memory@here", "-o", "json"))
	require.Equal(t, filling{}.Heatmap().Risks[1], got.Risk)
	require.Equal(t, filling{}.Predictions()[1], *got.Prediction)
	require.InDelta(t, 0.04, got.Slope, 1e-9)
	require.Equal(t, shivx.Duration(5*time.Minute), got.Step)
	require.Len(t, got.Mitigations, 2)

	file := filepath.Join(dir, "risks.png")
	r := want(t, exitOK, []string{"wrote " + file}, "forecast", "heatmap", "-o", "json", "--png", file)
	require.True(t, json.Valid([]byte(r.out)), "the word about the file is elsewhere")
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(written), "\x89PNG"))
	require.Equal(t, "cpu\nmemory\ndisk\n:4\n", shivxRun("__complete", "forecast", "explain", "").out)
}

func TestRisksOnATerminal(t *testing.T) {
	s := screen{colour: true}
	risks := riskTable([]shivx.Risk{{Risk: 92, Color: shivx.RiskRed}, {Risk: 60, Color: shivx.RiskOrange}, {Risk: 3, Color: shivx.RiskGreen}})
	lines := risks.render(&s, false)
	require.Contains(t, lines[0], "\x1b[31m 92 red\x1b[0m")
	require.Contains(t, lines[0], "█████████░")
	require.Contains(t, lines[1], "\x1b[38;5;208m 60 orange\x1b[0m")
	require.Contains(t, lines[2], "\x1b[32m  3 green\x1b[0m")
	require.Contains(t, lines[2], "░░░░░░░░░░")
}

func TestFeaturesInWords(t *testing.T) {
	for name, words := range map[string]string{
		"rate-72": "headrooms that the trend takes within the horizon, over 6h", "reach-36": "horizons until the trend is at the limit, over 3h",
		"reach": "horizons until the trend is at the limit", "rise-all": "share of the way made since its lowest", "trend": "its trend, over the horizon",
		"anomaly: flat line": "what is strange: flat line", "new": "new", "new-72": "new-72", "rate": "rate", "": "",
	} {
		require.Equal(t, words, featureWords(name, 5*time.Minute), name)
	}
	require.Equal(t, "rate-72", featureWords("rate-72", 0))
}

func TestSlope(t *testing.T) {
	var past []shivx.TrackPoint
	for i := range 100 {
		past = append(past, shivx.TrackPoint{At: spring.Add(time.Duration(i) * time.Minute), Value: max(0, float64(i)-40) * 2})
	}
	require.InDelta(t, 120, slope(past, 58*time.Minute), 1e-9, "only the last part of the past counts")
	require.Zero(t, slope(nil, time.Hour))
	require.Zero(t, slope(past[:1], time.Hour))
	require.Regexp(t, `^▁+[▂▃▄▅▆▇]+█ over 1h39m$`, trackCourse(past))
	require.Empty(t, trackCourse(past[:1]))
}
