package history

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/shivx/shivx"
)

const (
	// MaxPoints is how many points a query may give of one series.
	MaxPoints = 11_000
	// maxTotal is how many it may give of all series together.
	maxTotal = 500_000
)

// ErrTooMany is the error of a query that would give too many points.
var ErrTooMany = errors.New("too many points")

// Query asks for measurements.
type Query struct {
	// Name of the series; "": all.
	Name string
	// Matchers are labels that a series must have.
	Matchers map[string]string
	// From and To, both inclusive; a zero From is the beginning, a zero To is now.
	From, To time.Time
	// Step is the time that one point stands for; 0: a point is one measurement. Steps are whole
	// multiples since 1970 UTC, so that two queries for overlapping times agree; From is moved to
	// the beginning of its step.
	Step time.Duration
}

// Point is what was measured in one step. A step without measurements has no point.
type Point struct {
	// At is the beginning of the step.
	At                   time.Time
	Mean, Min, Max, Last float64
}

// Series is what one query gives of one series.
type Series struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	// Points in the order of their times.
	Points []Point `json:"points"`
}

// String returns the name with the labels, as Prometheus writes it.
func (s Series) String() string { return seriesName(s.Name, s.Labels) }

func seriesName(name string, with map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(with)) {
		if k != "" {
			parts = append(parts, k+"="+strconv.Quote(with[k]))
		}
	}
	if len(parts) == 0 {
		return name
	}
	return name + "{" + strings.Join(parts, ",") + "}"
}

// Query returns the series that match and have measurements in that time, sorted by name and labels.
func (h *History) Query(ctx context.Context, q Query) ([]Series, error) {
	if q.To.IsZero() {
		q.To = h.o.now()
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	found, err := h.query(ctx, q)
	if err != nil && !errors.Is(err, ErrTooMany) && !errors.Is(err, ErrClosed) && ctx.Err() == nil && h.setAsideDamaged(ctx) {
		found, err = h.query(ctx, q)
	}
	if err != nil {
		return nil, fmt.Errorf("query the metric history: %w", err)
	}
	return found, nil
}

func (q *Query) check() error {
	switch {
	case q.Step < 0 || q.Step > 0 && q.Step < time.Millisecond:
		return shivx.Hint(fmt.Errorf("a step of %s is too short", q.Step), "give a step of at least 1ms, or none")
	case q.From.After(q.To):
		return shivx.Hint(errors.New("the beginning is after the end"), "give a beginning before the end")
	case q.Step > 0 && !q.From.IsZero() && q.To.Sub(q.From)/q.Step >= MaxPoints:
		return tooMany(fmt.Errorf("%w: %s in steps of %s are more than %d points", ErrTooMany, q.To.Sub(q.From), q.Step, MaxPoints))
	}
	return nil
}

func tooMany(err error) error { return shivx.Hint(err, "take a longer step or a shorter time") }

func (h *History) query(ctx context.Context, q Query) (found []Series, err error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	db, err := h.usable()
	if err != nil {
		return nil, err
	}
	defer func() {
		// As in openOnce.
		if p := recover(); p != nil {
			found, err = nil, fmt.Errorf("read the database: %v", p)
		}
	}()
	from, to := int64(math.MinInt64/2), q.To.UnixMilli()
	if !q.From.IsZero() {
		from = startOf(q.From.UnixMilli(), q.Step.Milliseconds())
	}
	querier, err := db.Querier(from, to)
	if err != nil {
		return nil, err
	}
	defer func() { _ = querier.Close() }()
	matchers, err := q.matchers()
	if err != nil {
		return nil, err
	}
	set, total := querier.Select(ctx, true, nil, matchers...), 0
	var it chunkenc.Iterator
	for set.Next() {
		s := seriesOf(set.At().Labels())
		it = set.At().Iterator(it)
		if s.Points, err = points(it, q.Step.Milliseconds(), maxTotal-total); err != nil {
			return nil, err
		}
		total += len(s.Points)
		if len(s.Points) > 0 {
			found = append(found, s)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return found, set.Err()
}

func (q *Query) matchers() ([]*labels.Matcher, error) {
	kind, name := labels.MatchEqual, q.Name
	if name == "" {
		kind = labels.MatchNotEqual
	}
	first, err := labels.NewMatcher(kind, model.MetricNameLabel, name)
	if err != nil {
		return nil, err
	}
	all := []*labels.Matcher{first}
	for _, k := range slices.Sorted(maps.Keys(q.Matchers)) {
		m, err := labels.NewMatcher(labels.MatchEqual, k, q.Matchers[k])
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// startOf is the beginning of the step in which t is; all in milliseconds.
func startOf(t, step int64) int64 {
	if step <= 0 {
		return t
	}
	return t - ((t%step)+step)%step
}

// points puts the measurements of a series together by steps.
func points(it chunkenc.Iterator, step int64, most int) ([]Point, error) {
	var (
		out  []Point
		last int64
		n    float64
	)
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		if kind != chunkenc.ValFloat {
			continue
		}
		t, v := it.At()
		start := startOf(t, step)
		if len(out) > 0 && start == last {
			p := &out[len(out)-1]
			n++
			p.Mean += (v - p.Mean) / n
			p.Min, p.Max, p.Last = min(p.Min, v), max(p.Max, v), v
			continue
		}
		if len(out) >= min(MaxPoints, most) {
			return nil, tooMany(fmt.Errorf("%w: more than %d of one series, or %d in all", ErrTooMany, MaxPoints, maxTotal))
		}
		last, n = start, 1
		out = append(out, Point{At: time.UnixMilli(start).UTC(), Mean: v, Min: v, Max: v, Last: v})
	}
	return out, it.Err()
}

func seriesOf(ls labels.Labels) Series {
	s := Series{}
	ls.Range(func(l labels.Label) {
		if l.Name == model.MetricNameLabel {
			s.Name = l.Value
			return
		}
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		s.Labels[l.Name] = l.Value
	})
	return s
}

// Names returns the names of all series, sorted.
func (h *History) Names(ctx context.Context) ([]string, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	db, err := h.usable()
	if err != nil {
		return nil, fmt.Errorf("list the metric history: %w", err)
	}
	q, err := db.Querier(math.MinInt64/2, math.MaxInt64/2)
	if err != nil {
		return nil, fmt.Errorf("list the metric history: %w", err)
	}
	defer func() { _ = q.Close() }()
	names, _, err := q.LabelValues(ctx, model.MetricNameLabel, nil)
	if err != nil {
		return nil, fmt.Errorf("list the metric history: %w", err)
	}
	// What is returned may lie in a file that is unmapped later.
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strings.Clone(n)
	}
	return out, nil
}
