package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/shivx/shivx/internal/forecast"
	"github.com/shivx/shivx/internal/history"
	"github.com/shivx/shivx/internal/vitals"
)

// openForecast builds the engine that forecasts the host's faults; it stays nil where the configuration turns it off.
func (a *Agent) openForecast() error {
	if !a.cfg.Forecast.Enabled {
		return nil
	}
	o := forecast.Options{
		Host: a.cfg.Host, Rules: a.cfg.Forecast, Components: a.cfg.Components, Dir: filepath.Join(a.cfg.Paths.Var, "forecast"),
		Root: a.cfg.Resilience.Monitor.Root, Ledger: a.ledger, Logger: a.log,
	}
	if a.history != nil {
		o.History, o.Keep = measurements{a.history}, a.keepFigures
	}
	var err error
	if a.forecast, err = forecast.New(o); err != nil {
		return fmt.Errorf("build the forecasts: %w", err)
	}
	return nil
}

// keepFigures writes what the forecasts measured to the history. What is refused was said by the samples already.
func (a *Agent) keepFigures(at time.Time, figures []vitals.Figure) {
	if err := a.history.Append(at, figures); err != nil {
		a.log.Debug("measurements of the forecasts are missing in the history", "error", err)
	}
}

// measurements are the history as the forecasts read it.
type measurements struct{ history *history.History }

var _ forecast.History = measurements{}

// Query implements forecast.History. A time with more points than one query gives is read in halves.
func (m measurements) Query(ctx context.Context, name string, labels map[string]string, from, to time.Time, step time.Duration) ([]forecast.Series, error) {
	found, err := m.history.Query(ctx, history.Query{Name: name, Matchers: labels, From: from, To: to, Step: step})
	if half := to.Sub(from) / 2; errors.Is(err, history.ErrTooMany) && half > max(step, time.Second) {
		middle := from.Add(half)
		if step > 0 {
			middle = time.UnixMilli(middle.UnixMilli() / step.Milliseconds() * step.Milliseconds())
		}
		first, err := m.Query(ctx, name, labels, from, middle.Add(-time.Millisecond), step)
		if err != nil {
			return nil, err
		}
		second, err := m.Query(ctx, name, labels, middle, to, step)
		if err != nil {
			return nil, err
		}
		return joined(first, second), nil
	}
	if err != nil {
		return nil, err
	}
	out := make([]forecast.Series, 0, len(found))
	for _, s := range found {
		points := make([]forecast.Point, 0, len(s.Points))
		for _, p := range s.Points {
			points = append(points, forecast.Point{At: p.At, Value: p.Mean, Last: p.Last})
		}
		out = append(out, forecast.Series{Name: s.Name, Labels: s.Labels, Points: points})
	}
	return out, nil
}

// joined appends the points of the series of a later time to those of an earlier one.
func joined(first, second []forecast.Series) []forecast.Series {
	at := map[string]int{}
	for i, s := range first {
		at[s.String()] = i
	}
	for _, s := range second {
		if i, ok := at[s.String()]; ok {
			first[i].Points = append(first[i].Points, s.Points...)
			continue
		}
		first = append(first, s)
	}
	return first
}
