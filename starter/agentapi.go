package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/shivx/shivx"
)

const (
	// defaultAgent is where an agent listens whose configuration does not say otherwise.
	defaultAgent = "127.0.0.1:9470"
	// tokenFile holds the administrator's token, below the agent's var folder.
	tokenFile = "api.token"
	// agentPatience is how long an agent may take to answer.
	agentPatience = 30 * time.Second
	// maxToken is the longest token read, in bytes.
	maxToken = 64 << 10
	// maxAnswer is the largest answer read, in bytes.
	maxAnswer = 64 << 20
)

// agentClient asks an agent over HTTP.
type agentClient struct {
	base  url.URL
	token string
	// tokenFrom says where the token is from, or why there is none.
	tokenFrom string
	// owner is the account that, beside root, the agent may run as; nil: anybody.
	owner *uint32
	// key makes a repetition of what this client asks for count once; "": none.
	key  string
	http *http.Client
}

// agent returns a client of the agent that is meant: by --agent, $SHIVX_AGENT or the
// configuration. Nothing is asked of it yet.
func (a *app) agent() (*agentClient, error) {
	c, err := a.findAgent()
	if err != nil {
		return nil, err
	}
	if c.token != "" && c.base.Scheme == "http" && !a.insecure && !isHere(c.base.Hostname()) {
		return nil, hint(usagef("the token would cross the network unencrypted to %s", c.base.Host),
			"name the agent by https://, or add --insecure if that network is trusted")
	}
	return c, nil
}

// isHere says whether a host is this machine for certain: by an address of its own or as localhost.
func isHere(host string) bool {
	ip := net.ParseIP(host)
	if host == "localhost" || ip.IsLoopback() {
		return true
	}
	own, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(own, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	})
}

func newAgentClient() *agentClient {
	c := &agentClient{token: strings.TrimSpace(os.Getenv("SHIVX_TOKEN")), tokenFrom: "SHIVX_TOKEN"}
	c.http = &http.Client{
		Timeout: agentPatience,
		// A token belongs to the one it was meant for, on the straight way.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: c.dial},
	}
	return c
}

// dial connects to the agent. Before a token that was read from a file is sent, whoever listens
// must be its owner or root: any account can take a port that is free while the agent is away.
// A server with TLS proves itself who it is.
func (c *agentClient) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil || c.owner == nil || c.base.Scheme != "http" {
		return conn, err
	}
	if err := checkListener("/proc", conn.RemoteAddr(), *c.owner); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// findAgent returns a client of the agent that is meant, whatever the way to it.
func (a *app) findAgent() (*agentClient, error) {
	c := newAgentClient()
	at := a.agentAt
	if at == "" {
		at = os.Getenv("SHIVX_AGENT")
	}
	var err error
	if at != "" {
		if c.base, err = agentURL(at); err != nil {
			return nil, err
		}
		if c.token != "" {
			return c, nil
		}
	}
	return c, a.completeAgent(c, at)
}

// completeAgent takes from the configuration what was not said: where the agent listens, unless
// at says so, and its token.
func (a *app) completeAgent(c *agentClient, at string) error {
	listen, folder := defaultAgent, "var"
	cfg, err := a.agentConfig()
	if err != nil {
		return err
	}
	if cfg != nil {
		listen, folder = cfg.API.Listen, cfg.Paths.Var
	}
	if at == "" {
		if listen == "off" {
			return hint(usagef("the HTTP interface of the agent is off"), `set "api: {listen: …}" in its configuration, or say where another agent is with --agent`)
		}
		if c.base, err = agentURL(listen); err != nil {
			return err
		}
	}
	if c.token != "" {
		return nil
	}
	// This host's token is not for other hosts.
	if host := c.base.Hostname(); at != "" && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		c.tokenFrom = "no token was given for another host; set SHIVX_TOKEN"
		return nil
	}
	path := filepath.Join(folder, tokenFile)
	c.tokenFrom = path
	if err := c.readToken(path); err != nil {
		c.tokenFrom = err.Error()
	}
	return nil
}

// readToken takes the token in a file, and its owner.
func (c *agentClient) readToken(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxToken))
	if err != nil {
		return err
	}
	c.token = strings.TrimSpace(string(b))
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		c.owner = &stat.Uid
	}
	return nil
}

