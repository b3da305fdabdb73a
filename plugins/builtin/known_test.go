package builtin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

// TestOptionsMustFitTheStep: what lacks the step it stands for is refused where its options are.
func TestOptionsMustFitTheStep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"only-recover/recover", "only-isolate/isolate", "only-isolate/reintegrate"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755))
	}
	const (
		isolates = "{isolate: [/bin/true], reintegrate: [/bin/true]}"
		recovers = "{recover: [/bin/true]}"
		calls    = `{isolate: {url: "http://h/a"}, reintegrate: {url: "http://h/b"}}`
		reloads  = `{recover: {url: "http://h/r"}}`
		haproxy  = "{haproxy: {socket: /run/h.sock, backend: a, server: b}}"
		dials    = "{reconnect: [/bin/true]}"
	)
	const ladder, isolate, hooks = "    ladder:\n    - use: ", "    isolate:\n      use: ", "resilience:\n  hooks:\n  - name: h\n    level: LEVEL_1\n    use: "
	for _, c := range []struct{ place, use, with, want string }{
		{ladder, "script", isolates, "no recover"}, {ladder, "script", recovers, ""},
		{isolate, "script", recovers, "no isolate"}, {isolate, "script", isolates, ""},
		{hooks, "script", recovers, "no isolate"}, {hooks, "script", isolates, ""},
		{ladder, "script", "{dir: " + dir + "/only-isolate}", "no executable named recover"},
		{hooks, "script", "{dir: " + dir + "/only-recover}", "no executable named isolate"},
		{hooks, "script", "{dir: " + dir + "/only-isolate}", ""},
		{ladder, "http", calls, "no recover"}, {ladder, "http", reloads, ""},
		{isolate, "http", reloads, "no isolate"}, {hooks, "http", reloads, "no isolate"}, {hooks, "http", calls, ""},
		{ladder, "network", haproxy, "no recovery"}, {isolate, "network", haproxy, ""},
		{ladder, "network", dials, ""}, {isolate, "network", dials, "cannot take anything out"}, {hooks, "network", dials, "cannot take anything out"},
		{hooks, "systemd", "{unit: init.scope, action: freeze}", "cannot do without"},
	} {
		indent := strings.Repeat(" ", strings.Index(c.place[strings.LastIndex(c.place, "\n")+1:], "use"))
		src := "version: 1\ncomponents:\n  - name: shop\n    checks: [{tcp: {address: 'localhost:80'}}]\n" + c.place + c.use + "\n" + indent + "with:\n" + indent + "  " + "MARK\n"
		src = strings.Replace(src, "MARK", c.with, 1)
		_, err := config.Parse("/etc/shivx/shivx.yaml", []byte(src), Known())
		if c.want == "" {
			require.NoError(t, err, src)
			continue
		}
		require.ErrorContains(t, err, c.want, src)
		var problems *config.Errors
		require.ErrorAs(t, err, &problems)
		require.Len(t, *problems, 1)
		require.NotEmpty(t, (*problems)[0].Hint)
		require.Equal(t, strings.Count(src, "\n"), (*problems)[0].Line, "it does not point at the option: %s", src)
	}
}
