// Package openfeature asks ShivX for features as applications do: with the OpenFeature SDK for
// Node and its OFREP provider, as they are in npm's registry.
package openfeature

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/api"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/resilience"
	"github.com/shivx/shivx/internal/testenv"
)

const token = "token-of-the-shop"

// host is one whose level is set by the test.
type host struct {
	snapshot atomic.Pointer[resilience.Snapshot]
}

func (h *host) Status() resilience.Status      { return resilience.Status{} }
func (h *host) Features() *resilience.Snapshot { return h.snapshot.Load() }
func (h *host) Override(context.Context, string, shivx.OverrideRequest) (shivx.LevelChange, error) {
	return shivx.LevelChange{}, errors.New("not here")
}

func (h *host) set(l shivx.Level) {
	s := &resilience.Snapshot{Level: l}
	for _, f := range config.Default().Resilience.Features {
		one := shivx.Feature{Name: f.Name, OffAt: shivx.Level(f.OffAt), Enabled: true, Reason: "on at " + string(l)}
		if f.OffAt == "never" {
			one.OffAt = ""
		} else if !one.OffAt.WorseThan(l) {
			one.Enabled, one.Reason = false, "off at "+string(l)
		}
		s.List = append(s.List, one)
	}
	h.snapshot.Store(s)
}

// line is what evaluate.mjs prints of one evaluation.
type line struct {
	Flag     string         `json:"flag"`
	Value    bool           `json:"value"`
	Reason   string         `json:"reason"`
	Variant  string         `json:"variant"`
	Metadata map[string]any `json:"metadata"`
	Error    string         `json:"error"`
	Message  string         `json:"message"`
}

// start returns a host, the URL at which its features are served, and node's path.
func start(t *testing.T) (h *host, url, node string) {
	t.Helper()
	programs := testenv.Need(t, "node", "npm")
	if _, err := os.Stat("node_modules"); err != nil {
		out, err := exec.Command(programs[1], "ci", "--no-audit", "--no-fund").CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	h = &host{}
	h.set(shivx.LevelNormal)
	cfg := config.Default()
	cfg.Paths.Var, cfg.API.Listen = t.TempDir(), "127.0.0.1:0"
	cfg.API.Tokens = []config.Token{{Name: "shop", Role: "app", Token: token}}
	s, err := api.New(cfg, api.Options{Resilience: h, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
	return h, "http://" + s.Address(), programs[0]
}

// evaluate runs the script to its end.
func evaluate(t *testing.T, node string, args ...string) (lines []line) {
	t.Helper()
	cmd := exec.Command(node, append([]string{"evaluate.mjs"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	for text := range strings.Lines(string(out)) {
		var l line
		require.NoError(t, json.Unmarshal([]byte(text), &l), text)
		lines = append(lines, l)
	}
	return lines
}

func TestSDKReadsTheFeatures(t *testing.T) {
	h, url, node := start(t)
	h.set(shivx.Level2)
	for _, how := range [][]string{{"--token", token}, {"--api-key", "--token", token}} {
		// The default is the opposite of what is served, so that no default is taken for an answer.
		got := evaluate(t, node, append(how, "--url", url, "--default", "false", "chat", "uploads")...)
		got = append(got, evaluate(t, node, append(how, "--url", url, "--default", "true", "web_search")...)...)
		require.Equal(t, []line{
			{Flag: "chat", Value: true, Reason: "STATIC", Variant: "on", Metadata: map[string]any{"level": "LEVEL_2", "why": "on at LEVEL_2"}},
			{Flag: "uploads", Value: true, Reason: "TARGETING_MATCH", Variant: "on", Metadata: map[string]any{"level": "LEVEL_2", "why": "on at LEVEL_2"}},
			{Flag: "web_search", Value: false, Reason: "TARGETING_MATCH", Variant: "off", Metadata: map[string]any{"level": "LEVEL_2", "why": "off at LEVEL_2"}},
		}, got)
	}
}

func TestSDKTakesTheDefaultOnErrors(t *testing.T) {
	_, url, node := start(t)
	for _, value := range []string{"true", "false"} {
		got := evaluate(t, node, "--url", url, "--token", token, "--default", value, "no-such-feature")
		require.Equal(t, "FLAG_NOT_FOUND", got[0].Error)
		require.Equal(t, "ERROR", got[0].Reason)
		require.Equal(t, value == "true", got[0].Value)
		require.Contains(t, got[0].Message, "resilience.features")

		got = evaluate(t, node, "--url", url, "--token", "a-wrong-token-of-the-shop", "--default", value, "chat")
		require.Equal(t, "GENERAL", got[0].Error)
		require.Equal(t, "ERROR", got[0].Reason)
		require.Equal(t, value == "true", got[0].Value)
	}
	got := evaluate(t, node, "--url", "http://127.0.0.1:1", "--token", token, "--default", "true", "chat")
	require.NotEmpty(t, got[0].Error, "an agent that is away")
	require.True(t, got[0].Value)
}

func TestSDKSeesTheLevelChange(t *testing.T) {
	h, url, node := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "evaluate.mjs", "--url", url, "--token", token, "--watch", "--every", "5", "memory_writes")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for _, level := range []shivx.Level{shivx.LevelNormal, shivx.Level3, shivx.LevelEmergency, shivx.Level1} {
		h.set(level)
		on := level != shivx.LevelEmergency
		var l line
		for l.Metadata["level"] != string(level) { // the watch begins before the first level is set
			require.True(t, lines.Scan(), "the watch ended")
			require.NoError(t, json.Unmarshal(lines.Bytes(), &l))
		}
		require.Equal(t, on, l.Value, level)
		require.Equal(t, map[bool]string{true: "on", false: "off"}[on], l.Variant)
		require.Empty(t, l.Error)
	}
	require.NoError(t, in.Close())
	_, err = io.Copy(io.Discard, out)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait(), "it ends with its input")
}
