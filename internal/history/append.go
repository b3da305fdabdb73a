package history

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/vitals"
)

// maxFigures is how many figures one sample may have.
const maxFigures = 10_000

// seriesKey is what tells one series from another.
type seriesKey struct{ name, label, subject string }

// cached is a series that was appended to before. With its reference the database need not look
// the labels up.
type cached struct {
	ref    storage.SeriesRef
	labels labels.Labels
	used   uint64
}

// Refused says which figures of a sample were not kept. The others were.
type Refused struct {
	// Of is how many figures the sample had.
	Of int
	// TooOld were more than OutOfOrder older than the newest; Duplicate had the time of another
	// value; Unfit had a bad name, or a value that is not finite.
	TooOld, Duplicate, Unfit int
	// First is the first of them, with the reason.
	First string
}

// Count is how many figures were refused.
func (r *Refused) Count() int { return r.TooOld + r.Duplicate + r.Unfit }

func (r *Refused) Error() string {
	var kinds []string
	for _, k := range []struct {
		n    int
		text string
	}{{r.TooOld, "too old"}, {r.Duplicate, "twice at the same time"}, {r.Unfit, "unfit"}} {
		if k.n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", k.n, k.text))
		}
	}
	return fmt.Sprintf("%d of %d figures were not kept in the metric history: %s; the first: %s",
		r.Count(), r.Of, strings.Join(kinds, ", "), r.First)
}

func (r *Refused) count(f vitals.Figure, err error) {
	switch {
	case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrOutOfOrderSample):
		r.TooOld++
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		r.Duplicate++
	default:
		r.Unfit++
	}
	if r.First == "" {
		r.First = seriesName(f.Name, map[string]string{f.Label: f.Subject}) + ": " + err.Error()
	}
}

// Append keeps the figures of one time. Each is kept or refused by itself: an error that wraps a
// *Refused tells of the refused ones, any other error means that none was kept.
func (h *History) Append(at time.Time, figures []vitals.Figure, extra ...vitals.Figure) error {
	of := len(figures) + len(extra)
	switch {
	case of == 0:
		return nil
	case of > maxFigures:
		return fmt.Errorf("keep %d figures: at most %d make one sample", of, maxFigures)
	case at.UnixMilli() <= 0:
		return shivx.Hint(fmt.Errorf("keep figures of %s: before 1970", at), "the clock is wrong")
	}
	r, err := h.append(at, figures, extra)
	if err != nil {
		return h.comeBack(err)
	}
	h.refused.Add(uint64(r.Count()))
	h.appended.Add(uint64(of - r.Count()))
	if h.isBehind(r.TooOld == of) {
		if err := h.dropFuture(at); err != nil {
			return err
		}
		r, err = h.append(at, figures, extra)
		if err != nil {
			return err
		}
	}
	switch {
	case r.Count() == 0:
		return nil
	case r.TooOld > 0:
		return shivx.Hint(r, fmt.Sprintf("the clock went back; after %s like this the newer measurements are set aside as a wrong clock's", h.o.patience))
	}
	return r
}

func (h *History) append(at time.Time, figures, extra []vitals.Figure) (*Refused, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	db, err := h.usable()
	if err != nil {
		return nil, err
	}
	h.writing.Lock()
	defer h.writing.Unlock()
	h.sample++
	r := &Refused{Of: len(figures) + len(extra)}
	app := db.Appender(context.Background())
	for _, part := range [][]vitals.Figure{figures, extra} {
		for _, f := range part {
			if err := h.add(app, at.UnixMilli(), f); err != nil {
				r.count(f, err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		return nil, shivx.Hint(fmt.Errorf("write to the metric history: %w", err), "is the disk of "+h.dir+" full or read-only?")
	}
	if len(h.series) > 2*r.Of+100 {
		for key, s := range h.series {
			if s.used != h.sample {
				delete(h.series, key)
			}
		}
	}
	return r, nil
}

// add appends one figure.
func (h *History) add(app storage.Appender, at int64, f vitals.Figure) error {
	if math.IsNaN(f.Value) || math.IsInf(f.Value, 0) {
		return fmt.Errorf("%v is no finite number", f.Value)
	}
	key := seriesKey{f.Name, f.Label, f.Subject}
	s := h.series[key]
	if s == nil {
		ls, err := labelsOf(f)
		if err != nil {
			return err
		}
		s = &cached{labels: ls}
		h.series[key] = s
	}
	s.used = h.sample
	ref, err := app.Append(s.ref, s.labels, at, f.Value)
	if err != nil {
		return err
	}
	s.ref = ref
	return nil
}

// labelsOf are the labels of a figure's series.
func labelsOf(f vitals.Figure) (labels.Labels, error) {
	if !model.LegacyValidation.IsValidMetricName(f.Name) {
		return labels.EmptyLabels(), fmt.Errorf("%q is no name of a metric", f.Name)
	}
	if f.Label == "" && f.Subject == "" {
		return labels.FromStrings(model.MetricNameLabel, f.Name), nil
	}
	if !model.LegacyValidation.IsValidLabelName(f.Label) || f.Label == model.MetricNameLabel {
		return labels.EmptyLabels(), fmt.Errorf("%q is no name of a label", f.Label)
	}
	// A subject can be a path, which can be any bytes.
	return labels.FromStrings(model.MetricNameLabel, f.Name, f.Label, strings.ToValidUTF8(f.Subject, "�")), nil
}
