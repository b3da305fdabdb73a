package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image/png"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// fakeFaults foresees that the memory will be full, and knows nothing of the disks.
type fakeFaults struct {
	heatmap     shivx.Heatmap
	predictions []shivx.Prediction
	since       time.Duration
	err         error
}

func newFakeFaults() *fakeFaults {
	now := time.Unix(1_800_000_000, 0).UTC()
	target := func(name string) shivx.SubsystemTarget { return shivx.SubsystemTarget{Subsystem: name, Host: "h1"} }
	small := shivx.Prediction{SubsystemTarget: target("memory"), Series: "other_ratio", Model: shivx.ForecastExhaustion, At: now, Value: 0.2, Capacity: 0.95,
		Horizon: shivx.Duration(6 * time.Hour)}
	memory := small
	memory.Series, memory.Value, memory.Probability, memory.Raw, memory.Alert, memory.Since = "used_ratio", 0.9, 0.91, 0.8, true, now.Add(-time.Hour)
	memory.BreachAt, memory.Low, memory.High = now.Add(3*time.Hour), now.Add(2*time.Hour), now.Add(4*time.Hour)
	memory.Precursors = []shivx.Precursor{{Series: "used_ratio", Feature: "slope_6h", Value: 0.4, Weight: 2.1}}
	disk := shivx.Prediction{SubsystemTarget: target("disk"), Series: "disk_ratio", Model: shivx.ForecastExhaustion, At: now, Missing: "too little was measured", Horizon: small.Horizon}
	return &fakeFaults{
		predictions: []shivx.Prediction{small, memory, disk},
		heatmap: shivx.Heatmap{Host: "h1", At: now, Risks: []shivx.Risk{
			{SubsystemTarget: target("memory"), Risk: 92, Color: shivx.RiskRed, Series: "used_ratio", Probability: 0.91, Horizon: memory.Horizon,
				BreachAt: memory.BreachAt, Low: memory.Low, High: memory.High, Alert: true, Why: "it grows",
				Reliability: shivx.Reliability{Outcomes: 20, LeftOut: 1, Brier: 0.1, Skill: 0.3, ECE: 0.05, Bins: []shivx.ReliabilityBin{{Count: 20, Said: 0.4, Seen: 0.5}}}},
			{SubsystemTarget: target("disk"), Missing: "too little was measured", Horizon: disk.Horizon},
		}},
	}
}

func (f *fakeFaults) Heatmap() shivx.Heatmap          { return f.heatmap }
func (f *fakeFaults) Predictions() []shivx.Prediction { return f.predictions }

func (f *fakeFaults) Tracks(_ context.Context, subsystem string, since time.Duration) (out []shivx.ForecastTrack, err error) {
	f.since = since
	for _, p := range f.predictions {
		if p.Subsystem != subsystem {
			continue
		}
		t := shivx.ForecastTrack{Prediction: p}
		for i := range 20 {
			t.Past = append(t.Past, shivx.TrackPoint{At: p.At.Add(time.Duration(i-20) * time.Minute), Value: p.Value})
			t.Ahead = append(t.Ahead, shivx.TrackBand{At: p.At.Add(time.Duration(i) * time.Minute), Value: p.Value, Low: p.Value - 0.1, High: p.Value + 0.1})
		}
		out = append(out, t)
	}
	return out, f.err
}

func TestHeatmapAndPredictions(t *testing.T) {
	s := newStand(t)
	rec := s.do("GET", "/api/faults/heatmap", viewerToken, "")
	require.Equal(t, http.StatusOK, rec.Code, rec.Body)
	var h shivx.Heatmap
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &h))
	require.Equal(t, s.faults.heatmap, h)
	require.Equal(t, "no-store", rec.Header().Get("Cache-Control"))

	var all predictionsAnswer
	rec = s.do("GET", "/api/faults/predictions", viewerToken, "")
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &all))
	require.Equal(t, s.faults.predictions, all.Predictions)
	require.Empty(t, all.Mitigations)

	s.faults.heatmap.Risks, s.faults.predictions = nil, nil
	require.Contains(t, s.do("GET", "/api/faults/heatmap", viewerToken, "").Body.String(), `"risks":[]`)
	require.Contains(t, s.do("GET", "/api/faults/predictions", viewerToken, "").Body.String(), `"predictions":[]`)
	require.Contains(t, s.do("GET", "/api/faults/tracks?subsystem=memory", viewerToken, "").Body.String(), `"tracks":[]`)
	require.Equal(t, http.StatusNotFound, s.do("GET", "/api/faults/picture?subsystem=memory", viewerToken, "").Code)
	require.Equal(t, http.StatusOK, s.do("GET", "/api/faults/picture", viewerToken, "").Code)
}

