package builtin

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/plugins/sdk"
)

// backend is a web server that says its name.
func backend(t *testing.T, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// answers asks the proxy a few times and returns the names that answered.
func answers(t *testing.T, addr string) string {
	t.Helper()
	seen := map[string]bool{}
	var order []string
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	for range 6 {
		res, err := client.Get("http://" + addr)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		name := fmt.Sprintf("%d %s", res.StatusCode, body)
		if res.StatusCode != http.StatusOK {
			return fmt.Sprint(res.StatusCode) // each takes HAProxy a second or more of retries
		}
		if !seen[name] {
			seen[name] = true
			order = append(order, name)
		}
	}
	if len(order) == 2 && order[0] > order[1] {
		order[0], order[1] = order[1], order[0]
	}
	return strings.Join(order, ",")
}

func networkRequest(t *testing.T, options map[string]any) sdk.Request {
	return sdk.Request{Key: "k", Component: "api", Options: jsonOf(t, options), WorkDir: t.TempDir()}
}

func TestNetworkIsolatesThroughHAProxy(t *testing.T) {
	proxy := testenv.HAProxy(t, backend(t, "one"), backend(t, "two"))
	n := &Network{}
	req := networkRequest(t, map[string]any{"haproxy": map[string]any{"socket": proxy.Socket, "backend": "app", "server": "s1", "drain": "200ms"}})
	require.Equal(t, "200 one,200 two", answers(t, proxy.Addr))
	plan := req
	plan.Plan = true
	res, err := n.Isolate(ctx(t), plan)
	require.NoError(t, err)
	require.Equal(t, []string{"set app/s1 from up to maint"}, res.Changes)
	require.Equal(t, "200 one,200 two", answers(t, proxy.Addr), "a plan changed something")
	for range 2 {
		_, err = n.Isolate(ctx(t), req)
		require.NoError(t, err)
		require.Equal(t, "200 two", answers(t, proxy.Addr))
	}
	for range 2 {
		_, err = n.Reintegrate(ctx(t), req)
		require.NoError(t, err)
		require.Equal(t, "200 one,200 two", answers(t, proxy.Addr))
	}
	_, err = n.Recover(ctx(t), req)
	require.ErrorContains(t, err, "no recovery without a server that takes over")
}

func TestNetworkFailsOverAndBack(t *testing.T) {
	dead := testenv.Addr(t)
	proxy := testenv.HAProxy(t, dead, backend(t, "two")+" disabled")
	n := &Network{}
	req := networkRequest(t, map[string]any{"haproxy": map[string]any{"socket": proxy.Socket, "backend": "app", "server": "s1", "failover": "s2"}})
	require.Equal(t, "503", answers(t, proxy.Addr))
	plan := req
	plan.Plan = true
	res, err := n.Recover(ctx(t), plan)
	require.NoError(t, err)
	require.Equal(t, []string{"set app/s2 from maint to ready and wait until it is up", "set app/s1 from up to maint"}, res.Changes)
	for range 2 {
		_, err = n.Recover(ctx(t), req)
		require.NoError(t, err)
		require.Equal(t, "200 two", answers(t, proxy.Addr))
	}
	l, err := net.Listen("tcp", dead)
	require.NoError(t, err)
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "one") }), ReadHeaderTimeout: time.Second}
	go func() { _ = web.Serve(l) }()
	t.Cleanup(func() { _ = web.Close() })
	for range 2 {
		_, err = n.Undo(ctx(t), req)
		require.NoError(t, err)
		require.Equal(t, "200 one", answers(t, proxy.Addr))
	}
}

func TestNetworkDoesNotFailOverToADeadServer(t *testing.T) {
	proxy := testenv.HAProxy(t, backend(t, "one"), testenv.Addr(t)+" check inter 50ms fall 1 rise 1 disabled")
	n := &Network{}
	options := map[string]any{"socket": proxy.Socket, "backend": "app", "server": "s1", "failover": "s2", "ready_timeout": "400ms"}
	// HAProxy trusts a server at first when it leaves maintenance, so it is brought to know better.
	o := haproxyOptions{Socket: proxy.Socket, Backend: "app", Server: "s1"}
	_, err := o.ask(ctx(t), "set server app/s2 state ready")
	require.NoError(t, err)
	require.Eventually(t, func() bool { s, err := o.state(ctx(t), "s2"); return err == nil && s.operational == 0 }, 5*time.Second, 10*time.Millisecond)
	_, err = n.Recover(ctx(t), networkRequest(t, map[string]any{"haproxy": options}))
	require.ErrorContains(t, err, "nothing was taken out of traffic")
	require.Equal(t, "200 one", answers(t, proxy.Addr))
}

