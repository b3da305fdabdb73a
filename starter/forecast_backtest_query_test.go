package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
)

// TestBacktestOfAPrometheus judges what a real server holds: one series that grows to its capacity three times, and one
// that never moves.
func TestBacktestOfAPrometheus(t *testing.T) {
	var b strings.Builder
	end := time.Now().Truncate(5 * time.Minute)
	b.WriteString("# TYPE used gauge\n")
	for i := range 600 {
		fmt.Fprintf(&b, "used{disk=\"a\"} %.2f %d\n", float64(i%200)*100/199, end.Add(time.Duration(i-600)*5*time.Minute).Unix())
	}
	for i := range 600 {
		fmt.Fprintf(&b, "used{disk=\"b\"} 10 %d\n", end.Add(time.Duration(i-600)*5*time.Minute).Unix())
	}
	b.WriteString("# EOF\n")
	server := testenv.Prometheus(t, b.String())
	at := "http://" + server.Addr
	args := []string{"forecast", "backtest", "--capacity", "100", "--horizon", "1h", "--query", "used"}

	r := want(t, exitOK, []string{`used{disk="a"}: 60`, "3 events", `used{disk="b"}: 60`, "0 events"}, append(args, "--prometheus", at)...)
	require.Equal(t, 2, strings.Count(r.out, "\nShivX "))
	got := decode[backtested](t, want(t, exitOK, nil, append(args, "--prometheus", at, "-o", "json")...))
	require.Len(t, got.Files, 2)
	require.Equal(t, `used{disk="a"}`, got.Files[0].Series)
	require.InDelta(t, 600, got.Files[0].Steps, 2, "the last value holds for five minutes")
	require.InDelta(t, 1, float64(got.Files[0].Scores[1].Recall), 1e-9, "a straight line is what predict_linear is for")

	// The server of the configuration, one series, the last day alone.
	dir := t.TempDir()
	testenv.WriteFile(t, filepath.Join(dir, "shivx.yaml"), "version: 1\nhost: here\nforecast: {prometheus: {url: \""+at+"\"}}\ncomponents:\n"+
		"  - name: redis\n    checks: [{tcp: {address: \"127.0.0.1:6379\"}}]\n")
	t.Setenv("SHIVX_CONFIG", filepath.Join(dir, "shivx.yaml"))
	got = decode[backtested](t, want(t, exitOK, nil, "forecast", "backtest", "--capacity", "100", "--horizon", "1h", "--query", "max(used)", "--since", "1d", "-o", "json"))
	require.Len(t, got.Files, 1)
	require.Equal(t, "max(used)", got.Files[0].Series)
	require.InDelta(t, 288, got.Files[0].Steps, 2)

	want(t, exitError, []string{"the query gives nothing since 14d"}, "forecast", "backtest", "--capacity", "1", "--query", "moon")
	want(t, exitError, []string{"the query is refused: ", "parse error"}, "forecast", "backtest", "--capacity", "1", "--query", "used{")
	want(t, exitUsage, []string{"the query gives 60 series"}, "forecast", "backtest", "--capacity", "1", "--since", "1h",
		"--query", many(60))
	server.Stop(t)
	want(t, exitError, []string{"the Prometheus server " + at + " does not answer", "check its url"}, args...)
}

// many is a query that gives so many series.
func many(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, fmt.Sprintf(`label_replace(vector(1), "x", "%d", "", "")`, i))
	}
	return strings.Join(parts, " or ")
}

func TestBacktestSendsTheTokenOfAPrometheus(t *testing.T) {
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		w.WriteHeader(http.StatusForbidden)
	}))
	defer s.Close()
	t.Setenv("PROMETHEUS_TOKEN", "secret of the server")
	at := strings.Replace(s.URL, "http://", "http://ana:hidden@", 1)
	r := want(t, exitError, []string{"refuses: client error: 403"}, "forecast", "backtest", "--capacity", "1", "--query", "x", "--prometheus", at)
	require.Equal(t, "Bearer secret of the server", got)
	require.NotContains(t, r.err, "hidden")
}

func TestBacktestOfAQueryRefuses(t *testing.T) {
	t.Setenv("SHIVX_CONFIG", filepath.Join(t.TempDir(), "none.yaml"))
	require.NoError(t, os.WriteFile(os.Getenv("SHIVX_CONFIG"), []byte("version: 1\nhost: here\ncomponents:\n  - name: redis\n    checks: [{tcp: {address: \"127.0.0.1:6379\"}}]\n"), 0o600))
	for said, args := range map[string][]string{
		"there is no --query":                {"--prometheus", "http://127.0.0.1:1"},
		"--query needs --capacity":           {"--query", "x"},
		"--query and files are judged apart": {"--query", "x", "--capacity", "1", "file.csv"},
		"--since yesterday is no time ago":   {"--query", "x", "--capacity", "1", "--since", "yesterday"},
		"--step 0s is no length of a step":   {"--query", "x", "--capacity", "1", "--step", "0s"},
		"it must be 6 to 288 steps":          {"--query", "x", "--capacity", "1", "--horizon", "10m"},
		"there is no --prometheus, and no":   {"--query", "x", "--capacity", "1"},
	} {
		var out, errs bytes.Buffer
		require.Equal(t, exitUsage, run(append([]string{"forecast", "backtest"}, args...), nil, &out, &errs), said)
		require.Contains(t, errs.String(), said)
		require.Empty(t, out.String())
	}
}
