package health

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// maxBody is how much of an answer is searched for the expected text.
const maxBody = 1 << 20

// httpProbe asks over a fresh connection each time, so that a server that no longer accepts
// is found; it uses no proxy and follows no redirect: the status of the URL itself is judged.
type httpProbe struct {
	c      config.HTTPCheck
	shown  string // method and URL without user, password and query
	client *http.Client
}

func newHTTPProbe(c config.HTTPCheck) (Probe, error) {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, shivx.Hint(errors.New("the url is not an HTTP address"), "write http://HOST:PORT/PATH or https://…")
	}
	if c.Method == "" {
		c.Method = http.MethodGet
	}
	if _, err := http.NewRequest(c.Method, c.URL, nil); err != nil {
		return nil, fmt.Errorf("method %q cannot be used", c.Method)
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	client := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: c.Insecure}, //nolint:gosec // asked for in the configuration
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &httpProbe{c: c, shown: c.Method + " " + shown.String(), client: client}, nil
}

func (p *httpProbe) Check(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, p.c.Method, p.c.URL, nil)
	if err != nil {
		return fmt.Errorf("%s: the request cannot be made", p.shown)
	}
	req.Header.Set("User-Agent", "shivx-health")
	for name, ref := range p.c.Headers {
		value, err := config.Resolve(ref)
		if err != nil {
			return fmt.Errorf("%s: header %s: %w", p.shown, name, err)
		}
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", p.shown, plain(ctx, withoutURL(err)))
	}
	defer resp.Body.Close()
	if !p.passes(resp.StatusCode) {
		return fmt.Errorf("%s answered %d", p.shown, resp.StatusCode)
	}
	return p.searchBody(ctx, resp.Body)
}

func (p *httpProbe) passes(status int) bool {
	if len(p.c.Status) == 0 {
		return status >= 200 && status <= 299
	}
	return slices.Contains(p.c.Status, status)
}

func (p *httpProbe) searchBody(ctx context.Context, r io.Reader) error {
	if p.c.Body == "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(r, maxBody))
	if bytes.Contains(body, []byte(p.c.Body)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: the answer broke off: %w", p.shown, plain(ctx, withoutURL(err)))
	}
	return fmt.Errorf("%s: the answer does not contain %q", p.shown, shorten(p.c.Body, 80))
}

// withoutURL takes off the layer of net/http that repeats the URL with its query.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