func TestNetworkNeverTrustsSilence(t *testing.T) {
	proxy := testenv.HAProxy(t, backend(t, "one"))
	conf, err := os.ReadFile(proxy.Conf)
	require.NoError(t, err)
	proxy.Stop(t)
	testenv.WriteFile(t, proxy.Conf, strings.Replace(string(conf), "level admin", "level user", 1))
	proxy.Start(t)
	n := &Network{}
	for server, want := range map[string]string{"s1": "", "s9": "no server app/s9"} {
		_, err := n.Isolate(ctx(t), networkRequest(t, map[string]any{"haproxy": map[string]any{"socket": proxy.Socket, "backend": "app", "server": server}}))
		require.Error(t, err)
		if want != "" {
			continue // at level user even the state cannot be read
		}
		var fail *sdk.Fail
		require.ErrorAs(t, err, &fail)
		require.NotEmpty(t, fail.Hint)
	}
	_, err = n.Isolate(ctx(t), networkRequest(t, map[string]any{"haproxy": map[string]any{"socket": filepath.Join(proxy.Dir, "none"), "backend": "app", "server": "s1"}}))
	var fail *sdk.Fail
	require.ErrorAs(t, err, &fail)
	require.True(t, fail.Retryable)
}

func TestNetworkRewritesAnNginxUpstream(t *testing.T) {
	one, two := backend(t, "one"), backend(t, "two")
	nginx := testenv.Nginx(t)
	conf, err := os.ReadFile(nginx.Conf)
	require.NoError(t, err)
	upstream := filepath.Join(nginx.Dir, "upstream.conf")
	testenv.WriteFile(t, upstream, "# before "+one+"0\nupstream app { server "+one+"; }\n")
	require.NoError(t, os.Chmod(upstream, 0o640))
	testenv.WriteFile(t, nginx.Conf, strings.NewReplacer("http {", "http {\n  include "+upstream+";",
		"location = /broken", "location = / { proxy_pass http://app; }\n    location = /broken").Replace(string(conf)))
	command := func(more ...string) []string {
		return append(nginx.Argv[:len(nginx.Argv)-2:len(nginx.Argv)-2], more...)
	}
	options := map[string]any{"file": upstream, "from": one, "to": two, "test": command("-t"), "reload": command("-s", "reload")}
	nginx.Stop(t)
	nginx.Start(t)
	require.Equal(t, "200 one", answers(t, nginx.Addr))
	before, err := os.ReadFile(upstream)
	require.NoError(t, err)

	n := &Network{}
	req := networkRequest(t, map[string]any{"upstream": options})
	plan := req
	plan.Plan = true
	res, err := n.Recover(ctx(t), plan)
	require.NoError(t, err)
	require.Contains(t, res.Changes[0], "replace "+one+" by "+two)
	for range 2 {
		_, err = n.Recover(ctx(t), req)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return answers(t, nginx.Addr) == "200 two" }, 10*time.Second, 20*time.Millisecond)
	}
	now, err := os.ReadFile(upstream)
	require.NoError(t, err)
	require.Contains(t, string(now), "# before "+one+"0\n", "part of a longer word was replaced")
	info, err := os.Stat(upstream)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode().Perm())
	_, err = n.Undo(ctx(t), req)
	require.NoError(t, err)
	now, err = os.ReadFile(upstream)
	require.NoError(t, err)
	require.Equal(t, string(before), string(now))
	require.Eventually(t, func() bool { return answers(t, nginx.Addr) == "200 one" }, 10*time.Second, 20*time.Millisecond)

	options["to"] = "no_port:x"
	_, err = n.Recover(ctx(t), networkRequest(t, map[string]any{"upstream": options}))
	require.ErrorContains(t, err, "is refused")
	now, err = os.ReadFile(upstream)
	require.NoError(t, err)
	require.Equal(t, string(before), string(now), "a refused configuration was left")
	// A worker of one of the reloads before may still take a connection while it ends.
	require.Eventually(t, func() bool { return answers(t, nginx.Addr) == "200 one" }, 10*time.Second, 20*time.Millisecond)

	options["from"], options["to"] = "10.0.0.1:1", "10.0.0.2:2"
	_, err = n.Recover(ctx(t), networkRequest(t, map[string]any{"upstream": options}))
	require.ErrorContains(t, err, "has neither")
}

func TestReplaceWord(t *testing.T) {
	for _, tc := range []struct {
		text, want string
		n          int
	}{
		{"server 10.0.0.1:80;", "server X;", 1},
		{"server 10.0.0.1:8080;", "server 10.0.0.1:8080;", 0},
		{"110.0.0.1:80 10.0.0.1:80", "110.0.0.1:80 X", 1},
		{"10.0.0.1:80", "X", 1},
		{"(10.0.0.1:80)10.0.0.1:80\n", "(X)X\n", 2},
		{"http://10.0.0.1:80/x", "http://X/x", 1},
	} {
		got, n := replaceWord([]byte(tc.text), "10.0.0.1:80", "X")
		require.Equal(t, tc.want, string(got))
		require.Equal(t, tc.n, n)
	}
}

func TestNetworkReconnects(t *testing.T) {
	n, file := &Network{}, filepath.Join(t.TempDir(), "f")
	req := networkRequest(t, map[string]any{"reconnect": []string{"touch", file}})
	plan := req
	plan.Plan = true
	res, err := n.Recover(ctx(t), plan)
	require.NoError(t, err)
	require.Equal(t, "would: run touch "+file, res.Summary)
	require.NoFileExists(t, file)
	_, err = n.Recover(ctx(t), req)
	require.NoError(t, err)
	require.FileExists(t, file)
	_, err = n.Recover(ctx(t), networkRequest(t, map[string]any{"reconnect": []string{"sh", "-c", "echo no route; exit 1"}}))
	require.ErrorContains(t, err, "no route")
}
