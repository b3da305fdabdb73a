package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

const (
	// httpTimeout is the end of a call whose step has none.
	httpTimeout = 30 * time.Second
	// httpTries is how often a call that may be repeated is tried when the connection fails.
	httpTries = 3
	// httpPause is the time between two tries; it doubles.
	httpPause = 100 * time.Millisecond
	// httpRedirects is how many redirects are followed.
	httpRedirects = 3
)

// callNote is what is known of the last call of a step.
type callNote struct {
	Key      string `json:"key"`
	Answered bool   `json:"answered"`
}

// callNotes are kept by step.
type callNotes map[sdk.Step]callNote

func readNotes(file string) (callNotes, error) {
	n := callNotes{}
	if file == "" {
		return n, nil
	}
	_, err := readKept(file, &n)
	return n, err
}

func (n callNotes) write(file string) error {
	if file == "" {
		return nil
	}
	return keepJSON(file, n)
}

func (n callNotes) put(file string, step sdk.Step, entry callNote) error {
	n[step] = entry
	return n.write(file)
}

// resolve returns the headers with what their references stand for.
func (c httpCall) resolve() (http.Header, error) {
	headers := http.Header{"User-Agent": {"shivx/" + version}}
	if c.Body != "" && json.Valid([]byte(c.Body)) {
		headers.Set("Content-Type", "application/json")
	}
	for name, ref := range c.Headers {
		value, err := config.Resolve(ref)
		if err != nil {
			return nil, failed(fmt.Errorf("header %s: %w", name, err), hintOf(err, ""))
		}
		if strings.ContainsAny(value, "\r\n\x00") {
			return nil, sdk.Failf("write the secret in one line", "header %s: what %s stands for has a line break in it", name, ref)
		}
		headers.Set(name, value)
	}
	return headers, nil
}

// do makes the call; a failed connection is tried again where that does no harm. sent says that
// the request, or a part of it, may have reached the service.
func (c httpCall) do(ctx context.Context, headers http.Header) (status int, sent bool, err error) {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, httpTimeout)
		defer cancel()
	}
	transport := &http.Transport{DisableKeepAlives: true} // no proxy of the environment, no connection left behind
	client := &http.Client{Transport: transport, CheckRedirect: sameHost}
	tries := 1
	if c.repeatable() {
		tries = httpTries
	}
	pause := httpPause
	for try := 1; ; try++ {
		var arrived bool
		status, arrived, err = c.once(ctx, client, headers)
		sent = sent || arrived
		if err == nil || status != 0 || try == tries || ctx.Err() != nil {
			return status, sent && status == 0, err
		}
		select {
		case <-ctx.Done():
			return 0, sent, err
		case <-time.After(pause):
			pause *= 2
		}
	}
}

// once makes the call once. The status is 0 when there was no answer.
func (c httpCall) once(ctx context.Context, client *http.Client, headers http.Header) (status int, sent bool, err error) {
	var wrote atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	req, err := http.NewRequestWithContext(traced, c.method(), c.URL, strings.NewReader(c.Body))
	if err != nil {
		return 0, false, sdk.Failf("correct the url", "%s: the request cannot be made", c.shown())
	}
	req.Header = headers.Clone()
	if host := headers.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, wrote.Load(), c.broken(ctx, err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // the status has told
	if c.succeeds(res.StatusCode) {
		return res.StatusCode, true, nil
	}
	return res.StatusCode, true, c.refused(res)
}

func (c httpCall) succeeds(status int) bool {
	if len(c.Status) > 0 {
		return slices.Contains(c.Status, status)
	}
	return status >= 200 && status <= 299
}

// broken is a call without an answer. What net/http says repeats the address with its query.
func (c httpCall) broken(ctx context.Context, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if ctx.Err() != nil {
		return &sdk.Fail{Message: c.shown() + ": no answer in time", Hint: "is the service overloaded? give the step a longer timeout", Retryable: c.repeatable(), Err: ctx.Err()}
	}
	why := err.Error()
	if strings.Contains(why, "malformed") {
		why = "what answers there does not speak HTTP" // the text quotes it, and it may echo secrets
	}
	fail := &sdk.Fail{Message: c.shown() + ": " + why, Hint: "does the service run, and does it listen there?", Retryable: c.repeatable(), Err: err}
	if !fail.Retryable {
		fail.Hint += " if the call may be made twice without harm, add repeat: true, and it is tried again"
	}
	return fail
}

// refused is a call with an answer that is no success. The answer's text is not shown: it may
// repeat what was sent.
func (c httpCall) refused(res *http.Response) error {
	fail := &sdk.Fail{Message: fmt.Sprintf("%s answered %d", c.shown(), res.StatusCode), Hint: "see the service's log; if this status is a success, list it under status"}
	switch res.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		fail.Hint = "check the secret in the headers"
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		fail.Retryable = c.repeatable()
	}
	if to, err := res.Location(); err == nil && res.StatusCode/100 == 3 {
		fail.Hint = fmt.Sprintf("it leads to %s://%s; redirects are followed on the same host and with the same method only: write that url", to.Scheme, to.Host)
	}
	return fail
}

// sameHost follows a redirect only where it leads to the same place with the same request; the
// headers may hold secrets, and a POST that becomes a GET is another call.
func sameHost(req *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > httpRedirects || req.URL.Host != first.URL.Host || req.URL.Scheme != first.URL.Scheme || req.Method != first.Method {
		return http.ErrUseLastResponse
	}
	return nil
}
