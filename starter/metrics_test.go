package main

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
)

const rightToken = "0123456789abcdef0123456789abcdef"

// fakeAgent answers as an agent does, with an hour of measurements. It keeps the last query.
type fakeAgent struct {
	now  time.Time
	last string
}

func (f *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, title, detail string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "title": title, "status": status, "detail": detail})
	}
	f.last = r.URL.String()
	switch {
	case r.Header.Get("Authorization") != "Bearer "+rightToken:
		refuse(http.StatusUnauthorized, "a token is needed", "send one")
	case r.URL.Path == "/api/metrics/names":
		_ = json.NewEncoder(w).Encode(map[string]any{"names": []string{"shivx_host_load1", "shivx_host_cpu_used_ratio"}})
	case r.URL.Path != "/api/metrics/query":
		refuse(http.StatusNotFound, "there is nothing here", "")
	case r.URL.Query().Get("name") == "forbidden":
		refuse(http.StatusForbidden, "the role viewer is needed", "ci has the role app")
	case r.URL.Query().Get("name") == "bad":
		refuse(http.StatusBadRequest, "no name", "write another")
	case r.URL.Query().Get("name") == "broken":
		refuse(http.StatusInternalServerError, "the disk is gone", "look at the log")
	case r.URL.Query().Get("name") == "page":
		w.WriteHeader(http.StatusBadGateway)
	case r.URL.Query().Get("name") == "elsewhere":
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
	default:
		_ = json.NewEncoder(w).Encode(f.answer(r))
	}
}

func (f *fakeAgent) answer(r *http.Request) map[string]any {
	since, err := time.ParseDuration(r.URL.Query().Get("since"))
	if err != nil {
		panic(err)
	}
	step, err := time.ParseDuration(r.URL.Query().Get("step"))
	if err != nil {
		panic(err)
	}
	var load, bytes, disk [][]float64
	from := f.now.Add(-since)
	for at := from.Truncate(step); !at.After(f.now); at = at.Add(step) {
		i := float64(len(load))
		if i != 4 { // a gap
			disk = append(disk, []float64{float64(at.Unix()), 0.25, 0.25, 0.25, 0.25})
		}
		v := 2 + 2*math.Sin(i/4)
		load = append(load, []float64{float64(at.Unix()), v, v - 0.5, v + 0.5, v})
		bytes = append(bytes, []float64{float64(at.Unix()), 0, 0, 0, 2048 * step.Seconds() * i})
	}
	all := []map[string]any{
		{"name": "shivx_host_filesystem_used_ratio", "labels": map[string]string{"mountpoint": "/var\x1b[31m"}, "points": disk},
		{"name": "shivx_host_load1", "points": load},
		{"name": "shivx_host_network_receive_bytes_total", "labels": map[string]string{"interface": "eth0"}, "points": bytes},
	}
	series := []map[string]any{}
	for _, s := range all {
		if name := r.URL.Query().Get("name"); name == "" || name == s["name"] {
			series = append(series, s)
		}
	}
	return map[string]any{"from": from, "to": f.now, "step_seconds": step.Seconds(), "series": series}
}

// startFakeAgent returns the address of a fake agent.
func startFakeAgent() (*fakeAgent, *httptest.Server) {
	f := &fakeAgent{now: time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)}
	return f, httptest.NewServer(f)
}

// serveAgent starts an agent for a script and sets AGENT to its HOST:PORT.
func serveAgent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: agent")
	}
	_, s := startFakeAgent()
	ts.Defer(s.Close)
	ts.Setenv("AGENT", strings.TrimPrefix(s.URL, "http://"))
}

func TestMetricsAskTheAgentOfTheConfiguration(t *testing.T) {
	f, s := startFakeAgent()
	defer s.Close()
	dir := t.TempDir()
	testenv.WriteFile(t, filepath.Join(dir, "shivx.yaml"), "version: 1\nhost: here\napi: {listen: \""+strings.TrimPrefix(s.URL, "http://")+
		"\"}\ncomponents:\n  - name: redis\n    checks: [{tcp: {address: \"127.0.0.1:6379\"}}]\n")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "var"), 0o750))
	testenv.WriteFile(t, filepath.Join(dir, "var", "api.token"), rightToken+"\n")
	t.Setenv("SHIVX_CONFIG", filepath.Join(dir, "shivx.yaml"))
	t.Setenv("TZ", "UTC")
	want(t, exitOK, []string{"shivx_host_load1", "SERIES", "LAST 1H"}, "metrics")
	assert.Equal(t, "/api/metrics/query?since=1h0m0s&step=3m0s", f.last)
	want(t, exitOK, []string{"SERIES"}, "metrics", "--since", "24h", "--match", "a=b", "--match", "c=d")
	assert.Equal(t, "/api/metrics/query?match=a%3Db&match=c%3Dd&since=24h0m0s&step=1h0m0s", f.last)

	got := decode[struct {
		Step   float64 `json:"step_seconds"`
		Series []struct {
			Points []struct {
				At        time.Time
				Mean, Max float64
			}
		}
	}](t, want(t, exitOK, nil, "metrics", "shivx_host_load1", "-o", "json", "--step", "10m"))
	require.Len(t, got.Series, 1)
	require.Len(t, got.Series[0].Points, 7)
	assert.Equal(t, 600, int(got.Step))
	assert.InDelta(t, 2.5, got.Series[0].Points[0].Max, 1e-9)
	assert.Equal(t, "/api/metrics/query?name=shivx_host_load1&since=1h0m0s&step=10m0s", f.last)

	want(t, exitError, []string{"did you mean shivx_host_load1?"}, "metrics", "shivx_host_lod1")
	want(t, exitRefused, []string{"the role viewer is needed — ci has the role app"}, "metrics", "forbidden")
	want(t, exitUsage, []string{"no name — write another"}, "metrics", "bad")
	want(t, exitError, []string{"the disk is gone — look at the log"}, "metrics", "broken")
	want(t, exitError, []string{"no agent of this version: 502"}, "metrics", "page")
	want(t, exitError, []string{"no agent of this version: 302"}, "metrics", "elsewhere")
	assert.Contains(t, shivxRun("__complete", "metrics", "").out, "shivx_host_cpu_used_ratio\n")

	testenv.WriteFile(t, filepath.Join(dir, "var", "api.token"), "another token, of another agent\n")
	want(t, exitRefused, []string{"does not know the token from " + filepath.Join(dir, "var", "api.token"), "SHIVX_TOKEN"}, "metrics")
	require.NoError(t, os.Remove(filepath.Join(dir, "var", "api.token")))
	want(t, exitRefused, []string{"asks for a token: open ", "SHIVX_TOKEN"}, "metrics")
	s.Close()
	want(t, exitNotHealed, []string{"no agent answers at 127.0.0.1:", "connection refused", "SHIVX_AGENT"}, "metrics")
}

