package builtin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/plugins/sdktest"
)

// switchboard is a service whose interface sheds load; it notes each call.
type switchboard struct {
	*httptest.Server
	mu     sync.Mutex
	calls  []string
	header http.Header
	// state is the body of the last PUT.
	state  string
	answer func(w http.ResponseWriter, r *http.Request) bool
}

func newSwitchboard(t *testing.T) *switchboard {
	t.Helper()
	s := &switchboard{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *switchboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.URL, body)))
	s.header = r.Header
	if s.answer != nil && s.answer(w, r) {
		return
	}
	s.state = string(body)
}

func (s *switchboard) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.calls...)
}

func httpRequest(t *testing.T, calls map[string]any) sdk.Request {
	return sdk.Request{Key: "k1", Component: "shop", WorkDir: t.TempDir(), Options: jsonOf(t, calls)}
}

func newHTTP() *HTTP { return &HTTP{host: newHost(nil)} }

// hook is options with both halves at path.
func hook(method, url string, more map[string]any) map[string]any {
	half := func(body string) map[string]any {
		c := map[string]any{"method": method, "url": url, "body": body}
		maps.Copy(c, more)
		return c
	}
	return map[string]any{"isolate": half(`{"limit":5}`), "reintegrate": half(`{"limit":0}`)}
}

func TestHTTPCallsTheService(t *testing.T) {
	s := newSwitchboard(t)
	t.Setenv("SHOP_TOKEN", "Bearer s3cret")
	file := t.TempDir() + "/key"
	require.NoError(t, os.WriteFile(file, []byte("from-a-file\n"), 0o600))
	req := httpRequest(t, hook("PUT", s.URL+"/limit?by=shivx", map[string]any{"headers": map[string]any{"Authorization": "env:SHOP_TOKEN", "X-Key": "file:" + file, "X-Plain": "as it is"}}))
	res, err := newHTTP().Isolate(ctx(t), planned(req))
	require.NoError(t, err)
	require.Equal(t, []string{"call PUT " + s.URL + "/limit"}, res.Changes)
	require.Empty(t, s.seen())

	res, err = newHTTP().Isolate(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, "PUT "+s.URL+"/limit answered 200", res.Summary)
	require.Equal(t, []string{`PUT /limit?by=shivx {"limit":5}`}, s.seen())
	require.Equal(t, "Bearer s3cret", s.header.Get("Authorization"))
	require.Equal(t, "from-a-file", s.header.Get("X-Key"))
	require.Equal(t, "as it is", s.header.Get("X-Plain"))
	require.Equal(t, "application/json", s.header.Get("Content-Type"))
	_, err = newHTTP().Reintegrate(ctx(t), req)
	require.NoError(t, err)
	require.JSONEq(t, `{"limit":0}`, s.state)
	_, err = newHTTP().Recover(ctx(t), req)
	require.ErrorContains(t, err, "no call is configured for step recover")
}

// TestHTTPMakesACallOnce: a POST is not made twice for one key, and is made again for the next.
func TestHTTPMakesACallOnce(t *testing.T) {
	s, p := newSwitchboard(t), newHTTP()
	req := httpRequest(t, hook("POST", s.URL, nil))
	for range 2 {
		_, err := p.Isolate(ctx(t), req)
		require.NoError(t, err)
	}
	require.Len(t, s.seen(), 1)
	_, err := p.Reintegrate(ctx(t), req)
	require.NoError(t, err)
	_, err = p.Isolate(ctx(t), req) // the same key after its opposite is no repetition
	require.NoError(t, err)
	require.Len(t, s.seen(), 3)
	req.Key = "k2"
	_, err = p.Isolate(ctx(t), req)
	require.NoError(t, err)
	require.Len(t, s.seen(), 4)

	put := httpRequest(t, hook("PUT", s.URL, nil))
	for range 2 { // a service that was restarted meanwhile is told again
		_, err = p.Isolate(ctx(t), put)
		require.NoError(t, err)
	}
	require.Len(t, s.seen(), 6)
}

