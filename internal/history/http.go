package history

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/shivx/shivx"
)

// Routes returns what answers the routes of the metric history, by their patterns for a
// http.ServeMux: what is to be sent as JSON, or an error, and the status that fits. They only read;
// who may ask, and how it is written, is for the caller.
//
//	GET /api/metrics/names
//	    the names of all series: {"names": ["shivx_host_load_1m", …]}
//	GET /api/metrics/query
//	    name   of the series; without it, all
//	    match  label=value that a series must have; may be repeated
//	    since  how long back, such as 1h; or from and to, in RFC 3339 or seconds since 1970
//	    step   the time of one point, such as 1m; without it, each measurement is a point
//	    the series: an Answer
func Routes(h *History) map[string]func(*http.Request) (answer any, status int, err error) {
	return map[string]func(*http.Request) (any, int, error){
		"GET /api/metrics/names": func(r *http.Request) (any, int, error) {
			names, err := h.Names(r.Context())
			if names == nil {
				names = []string{}
			}
			return map[string][]string{"names": names}, statusOf(err), err
		},
		"GET /api/metrics/query": func(r *http.Request) (any, int, error) {
			q, err := parseQuery(r.URL.Query(), h.o.now())
			if err != nil {
				return nil, statusOf(err), err
			}
			found, err := h.Query(r.Context(), q)
			if found == nil {
				found = []Series{}
			}
			return Answer{From: q.From, To: q.To, Step: q.Step.Seconds(), Series: found}, statusOf(err), err
		},
	}
}

// Answer is what GET /api/metrics/query answers. A point is [time, mean, min, max, last], its
// time in seconds since 1970.
type Answer struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Step   float64   `json:"step_seconds"`
	Series []Series  `json:"series"`
}

// MarshalJSON writes a point as the array [time, mean, min, max, last].
func (p Point) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, 96), '[')
	b = strconv.AppendFloat(b, float64(p.At.UnixMilli())/1e3, 'f', -1, 64)
	for _, v := range []float64{p.Mean, p.Min, p.Max, p.Last} {
		b = strconv.AppendFloat(append(b, ','), v, 'g', -1, 64)
	}
	return append(b, ']'), nil
}

// badRequest is an error of whoever asked.
type badRequest struct{ error }

func badf(hint, format string, args ...any) error {
	return badRequest{shivx.Hint(fmt.Errorf(format, args...), hint)}
}

const (
	// defaultSince is how far back a query goes that does not say.
	defaultSince = time.Hour
	maxMatchers  = 16
)

// parseQuery reads the parameters of a request at a time.
func parseQuery(v url.Values, now time.Time) (Query, error) {
	q := Query{Name: v.Get("name"), Matchers: map[string]string{}, From: now.Add(-defaultSince), To: now}
	for key := range v {
		switch key {
		case "name", "match", "since", "from", "to", "step":
		default:
			return q, badf("use name, match, since, from, to and step", "there is no parameter %q", key)
		}
	}
	if q.Name != "" && !model.LegacyValidation.IsValidMetricName(q.Name) {
		return q, badf("GET /api/metrics/names lists them", "%q is no name of a metric", q.Name)
	}
	if len(v["match"]) > maxMatchers {
		return q, badf("", "more than %d times match", maxMatchers)
	}
	for _, m := range v["match"] {
		label, value, ok := strings.Cut(m, "=")
		if !ok || !model.LegacyValidation.IsValidLabelName(label) {
			return q, badf("write label=value, such as mountpoint=/var", "match %q is no label with a value", m)
		}
		q.Matchers[label] = value
	}
	return q, q.parseTimes(v, now)
}

func (q *Query) parseTimes(v url.Values, now time.Time) error {
	if s := v.Get("since"); s != "" {
		if v.Has("from") || v.Has("to") {
			return badf("", "give since, or from and to, not both")
		}
		d, err := duration(s)
		if err != nil || d <= 0 {
			return badf("write 90s, 30m or 24h", "since %q is no length of time", s)
		}
		q.From = now.Add(-d)
	}
	for _, p := range []struct {
		key string
		to  *time.Time
	}{{"from", &q.From}, {"to", &q.To}} {
		s := v.Get(p.key)
		if s == "" {
			continue
		}
		t, err := moment(s)
		if err != nil {
			return badf("write it as 2006-01-02T15:04:05Z or in seconds since 1970", "%s %q is no time", p.key, s)
		}
		*p.to = t
	}
	if v.Has("to") && !v.Has("from") {
		q.From = q.To.Add(-defaultSince)
	}
	if s := v.Get("step"); s != "" {
		d, err := duration(s)
		if err != nil || d < 0 {
			return badf("write 30s or 5m", "step %q is no length of time", s)
		}
		q.Step = d
	}
	if err := q.check(); err != nil {
		return badRequest{err}
	}
	return nil
}

// duration reads 90s, 1h30m, or seconds.
func duration(s string) (time.Duration, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		// What does not fit into a Duration is as good as no number.
		if n < -1e9 || n > 9e9 || n != n {
			return 0, strconv.ErrRange
		}
		return time.Duration(n * float64(time.Second)), nil
	}
	return time.ParseDuration(s)
}

// moment reads RFC 3339 or seconds since 1970.
func moment(s string) (time.Time, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		if n < 0 || n > 253402300799 || n != n { // the end of the year 9999
			return time.Time{}, strconv.ErrRange
		}
		return time.UnixMilli(int64(n * 1e3)).UTC(), nil
	}
	return time.Parse(time.RFC3339, s)
}

// statusOf is the status of HTTP that fits the outcome of a query.
func statusOf(err error) int {
	var bad badRequest
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &bad), errors.Is(err, ErrTooMany):
		return http.StatusBadRequest
	case errors.Is(err, ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}