// agentURL reads HOST:PORT, or a URL for an agent behind a proxy with TLS.
func agentURL(at string) (url.URL, error) {
	text := at
	if !strings.Contains(at, "://") {
		text = "http://" + at
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return url.URL{}, hint(usagef("%q is no address of an agent", at), "write HOST:PORT, such as "+defaultAgent)
	}
	if u.Scheme == "http" && u.Port() == "" {
		return url.URL{}, hint(usagef("%q names no port", at), "write HOST:PORT, such as "+defaultAgent)
	}
	if host := u.Hostname(); host == "" || net.ParseIP(host).IsUnspecified() {
		u.Host = net.JoinHostPort("127.0.0.1", u.Port()) // it listens everywhere
	}
	return url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/")}, nil
}

// get asks for path, which may have a query, and decodes the answer into out.
func (c *agentClient) get(ctx context.Context, path string, out any) error {
	return c.send(ctx, http.MethodGet, path, nil, out)
}

// send sends body as JSON, if it is not nil, and decodes the answer into out, if it is not nil.
func (c *agentClient) send(ctx context.Context, method, path string, body, out any) error {
	b, err := c.exchange(ctx, method, path, body, "application/json")
	if err != nil || out == nil || b == nil {
		return err
	}
	if err := json.Unmarshal(b, out); err != nil {
		return c.stranger(fmt.Errorf("its answer cannot be read: %w", err))
	}
	return nil
}

// exchange sends body as JSON, if it is not nil, and returns the body of the answer, which is to be of a media type; nil
// when there is none.
func (c *agentClient) exchange(ctx context.Context, method, path string, body any, accept string) ([]byte, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, content)
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	req.Header.Set("Accept", accept+", application/problem+json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.key != "" {
		req.Header.Set("Idempotency-Key", c.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.silent(ctx, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.silent(ctx, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, c.refusal(resp, b)
	}
	if resp.StatusCode == http.StatusNoContent {
		return nil, nil
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); strings.HasPrefix(accept, "image/") && kind != accept {
		return nil, c.stranger(fmt.Errorf("it sends %q, not a picture", kind))
	}
	return b, nil
}

// silent is the error of an agent that does not answer.
func (c *agentClient) silent(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("ask the agent at %s: interrupted", c.base.Host)
	}
	if stranger, ok := errors.AsType[*strangerError](err); ok {
		return withCode(exitRefused, hint(stranger, "is the agent running? see with ss -ltnp who has the port; to send the token all the same, set SHIVX_TOKEN"))
	}
	cause := err
	if u, ok := errors.AsType[*url.Error](err); ok {
		cause = u.Err
		if u.Timeout() {
			cause = fmt.Errorf("nothing within %s", agentPatience)
		}
	}
	return withCode(exitNotHealed, hint(fmt.Errorf("no agent answers at %s: %w", c.base.Host, cause),
		"start it, or say where it is with --agent or SHIVX_AGENT"))
}

// stranger is the error of something else that listens there.
func (c *agentClient) stranger(err error) error {
	return hint(fmt.Errorf("what answers at %s is no agent of this version: %w", c.base.Host, err),
		"say where the agent is with --agent or SHIVX_AGENT")
}

// refusal makes an error of an answer that is none, which an agent gives as an RFC 9457 document.
func (c *agentClient) refusal(resp *http.Response, body []byte) error {
	var p struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind != "application/problem+json" || json.Unmarshal(body, &p) != nil || p.Title == "" {
		return c.stranger(errors.New(resp.Status))
	}
	if strings.Contains(p.Detail, p.Title) { // it says the same, and of what
		p.Title, p.Detail = p.Detail, ""
	}
	err := errors.New(p.Title)
	if p.Type == shivx.ProblemOtherName {
		err = otherNameError{err}
	}
	switch resp.StatusCode {
	case http.StatusNotFound:
		return notThereError{hint(err, p.Detail)}
	case http.StatusUnauthorized:
		return withCode(exitRefused, c.badToken())
	case http.StatusForbidden, http.StatusConflict, http.StatusLocked:
		return withCode(exitRefused, hint(err, p.Detail))
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return withCode(exitUsage, hint(err, p.Detail))
	}
	return hint(err, p.Detail)
}

// badToken is the error of an agent that answers, but not to this token.
func (c *agentClient) badToken() error {
	if c.token == "" {
		return hint(fmt.Errorf("the agent at %s asks for a token: %s", c.base.Host, c.tokenFrom),
			"set SHIVX_TOKEN, or use the account and the --config of the agent")
	}
	return hint(fmt.Errorf("the agent at %s does not know the token from %s", c.base.Host, c.tokenFrom),
		"is it another agent's? give the --config of this one, or set SHIVX_TOKEN")
}