func TestHTTPKnowsWhatItDoesNotKnow(t *testing.T) {
	s, p := newSwitchboard(t), newHTTP()
	cut := func(w http.ResponseWriter, _ *http.Request) bool {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = c.Close()
		}
		return true
	}
	s.answer = cut
	req := httpRequest(t, hook("POST", s.URL, nil))
	done, err := p.Done(ctx(t), sdk.StepIsolate, req)
	require.NoError(t, err)
	require.False(t, done, "it was not begun")
	_, err = p.Isolate(ctx(t), req)
	require.False(t, failOf(t, err).Retryable)
	require.Contains(t, failOf(t, err).Hint, "repeat: true")
	require.Len(t, s.seen(), 1, "a POST was repeated")
	_, err = p.Done(ctx(t), sdk.StepIsolate, req)
	require.ErrorIs(t, err, sdk.ErrUnknown)
	_, err = p.Isolate(ctx(t), req)
	require.ErrorContains(t, err, "nobody knows whether it arrived")
	require.Len(t, s.seen(), 1)

	// With repeat it is tried again at once, and again by whoever resumes.
	req = httpRequest(t, hook("POST", s.URL, map[string]any{"repeat": true}))
	_, err = p.Isolate(ctx(t), req)
	require.True(t, failOf(t, err).Retryable)
	require.Len(t, s.seen(), 1+httpTries)
	done, err = p.Done(ctx(t), sdk.StepIsolate, req)
	require.NoError(t, err)
	require.False(t, done)
	s.mu.Lock()
	s.answer = nil
	s.mu.Unlock()
	_, err = p.Isolate(ctx(t), req)
	require.NoError(t, err)
	done, err = p.Done(ctx(t), sdk.StepIsolate, req)
	require.NoError(t, err)
	require.True(t, done)
}

// TestHTTPRetriesAFailedConnection: the service comes up between two tries.
func TestHTTPRetriesAFailedConnection(t *testing.T) {
	addr := testenv.Addr(t)
	post := httpRequest(t, hook("POST", "http://"+addr, nil))
	_, err := newHTTP().Isolate(ctx(t), post)
	require.ErrorContains(t, err, "connection refused")
	require.False(t, failOf(t, err).Retryable)
	done, err := newHTTP().Done(ctx(t), sdk.StepIsolate, post)
	require.NoError(t, err)
	require.False(t, done, "nothing was sent, and that is known")

	tried := make(chan struct{}, 1)
	listener, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	var once sync.Once
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			once.Do(func() { tried <- struct{}{} })
			_ = c.Close()
		}
	}()
	s := &switchboard{}
	up := make(chan *http.Server, 1)
	go func() {
		<-tried
		_ = listener.Close()
		l, err := net.Listen("tcp", addr)
		if err != nil {
			up <- nil
			return
		}
		server := &http.Server{Handler: s, ReadHeaderTimeout: time.Second}
		up <- server
		_ = server.Serve(l)
	}()
	_, err = newHTTP().Isolate(ctx(t), httpRequest(t, hook("PUT", "http://"+addr, nil)))
	server := <-up
	require.NotNil(t, server)
	defer func() { _ = server.Close() }()
	require.NoError(t, err)
	require.Len(t, s.seen(), 1)
}

func TestHTTPJudgesTheStatus(t *testing.T) {
	s, p := newSwitchboard(t), newHTTP()
	status := 0
	s.answer = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true }
	for _, tc := range []struct {
		status    int
		expected  []int
		ok, again bool
	}{
		{204, nil, true, false}, {404, nil, false, false}, {404, []int{404, 200}, true, false}, {200, []int{202}, false, false},
		{503, nil, false, true}, {401, nil, false, false}, {302, nil, false, false},
	} {
		status = tc.status
		more := map[string]any{}
		if tc.expected != nil {
			more["status"] = tc.expected
		}
		_, err := p.Isolate(ctx(t), httpRequest(t, hook("PUT", s.URL, more)))
		if tc.ok {
			require.NoError(t, err, "%+v", tc)
			continue
		}
		require.ErrorContains(t, err, fmt.Sprintf("answered %d", tc.status))
		require.Equal(t, tc.again, failOf(t, err).Retryable, "%+v", tc)
	}
	require.Len(t, s.seen(), 7, "an answer is no failed connection")
	status = 500
	post := httpRequest(t, hook("POST", s.URL, nil))
	for range 2 { // the service said no: the same key may try again
		_, err := p.Isolate(ctx(t), post)
		require.ErrorContains(t, err, "answered 500")
	}
	require.Len(t, s.seen(), 9)
}

