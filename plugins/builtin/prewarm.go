package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/shivx/shivx/plugins/sdk"
)

// Prewarm is the plugin "prewarm": before a load that is forecast it asks a service for what it will be asked for, so
// that its caches, connections and workers are there. It asks at a rate of its own, whatever the answers take.
type Prewarm struct{}

var (
	_ sdk.Plugin         = Prewarm{}
	_ sdk.OptionsChecker = Prewarm{}
)

type prewarmOptions struct {
	// URLs are asked for in turn.
	URLs []string `json:"urls"`
	// Method is GET or HEAD; default GET.
	Method string `json:"method"`
	// Headers of the requests; values may be references: env:NAME, file:PATH.
	Headers map[string]string `json:"headers"`
	// Requests in all; default: each of URLs once.
	Requests int `json:"requests"`
	// Rate of the requests, per second; default 10.
	Rate float64 `json:"rate"`
	// Concurrency is how many may be under way at once; default 4.
	Concurrency int `json:"concurrency"`
	// Timeout of one request; default 10s.
	Timeout sdk.Duration `json:"timeout"`
	// Success is the share of requests that must be answered by a status below 400; default 0.9.
	Success *float64 `json:"success"`
}

const (
	// prewarmMost bounds the requests of one step.
	prewarmMost = 1_000_000
	// prewarmBody is how much of an answer is read.
	prewarmBody = 64 << 20
)

// Describe says what the plugin is.
func (Prewarm) Describe() sdk.Description {
	return sdk.Description{
		Name: "prewarm", Version: version, RecoveryType: "custom", Idempotent: true,
		Summary: "Warms a service by requests, at a given rate, before the load comes",
	}
}

// CheckOptions checks the options of a strategy or an action.
func (Prewarm) CheckOptions(options json.RawMessage) error {
	_, err := parsePrewarm(options)
	return err
}

