package forecast

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/api"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// promSource asks a server by PromQL.
type promSource struct {
	server *promServer
	query  string
	limit  float64
	// every is the time between two points of what is new.
	every time.Duration
}

func (p *promSource) read(ctx context.Context, from, to time.Time, step time.Duration) ([]reading, error) {
	if step <= 0 {
		step = p.every
	}
	if first := floor(from, step); first.Before(from) {
		from = first.Add(step)
	}
	if from.After(to) {
		return nil, nil
	}
	value, err := p.server.ask(ctx, p.query, prometheus.Range{Start: from, End: to, Step: step})
	if err != nil {
		return nil, err
	}
	matrix, ok := value.(model.Matrix)
	if !ok {
		return nil, shivx.Hint(fmt.Errorf("the query %q gives %s", p.query, value.Type()), "write a query that gives a number for each series")
	}
	out := make([]reading, 0, len(matrix))
	for _, s := range matrix {
		r := reading{name: p.name(s.Metric), points: make([]Point, 0, len(s.Values))}
		for _, v := range s.Values {
			r.points = append(r.points, Point{v.Timestamp.Time().UTC(), float64(v.Value), float64(v.Value)})
		}
		if p.limit > 0 {
			scale(r.points, 1/p.limit)
		}
		out = append(out, r)
	}
	return out, nil
}

// name is the series' own where it has one, else the query with the labels.
func (p *promSource) name(m model.Metric) string {
	labels := map[string]string{}
	name := p.query
	for k, v := range m {
		if k == model.MetricNameLabel {
			name = string(v)
			continue
		}
		labels[string(k)] = string(v)
	}
	return seriesName(name, labels)
}

// promServer is a server that answers PromQL.
type promServer struct {
	api prometheus.API
	// url without a password.
	url     string
	timeout time.Duration
	// away is why it did not answer in this look: others need not wait for it.
	away atomic.Pointer[error]
}

func (s *promServer) ask(ctx context.Context, query string, r prometheus.Range) (model.Value, error) {
	if away := s.away.Load(); away != nil {
		return nil, *away
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	value, _, _, err := s.api.QueryRange(limited, query, r)
	if err == nil {
		return value, nil
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, shivx.Hint(fmt.Errorf("the query %q gives more than %d MB", query, large.Limit>>20), "write a query that gives fewer series")
	}
	refused, answered := errors.AsType[*prometheus.Error](err)
	switch {
	case answered && refused.Type == prometheus.ErrBadData:
		return nil, shivx.Hint(fmt.Errorf("the query is refused: %s", refused.Msg), "try the query in the server's own page")
	case answered && refused.Type == prometheus.ErrClient:
		return nil, shivx.Hint(fmt.Errorf("the Prometheus server %s refuses: %s", s.url, refused.Msg), "check its url and token")
	}
	err = shivx.Hint(fmt.Errorf("the Prometheus server %s does not answer: %w", s.url, err), "check its url, and that it runs")
	if !answered && ctx.Err() == nil {
		s.away.Store(&err)
	}
	return nil, err
}

func newPromServer(c config.ForecastServer) (*promServer, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, shivx.Hint(fmt.Errorf("read forecast.prometheus.ca: %w", err), "give the path of a PEM file that the agent may read")
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, shivx.Hint(fmt.Errorf("forecast.prometheus.ca: %s has no certificate", c.CA), "give a file with certificates as PEM")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	at, own := c.URL, ""
	if u, err := url.Parse(c.URL); err == nil {
		at, own = u.Redacted(), origin(u)
	}
	client, err := api.NewClient(api.Config{Address: c.URL, RoundTripper: &bearer{token: c.Token, origin: own, most: mostBytes, next: transport}})
	if err != nil {
		return nil, fmt.Errorf("forecast.prometheus: %w", err)
	}
	return &promServer{api: prometheus.NewAPI(client), url: at, timeout: c.Timeout}, nil
}

// mostBytes is how large an answer may be: a query that matches far too much must not take the memory of the host.
const mostBytes = 256 << 20

// bearer adds the token, which is read anew each time: a changed one needs no restart. It goes to no server but the one that
// the configuration names, wherever that may redirect to. Answers are bounded.
type bearer struct {
	token, origin string
	most          int64 // bytes of an answer
	next          http.RoundTripper
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token == "" || origin(r.URL) != b.origin {
		return b.bounded(r)
	}
	token, err := config.Resolve(b.token)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return b.bounded(r)
}

func (b *bearer) bounded(r *http.Request) (*http.Response, error) {
	answer, err := b.next.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, b.most)
	}
	return answer, err
}
