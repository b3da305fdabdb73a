package builtin

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/plugins/sdktest"
)

// limitedNginx is a real nginx beside the script of the document, which limits its rate.
func limitedNginx(t *testing.T) (n *testenv.NginxServer, script string) {
	t.Helper()
	limits := filepath.Join(t.TempDir(), "limits")
	require.NoError(t, os.Mkdir(limits, 0o755))
	testenv.WriteFile(t, limits+"/strict.conf", "limit_req zone=per_client nodelay;\nlimit_req_status 429;\n")
	testenv.WriteFile(t, limits+"/off.conf", "# no limit\n")
	require.NoError(t, os.Symlink("off.conf", limits+"/current.conf"))
	n = testenv.Nginx(t, "include "+limits+"/current.conf;")
	conf, err := os.ReadFile(n.Conf)
	require.NoError(t, err)
	testenv.WriteFile(t, n.Conf, strings.Replace(string(conf), "http {", "http {\n  limit_req_zone $binary_remote_addr zone=per_client:1m rate=1r/s;", 1))

	doc, err := os.ReadFile("../../docs/BUILTIN-PLUGINS.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)```sh\n(#!/bin/sh\n# /usr/local/sbin/nginx-limit.*?)```").FindSubmatch(doc)
	require.NotNil(t, block, "the document has no script that limits nginx")
	text := strings.ReplaceAll(string(block[1]), "/etc/nginx/limits", limits)
	argv := fmt.Sprintf("%s -p %s -c %s -e %s/error.log ", n.Argv[0], n.Dir, n.Conf, n.Dir)
	text = regexp.MustCompile(`(?m)^nginx `).ReplaceAllString(text, argv)
	require.Equal(t, 2, strings.Count(text, argv), "nginx is not tested and reloaded by the script")
	script = filepath.Join(t.TempDir(), "nginx-limit")
	require.NoError(t, os.WriteFile(script, []byte(text), 0o700))
	return n, script
}

// limited says whether nginx refuses some of a few requests.
func limited(t *testing.T, addr string) bool {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	refused := false
	for range 5 {
		res, err := client.Get("http://" + addr)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		refused = refused || res.StatusCode == http.StatusTooManyRequests
	}
	return refused
}

// TestScriptHookLimitsNginx runs the hook of the document.
func TestScriptHookLimitsNginx(t *testing.T) {
	n, script := limitedNginx(t)
	options := map[string]any{"isolate": []string{script, "strict"}, "reintegrate": []string{script, "off"}}
	req := sdk.Request{Key: "k", Component: "nginx", WorkDir: t.TempDir(), Options: jsonOf(t, options)}
	require.NoError(t, Script{}.CheckOptions(req.Options))
	res, err := Script{}.Isolate(ctx(t), planned(req))
	require.NoError(t, err)
	require.Equal(t, "would run "+script+" strict", res.Summary)
	require.False(t, limited(t, n.Addr))

	// nginx reloads in the background.
	eventually := func(want bool) {
		t.Helper()
		require.Eventually(t, func() bool { return limited(t, n.Addr) == want }, 10*time.Second, 20*time.Millisecond)
	}
	for range 2 {
		res, err = Script{}.Isolate(ctx(t), req)
		require.NoError(t, err)
		require.Equal(t, "nginx' limits are strict", res.Summary)
		eventually(true)
	}
	for range 2 {
		_, err = Script{}.Reintegrate(ctx(t), req)
		require.NoError(t, err)
		eventually(false)
	}
	_, err = Script{}.Recover(ctx(t), req)
	require.ErrorContains(t, err, "nothing to run")

	// A limit that nginx refuses does not stay.
	testenv.WriteFile(t, filepath.Join(linkDir(t, script), "strict.conf"), "no_such_directive;\n")
	_, err = Script{}.Isolate(ctx(t), req)
	require.ErrorContains(t, err, "exit status")
	require.Contains(t, failOf(t, err).Hint, "no_such_directive")
	require.False(t, limited(t, n.Addr))
	target, err := os.Readlink(filepath.Join(linkDir(t, script), "current.conf"))
	require.NoError(t, err)
	require.Equal(t, "off.conf", target)
}

// linkDir is the folder of limits that a script works in.
func linkDir(t *testing.T, script string) string {
	t.Helper()
	text, err := os.ReadFile(script)
	require.NoError(t, err)
	return regexp.MustCompile(`cd (\S+)`).FindStringSubmatch(string(text))[1]
}

// TestScriptHookConformance: a hook of two commands, one of which is asked for marks as well.
func TestScriptHookConformance(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "limit")
	testenv.WriteFile(t, file, "off")
	write := func(text string) []string {
		return []string{"sh", "-c", `if [ -n "$SHIVX_PLAN" ]; then echo "would write $1"; else printf %s "$1" > "$0"; fi`, file, text}
	}
	read := func() string { data, _ := os.ReadFile(file); return string(data) }
	options := map[string]any{
		"isolate": write("strict"), "reintegrate": write("off"), "recover": write("off"), "undo": write("broken"), "plan": true,
		"mark": []string{"cat", file}, "done": []string{"sh", "-c", `[ "$(cat "$0")" = "$SHIVX_MARK" ] && echo no || echo yes`, file},
	}
	sdktest.Run(t, sdktest.Suite{
		Plugin: Script{}, Options: options, BadOptions: []any{map[string]any{}, map[string]any{"isolate": []string{"true"}}},
		Break: func() error { return os.WriteFile(file, []byte("broken"), 0o600) },
		Healthy: func() error {
			if got := read(); got != "off" {
				return fmt.Errorf("it is %q", got)
			}
			return nil
		},
		State:    read,
		Isolated: func() (bool, error) { return read() == "strict", nil },
	})

	// The marks of a hook: isolate is asked about by SHIVX_OF.
	req := sdk.Request{Key: "k", Component: "x", Options: jsonOf(t, options), WorkDir: t.TempDir()}
	var err error
	req.Mark, err = Script{}.Mark(context.Background(), sdk.StepIsolate, req)
	require.NoError(t, err)
	require.Equal(t, "off", req.Mark)
	for _, want := range []bool{false, true} {
		done, err := Script{}.Done(ctx(t), sdk.StepIsolate, req)
		require.NoError(t, err)
		require.Equal(t, want, done)
		_, err = Script{}.Isolate(ctx(t), req)
		require.NoError(t, err)
	}
}
