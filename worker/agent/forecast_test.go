package agent

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/history"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/vitals"
)

// TestForecastsOfTheHostsOwnHistory: an agent that starts beside two days of measurements knows at once which disk fills up, and
// keeps what it measures by itself.
func TestForecastsOfTheHostsOwnHistory(t *testing.T) {
	a := &Agent{cfg: config.Default(), log: slog.New(slog.DiscardHandler)}
	a.cfg.Host, a.cfg.Paths.Var = "web-1", t.TempDir()
	a.cfg.Forecast.Subsystems = append(a.cfg.Forecast.Subsystems, config.Subsystem{
		Name: "own", Enabled: true, Model: "exhaustion", Capacity: 0.95, Horizon: 6 * time.Hour, Step: 5 * time.Minute,
		Series: []config.SubsystemSeries{{Path: a.cfg.Paths.Var, What: "bytes"}}})
	var err error
	a.ledger, err = ledger.Open(filepath.Join(a.cfg.Paths.Var, config.OperationalLedger), ledger.Options{})
	require.NoError(t, err)
	a.history, err = history.Open(filepath.Join(a.cfg.Paths.Var, history.Folder), history.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.close()) }()

	now := time.Now()
	grown := 0.0
	for at := now.Add(-48 * time.Hour); at.Before(now); at = at.Add(15 * time.Second) {
		if at.After(now.Add(-12 * time.Hour)) {
			grown += 0.05 / (4 * 60) // a twentieth of the disk in an hour
		}
		wobble := 0.002 * float64(at.Unix()/15%7)
		require.NoError(t, a.history.Append(at, []vitals.Figure{
			{Name: "shivx_host_filesystem_used_ratio", Label: "mountpoint", Subject: "/", Value: 0.2 + grown + wobble},
			{Name: "shivx_host_threads", Value: 400 + 5*wobble}, {Name: "shivx_host_threads_limit", Value: 4000},
		}))
	}
	raw, err := measurements{a.history}.Query(t.Context(), "shivx_host_threads", nil, now.Add(-47*time.Hour), now, 0)
	require.NoError(t, err)
	require.Greater(t, len(raw[0].Points), history.MaxPoints, "more than one query gives")
	for i := range raw[0].Points[1:] {
		require.Equal(t, 15*time.Second, raw[0].Points[i+1].At.Sub(raw[0].Points[i].At))
	}

	require.NoError(t, a.openForecast())
	require.NoError(t, a.forecast.Look(t.Context()))
	of := map[string]shivx.Risk{}
	for _, r := range a.forecast.Heatmap().Risks {
		of[r.Subsystem] = r
	}
	require.Len(t, of, 8)
	require.Equal(t, `shivx_host_filesystem_used_ratio{mountpoint="/"}`, of["disk"].Series)
	require.True(t, of["disk"].Alert, of["disk"].Why)
	require.WithinDuration(t, now.Add(3*time.Hour), of["disk"].BreachAt, 90*time.Minute)
	require.Equal(t, "shivx_host_threads/shivx_host_threads_limit", of["threads"].Series)
	require.LessOrEqual(t, of["threads"].Risk, 25)
	require.Equal(t, "nothing has been measured yet", of["cpu"].Missing)
	require.Contains(t, of["own"].Missing, "of 48 steps seen")
	kept, err := a.history.Query(t.Context(), history.Query{Name: "shivx_path_used_bytes"})
	require.NoError(t, err)
	require.Len(t, kept, 1, "what was measured for the forecasts is in the history")
	last, _ := a.ledger.Last()
	require.EqualValues(t, 1, last, "the alert is recorded")
}
