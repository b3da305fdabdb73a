package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/test/stand"
)

// misbehave is the life of a plugin that breaks the rules; the test program plays it.
func misbehave(kind string) {
	switch kind {
	case "garbage":
		fmt.Println("<html>Welcome to my plugin!</html>")
		select {}
	case "exits":
		fmt.Fprintln(os.Stderr, "no licence found")
		os.Exit(3)
	default:
		sdk.Serve(badPlugin{kind})
	}
}

type badPlugin struct{ kind string }

// Describe says what the plugin is.
func (p badPlugin) Describe() sdk.Description {
	return sdk.Description{Name: p.kind, Version: "1", RecoveryType: "custom", Summary: "misbehaves"}
}

// Recover misbehaves.
func (p badPlugin) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	switch p.kind {
	case "hangs":
		select {} // also when told to stop
	case "crashes":
		fmt.Fprintln(os.Stderr, "out of luck")
		os.Exit(4)
	case "floods": // its log and its progress, for as long as it may
		for line := strings.Repeat("flood ", 150); ctx.Err() == nil; {
			fmt.Fprintln(os.Stderr, line)
			req.Progress("%s", line)
		}
		return sdk.Result{}, ctx.Err()
	case "swells":
		return sdk.Result{Summary: strings.Repeat("b", 64<<20)}, nil
	}
	return sdk.Result{Summary: "all is well"}, nil // "lies"
}

// bad lists the rungs that fail, in their order, with what the ledger says of each.
var bad = []struct{ name, says, timeout string }{
	{"hangs", "was killed", "3s"},
	{"crashes", "exit status 4: out of luck", "30s"},
	{"floods", "floods", "3s"},
	{"swells", "more than 1048576 bytes", "30s"},
	{"garbage", `wrote "<html>Welcome to my plugin!</html>" to standard output in place of the handshake`, "30s"},
	{"exits", "exit status 3): no licence found", "30s"},
	{"endless", "did not end in time", "1s"},
	{"long", "printed more than 262144 bytes", "30s"},
	{"no-answer", "printed JSON that is no answer", "30s"},
}

// pluginsMisbehave: each rung but the last is a plugin that breaks the rules. Each fails with a
// clear error, the last one heals, and the agent neither dies nor swells.
func pluginsMisbehave(t *testing.T, server *stand.Server) {
	d := newDemo(t)
	self, err := os.Executable()
	require.NoError(t, err)
	sum, err := host.Sum(self)
	require.NoError(t, err)
	ladder, plugins := "", ""
	for _, p := range bad[:6] {
		ladder += fill("      - {name: <name>, use: <name>, timeout: <timeout>}\n", "name", p.name, "timeout", p.timeout)
		plugins += fill("  - {name: <name>, path: <self>, args: [plugin, <name>], sha256: <sum>}\n", "name", p.name, "self", self, "sum", sum)
	}
	scripts, err := filepath.Abs("testdata/plugins")
	require.NoError(t, err)
	for _, p := range bad[6:] {
		ladder += fill("      - {name: <name>, use: script, timeout: <timeout>, with: {recover: [<path>]}}\n",
			"name", p.name, "timeout", p.timeout, "path", filepath.Join(scripts, p.name+".sh"))
	}
	// The one that lies is found out by the checks.
	ladder += "      - {name: lies, use: lies}\n"
	plugins += fill("  - {name: lies, path: <self>, args: [plugin, lies], sha256: <sum>}\n", "self", self, "sum", sum)
	s := play(t, server, "bad-plugins", "\n  - name: shop"+d.checks()+"    ladder:\n"+ladder+d.restart()+`
    validate: {window: 300ms, every: 100ms, settle: 2s}
    limits: {cooldown: 100ms}
plugins:
`+plugins)

	agent, small := s.PID(), peakMemory(t, s.PID())
	before, killed := d.pid(), d.kill()
	r := s.healed("shop", 1, killed, "restart", shivx.RecoverProcess)
	d.works(before)
	require.Equal(t, agent, s.PID())
	select {
	case <-s.Gone():
		t.Fatal("the agent died")
	default:
	}
	grown := peakMemory(t, agent) - small
	t.Logf("the agent's peak of memory grew by %d MB from %d MB", grown>>20, small>>20)
	require.Less(t, grown, int64(200<<20))

	told := map[string]string{}
	for _, step := range steps(t, r) {
		if step["state"] == "failed" {
			told[fmt.Sprint(step["strategy"])] = fmt.Sprint(step["step"], ": ", step["summary"])
		}
	}
	for _, p := range bad {
		require.Contains(t, told[p.name], "recover: ")
		require.Contains(t, told[p.name], p.says, p.name)
		t.Logf("%-10s %.150s", p.name, told[p.name])
	}
	require.Contains(t, told["lies"], "validate: ")
	log, err := os.Stat(filepath.Join(s.Dir, "agent.log"))
	require.NoError(t, err)
	require.Less(t, log.Size(), int64(4<<20), "the flood went to the agent's log")
}

// peakMemory is the largest resident size a process has had, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		var kb int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