func TestPredictionsOfASubsystem(t *testing.T) {
	s := newStand(t)
	for i := range s.cfg.Forecast.Subsystems {
		if one := &s.cfg.Forecast.Subsystems[i]; one.Name == "memory" {
			one.Mitigations = []config.MitigationRule{
				{Name: "free", Plugin: "disk", When: "now", Approval: config.Approval{Required: 2}, Snapshot: "shop"}, {Name: "again", Heal: "shop", Strategy: "restart", When: "quiet"},
			}
		}
	}
	rec := s.do("GET", "/api/faults/predictions?subsystem=memory", viewerToken, "")
	var got predictionsAnswer
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &got))
	require.Equal(t, s.faults.predictions[:2], got.Predictions)
	require.Equal(t, shivx.Duration(5*time.Minute), got.Step)
	require.Equal(t, []mitigationAnswer{
		{Name: "free", Plugin: "disk", When: "now", Approvals: 2, Snapshot: "shop"}, {Name: "again", Component: "shop", Strategy: "restart", When: "quiet"},
	}, got.Mitigations)
}

func TestTracksAndTheirPictures(t *testing.T) {
	s := newStand(t)
	rec := s.do("GET", "/api/faults/tracks?subsystem=memory&since=6h", viewerToken, "")
	require.Equal(t, http.StatusOK, rec.Code, rec.Body)
	require.Equal(t, 6*time.Hour, s.faults.since)
	var got tracksAnswer
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &got))
	require.Len(t, got.Tracks, 2)
	require.Len(t, got.Tracks[0].Past, 20)

	rec = s.do("GET", "/api/faults/picture?subsystem=memory", viewerToken, "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.Equal(t, "image/png", rec.Header().Get("Content-Type"))
	require.Equal(t, 24*time.Hour, s.faults.since)
	_, err := png.Decode(bytes.NewReader(rec.Body.Bytes()))
	require.NoError(t, err)

	text := func(query string) string {
		rec := s.do("GET", "/api/faults/picture?format=svg"+query, viewerToken, "")
		require.Equal(t, http.StatusOK, rec.Code, rec.Body)
		require.Equal(t, "image/svg+xml", rec.Header().Get("Content-Type"))
		require.Contains(t, rec.Header().Get("Content-Security-Policy"), "default-src 'none'")
		return rec.Body.String()
	}
	require.Contains(t, text(""), ">Risk of failure, h1<")
	require.Contains(t, text("&subsystem=memory"), ">used_ratio<", "the worst")
	require.Contains(t, text("&subsystem=memory&series=other_ratio"), ">other_ratio<")
	require.Contains(t, text("&subsystem=disk"), ">disk_ratio<", "nothing is known of any")

	rec = s.do("HEAD", "/api/faults/picture", viewerToken, "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.Equal(t, "image/png", rec.Header().Get("Content-Type"))
}

func TestFaultsThatCannotBeTold(t *testing.T) {
	s := newStand(t)
	for path, want := range map[string]struct {
		code int
		says string
	}{
		"predictions?subsystem=moon":                                {404, "GET /api/faults/heatmap lists them"},
		"tracks":                                                    {400, "no subsystem is named"},
		"tracks?subsystem=moon":                                     {404, "there is no such subsystem"},
		"tracks?subsystem=memory&since=yesterday":                   {400, "write 30m or 24h"},
		"tracks?subsystem=memory&since=-1h":                         {400, "write 30m or 24h"},
		"tracks?subsystem=memory&since=10000h":                      {400, "at most 744h"},
		"picture?subsystem=":                                        {400, "no subsystem is named"},
		"picture?format=gif":                                        {400, "write png or svg"},
		"picture?subsystem=memory&series=" + url.QueryEscape("a b"): {404, "there is no such series"},
	} {
		rec := s.do("GET", "/api/faults/"+path, viewerToken, "")
		require.Equal(t, want.code, rec.Code, path)
		require.Contains(t, rec.Body.String(), want.says, path)
	}
	s.faults.err = shivx.Hint(errors.New("the history is broken"), "look at it")
	rec := s.do("GET", "/api/faults/tracks?subsystem=memory", viewerToken, "")
	require.Equal(t, http.StatusServiceUnavailable, rec.Code)
	require.Contains(t, rec.Body.String(), "the history is broken; look at it")

	s.parts.Faults = nil
	for _, route := range []string{"heatmap", "predictions", "tracks?subsystem=memory", "picture"} {
		rec := s.do("GET", "/api/faults/"+route, viewerToken, "")
		require.Equal(t, http.StatusServiceUnavailable, rec.Code, route)
		require.Contains(t, rec.Body.String(), "forecast.enabled", route)
	}
}