func TestATokenStaysOnItsHost(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	require.NoError(t, os.Mkdir("var", 0o750))
	testenv.WriteFile(t, filepath.Join("var", "api.token"), rightToken+"\n")
	t.Setenv("SHIVX_CONFIG", "")
	for at, token := range map[string]string{
		"": rightToken, "127.0.0.1:1": rightToken, "localhost:1": rightToken, "[::1]:1": rightToken, ":9470": rightToken, "0.0.0.0:1": rightToken,
		"db2:9470": "", "192.0.2.1:9470": "", "https://db2/shivx/": "", "localhost.example.com:1": "",
	} {
		t.Setenv("SHIVX_TOKEN", "")
		c, err := (&app{agentAt: at}).agent()
		require.NoError(t, err, at)
		assert.Equal(t, token, c.token, at)
		t.Setenv("SHIVX_TOKEN", "given")
		c, err = (&app{agentAt: at, insecure: true}).agent()
		require.NoError(t, err, at)
		assert.Equal(t, "given", c.token, at)
		_, err = (&app{agentAt: at}).agent()
		if token == "" && !strings.HasPrefix(at, "https:") {
			require.ErrorContains(t, err, "cross the network unencrypted", at)
		} else {
			require.NoError(t, err, at)
		}
	}
	for _, at := range []string{"db1", "ftp://db1:1", "http://", "a b:1", "http://u:p@db1:1", "db1:1?x", "%zz"} {
		_, err := (&app{agentAt: at}).agent()
		assert.Error(t, err, at)
	}
}

func TestRates(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	count := func(minute int, v float64) metricPoint {
		return metricPoint{At: at.Add(time.Duration(minute) * time.Minute), Last: v}
	}
	got := rates([]metricPoint{count(0, 600), count(1, 1200), count(2, 60), count(4, 180), count(5, 225), count(6, 1000)}, time.Minute, at.Add(5*time.Minute+45*time.Second))
	require.Len(t, got, 4, "the last step has no time yet")
	assert.Equal(t, []float64{10, 1, 1, 1}, []float64{got[0].Mean, got[1].Last, got[2].Max, got[3].Min})
	assert.Empty(t, rates([]metricPoint{count(0, 1)}, time.Minute, at))
}

func TestCourse(t *testing.T) {
	from := time.Date(2026, 3, 1, 0, 0, 30, 0, time.UTC)
	m := metricsAnswer{From: from, To: from.Add(7 * time.Minute), Step: 60}
	var points []metricPoint
	for i, v := range []float64{0, 1, 2, 3, -1, 5, 6, 7} {
		if v >= 0 {
			points = append(points, metricPoint{At: from.Add(time.Duration(i)*time.Minute - 30*time.Second), Mean: v})
		}
	}
	assert.Equal(t, "▁▂▃▄ ▆▇█", course(points, m))
	assert.Equal(t, "▁       ", course(points[:1], m))
	assert.Empty(t, course(points, metricsAnswer{}))
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		name string
		v    float64
		want string
	}{
		{"x_ratio", 0.4234, "42.3 %"}, {"x_bytes", 2048, "2.0 KiB"}, {"x_bytes_total", 2048, "2.0 KiB/s"}, {"x_total", 0.5, "0.5/s"},
		{"x_seconds", 1.5, "1.5s"}, {"x", 3, "3"}, {"x", 3.14159, "3.14"}, {"x", 12345678, "12.35 M"}, {"x", 314.159, "314"},
		{"x", 0.00012345, "0.000123"}, {"x", -2.5, "-2.50"}, {"x", 1e300, "1e+300"}, {"x_bytes", -1, "-1"},
	} {
		assert.Equal(t, c.want, metricSeries{Name: c.name}.value(c.v))
	}
	for want, v := range map[string]float64{"": 0, "████████████████████████": 10, "████████████": 5, "▏": 0.05} {
		assert.Equal(t, want, barOf(v, 0, 10))
	}
	assert.Empty(t, barOf(1, 0, 0))
	assert.Empty(t, barOf(math.NaN(), 0, math.NaN()))
	for since, want := range map[time.Duration]time.Duration{
		time.Minute: 5 * time.Second, time.Hour: 3 * time.Minute, 24 * time.Hour: 2 * time.Hour, 360 * time.Hour: 24 * time.Hour, 9000 * time.Hour: 19 * 24 * time.Hour,
	} {
		assert.Equal(t, want, niceStep(since, valueSteps), since)
	}
}