func TestHTTPFollowsRedirectsOnlyOnTheSameHost(t *testing.T) {
	s, other, p := newSwitchboard(t), newSwitchboard(t), newHTTP()
	where, code := "", 0
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/old" {
			return false
		}
		http.Redirect(w, r, where, code)
		return true
	}
	req := func() sdk.Request { return httpRequest(t, hook("PUT", s.URL+"/old", nil)) }
	where, code = "/new", 308
	_, err := p.Isolate(ctx(t), req())
	require.NoError(t, err)
	require.Equal(t, `PUT /new {"limit":5}`, s.seen()[1])
	for _, c := range []int{307, 302, 301} {
		where, code = other.URL+"/new", c
		_, err = p.Isolate(ctx(t), req())
		require.ErrorContains(t, err, fmt.Sprintf("answered %d", c))
		require.Contains(t, failOf(t, err).Hint, other.URL)
	}
	require.Empty(t, other.seen(), "secrets were sent to another host")
	where, code = "/new", 303 // a GET would be another call
	_, err = p.Isolate(ctx(t), req())
	require.ErrorContains(t, err, "answered 303")
	where, code = "/old", 307
	_, err = p.Isolate(ctx(t), req())
	require.ErrorContains(t, err, "answered 307")
}

func TestHTTPShowsNoSecrets(t *testing.T) {
	const secret = "s3cret-value"
	t.Setenv("HTTP_SECRET", secret)
	t.Setenv("HTTP_BROKEN", secret+"\nX-Injected: 1")
	s := newSwitchboard(t)
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = echo.Close() })
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "bad token "+r.Header.Get("Authorization"))
		return true
	}
	headers := map[string]any{"Authorization": "env:HTTP_SECRET"}
	for name, url := range map[string]string{
		"refused": "http://" + testenv.Addr(t) + "/?token=" + secret,
		"answer":  s.URL + "/?token=" + secret, "not HTTP": "http://" + echo.Addr().String() + "/?token=" + secret,
		"TLS": "https://" + s.Listener.Addr().String() + "/?token=" + secret,
	} {
		req := httpRequest(t, hook("POST", url, map[string]any{"headers": headers}))
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := newHTTP().Isolate(short, req)
		cancel()
		require.Error(t, err, name)
		require.NotContains(t, fmt.Sprintf("%v %+v %s", err, err, failOf(t, err).Hint), secret, name)
		res, err := newHTTP().Isolate(ctx(t), planned(req))
		require.NoError(t, err)
		require.NotContains(t, fmt.Sprint(res), secret)
		entries, err := os.ReadDir(req.WorkDir)
		require.NoError(t, err)
		for _, e := range entries {
			data, err := os.ReadFile(req.WorkDir + "/" + e.Name())
			require.NoError(t, err)
			require.NotContains(t, string(data), secret)
		}
	}
	_, err = newHTTP().Isolate(ctx(t), httpRequest(t, hook("POST", s.URL, map[string]any{"headers": map[string]any{"A": "env:HTTP_BROKEN"}})))
	require.ErrorContains(t, err, "line break")
	require.NotContains(t, err.Error(), secret)
	_, err = newHTTP().Isolate(ctx(t), planned(httpRequest(t, hook("POST", s.URL, map[string]any{"headers": map[string]any{"A": "env:NO_SUCH_VARIABLE"}}))))
	require.ErrorContains(t, err, "env:NO_SUCH_VARIABLE")
	require.NotEmpty(t, failOf(t, err).Hint)
}

func TestHTTPEndsWithItsStep(t *testing.T) {
	s := newSwitchboard(t)
	release := make(chan struct{})
	defer close(release)
	s.answer = func(http.ResponseWriter, *http.Request) bool { <-release; return true }
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := newHTTP().Isolate(short, httpRequest(t, hook("PUT", s.URL, nil)))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "no answer in time")
}