func parsePrewarm(options json.RawMessage) (o prewarmOptions, err error) {
	share := 0.9
	o = prewarmOptions{Method: http.MethodGet, Rate: 10, Concurrency: 4, Timeout: sdk.Duration(10 * time.Second), Success: &share}
	if err := sdk.Decode(options, &o); err != nil {
		return o, err
	}
	if o.Requests == 0 {
		o.Requests = len(o.URLs)
	}
	switch {
	case len(o.URLs) == 0:
		return o, sdk.BadOption("urls", "for example urls: ['http://127.0.0.1:8080/']", "nothing says what to ask for")
	case o.Method != http.MethodGet && o.Method != http.MethodHead:
		return o, sdk.BadOption("method", "write GET or HEAD; what changes something is no warming", "%q is none of them", o.Method)
	case o.Requests < 0 || o.Requests > prewarmMost:
		return o, sdk.BadOption("requests", "", "%d is not from 1 to %d", o.Requests, prewarmMost)
	case o.Rate < 0.01 || o.Rate > 10_000:
		return o, sdk.BadOption("rate", "write requests per second, from 0.01 to 10000", "%v is no rate", o.Rate)
	case o.Concurrency < 1 || o.Concurrency > 1000:
		return o, sdk.BadOption("concurrency", "", "%d is not from 1 to 1000", o.Concurrency)
	case o.Timeout <= 0:
		return o, sdk.BadOption("timeout", "", "must be more than 0s")
	case o.Success == nil || *o.Success < 0 || *o.Success > 1:
		return o, sdk.BadOption("success", "write a share from 0 to 1", "is no share")
	}
	for i := range o.URLs {
		if err := o.call(i).check(fmt.Sprintf("urls[%d]", i)); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (o prewarmOptions) call(i int) httpCall {
	return httpCall{Method: o.Method, URL: o.URLs[i%len(o.URLs)], Headers: o.Headers}
}

// Recover sends the requests.
func (p Prewarm) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := parsePrewarm(req.Options)
	if err != nil {
		return sdk.Result{}, err
	}
	headers, err := o.call(0).resolve()
	if err != nil {
		return sdk.Result{}, err
	}
	if req.Plan {
		var changes []string
		for i := range o.URLs {
			changes = append(changes, "ask for "+o.call(i).shown())
		}
		return sdk.Result{Summary: fmt.Sprintf("would send %d requests, %g each second, to %d addresses", o.Requests, o.Rate, len(o.URLs)), Changes: changes}, nil
	}
	w := o.send(ctx, req, headers)
	if ctx.Err() != nil {
		return sdk.Result{}, fmt.Errorf("stopped after %d of %d requests: %w", w.sent, o.Requests, ctx.Err())
	}
	share := float64(w.good) / float64(max(w.sent, 1))
	result := sdk.Result{
		Summary: fmt.Sprintf("%d of %d requests were answered well", w.good, w.sent), Changes: w.changes(),
	}
	if share < *o.Success {
		return result, &sdk.Fail{
			Message: fmt.Sprintf("%d of %d requests were answered well, %.0f%% are wanted; the last error: %v", w.good, w.sent, *o.Success*100, w.last),
			Hint:    "does the service run, and can it bear the rate? see its log", Retryable: true, Err: w.last,
		}
	}
	return result, nil
}

// warming is what came of the requests.
type warming struct {
	mu         sync.Mutex
	sent, good int
	took       []time.Duration
	last       error
}

// send sends the requests at the rate; one that finds no place among those under way waits for it.
func (o prewarmOptions) send(ctx context.Context, req sdk.Request, headers http.Header) *warming {
	transport := &http.Transport{MaxIdleConnsPerHost: o.Concurrency, MaxConnsPerHost: o.Concurrency}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: sameHost, Timeout: time.Duration(o.Timeout)}
	w := &warming{}
	places := make(chan struct{}, o.Concurrency)
	var all sync.WaitGroup
	defer all.Wait()
	pause := time.NewTicker(time.Duration(float64(time.Second) / o.Rate))
	defer pause.Stop()
	for i := range o.Requests {
		select {
		case <-ctx.Done():
			return w
		case places <- struct{}{}:
		}
		if i > 0 {
			select {
			case <-ctx.Done():
				return w
			case <-pause.C:
			}
		}
		if i%1000 == 999 {
			req.Progress("%d of %d requests sent", i+1, o.Requests)
		}
		all.Go(func() {
			defer func() { <-places }()
			began := time.Now()
			err := o.call(i).ask(ctx, client, headers)
			w.note(time.Since(began), err)
		})
	}
	return w
}

func (w *warming) note(took time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent++
	if err != nil {
		w.last = err
		return
	}
	w.good++
	w.took = append(w.took, took)
}

// changes says how long the answers took, at the beginning and at the end.
func (w *warming) changes() []string {
	if len(w.took) < 2 {
		return nil
	}
	half := len(w.took) / 2
	median := func(list []time.Duration) time.Duration {
		list = slices.Sorted(slices.Values(list))
		return list[len(list)/2].Round(10 * time.Microsecond)
	}
	return []string{fmt.Sprintf("an answer took %s in the first half and %s in the second (medians)", median(w.took[:half]), median(w.took[half:]))}
}

// ask sends one request and reads the answer to its end.
func (c httpCall) ask(ctx context.Context, client *http.Client, headers http.Header) error {
	req, err := http.NewRequestWithContext(ctx, c.method(), c.URL, nil)
	if err != nil {
		return sdk.Failf("correct the url", "%s: the request cannot be made", c.shown())
	}
	req.Header = headers.Clone()
	if host := headers.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	res, err := client.Do(req)
	if err != nil {
		return c.broken(ctx, err)
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, prewarmBody))
	if res.StatusCode >= 400 {
		return errors.Join(fmt.Errorf("%s answered %d", c.shown(), res.StatusCode), err)
	}
	return err
}