func TestHTTPOptions(t *testing.T) {
	require.NoError(t, newHTTP().CheckOptions(json.RawMessage(`{"recover":{"url":"https://localhost:8443/-/reload","status":[200,204]}}`)))
	for o, want := range map[string]struct{ option, message string }{
		`{}`:                                                           {"isolate", "nothing says what to call"},
		`{"isolate":{"url":"http://a"}}`:                               {"isolate", "has no opposite"},
		`{"recover":{"url":"a/b"}}`:                                    {"recover.url", "not an HTTP address"},
		`{"recover":{"url":"ftp://a/b"}}`:                              {"recover.url", "not an HTTP address"},
		`{"recover":{"url":"http://u:pw1@a"}}`:                         {"recover.url", "holds a user"},
		`{"recover":{"url":"http://a","method":"post"}}`:               {"recover.method", `"post" is none`},
		`{"recover":{"url":"http://a","headers":{"A B":"x"}}}`:         {"recover.headers.A B", "name of a header"},
		`{"recover":{"url":"http://a","headers":{"A":"env:1x"}}}`:      {"recover.headers.A", "no reference"},
		`{"recover":{"url":"http://a","headers":{"A":"file:x"}}}`:      {"recover.headers.A", "no reference"},
		`{"recover":{"url":"http://a","headers":{"A":"pw1\r\nB: x"}}}`: {"recover.headers.A", "line break"},
		`{"recover":{"url":"http://a","status":[99]}}`:                 {"recover.status", "99"},
		`{"recover":{"uri":"http://a"}}`:                               {"recover.uri", "unknown option"},
	} {
		err := newHTTP().CheckOptions(json.RawMessage(o))
		require.ErrorContains(t, err, want.message, o)
		require.NotContains(t, err.Error(), "pw1")
		var bad *sdk.OptionError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, want.option, bad.Option())
	}
}

func TestHTTPConformance(t *testing.T) {
	s := newSwitchboard(t)
	options := hook("PUT", s.URL, nil)
	options["recover"] = map[string]any{"method": "PUT", "url": s.URL, "body": "healthy"}
	read := func() string { s.mu.Lock(); defer s.mu.Unlock(); return s.state }
	set := func(state string) { s.mu.Lock(); defer s.mu.Unlock(); s.state = state }
	options["reintegrate"].(map[string]any)["body"] = "healthy"
	set("healthy")
	sdktest.Run(t, sdktest.Suite{
		Plugin: newHTTP(), Options: options,
		BadOptions: []any{map[string]any{}, map[string]any{"isolate": map[string]any{"url": s.URL}}, map[string]any{"recover": map[string]any{"url": "x"}}},
		Break:      func() error { set("broken"); return nil },
		Healthy: func() error {
			if got := read(); got != "healthy" {
				return fmt.Errorf("it is %q", got)
			}
			return nil
		},
		State:    read,
		Isolated: func() (bool, error) { return read() == `{"limit":5}`, nil },
	})
}

// TestHTTPConformanceOfACallThatMayNotBeRepeated: each POST counts.
func TestHTTPConformanceOfACallThatMayNotBeRepeated(t *testing.T) {
	s := newSwitchboard(t)
	var healthy bool
	reloads := 0
	s.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/-/reload" {
			healthy, reloads = true, reloads+1
		}
		return true
	}
	options := hook("POST", s.URL, nil)
	options["recover"] = map[string]any{"url": s.URL + "/-/reload"}
	locked := func(f func()) { s.mu.Lock(); defer s.mu.Unlock(); f() }
	sdktest.Run(t, sdktest.Suite{
		Plugin: newHTTP(), Options: options,
		Break: func() error { locked(func() { healthy = false }); return nil },
		Healthy: func() (err error) {
			locked(func() {
				if !healthy {
					err = fmt.Errorf("it is down")
				}
			})
			return err
		},
		State: func() (state string) {
			locked(func() { state = fmt.Sprint(healthy, reloads) })
			return state
		},
	})
}
