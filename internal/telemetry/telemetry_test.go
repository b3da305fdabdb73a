package telemetry

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/resilience"
	"github.com/shivx/shivx/internal/vitals"
)

type status resilience.Status

func (s status) Status() resilience.Status { return resilience.Status(s) }

type sequence uint64

func (s sequence) Last() (uint64, string) { return uint64(s), "hash" }

type figures []vitals.Figure

func (f figures) Figures() []vitals.Figure { return f }

type counts struct{}

func (counts) Counts() (uint64, int64, uint64, uint64) { return 104, 5e6, 1e6, 3 }

// full is a host with everything to tell, and with what must not break the answer.
func full() Sources {
	return Sources{
		Resilience: status{
			Level: shivx.Level2, Automatic: shivx.Level3, Score: &resilience.Score{Value: 45.5, Confidence: 0.75}, Changes: 12,
			Override:         &shivx.Override{Level: shivx.Level2},
			Hooks:            []shivx.HookState{{Name: "queue", On: true}, {Name: "cache", Error: "broken"}, {Name: "queue"}},
			DegradedFeatures: []shivx.Feature{{Name: "analytics"}},
			Modules: []resilience.Module{
				{Name: "redis", State: "healthy", Score: 100, Restarts: 3}, {Name: "web", State: "failing", Score: 20},
				{Name: "web"}, {Name: "broken\xff"},
			},
		},
		Ledgers: map[string]Ledger{"recovery": sequence(42), "resilience": sequence(7)},
		History: counts{},
		Host: figures{
			{Name: "shivx_host_load_1m", Value: 1.5},
			{Name: "shivx_host_disk_used_ratio", Label: "mountpoint", Subject: "/var", Value: 0.25},
			{Name: "shivx_host_disk_used_ratio", Label: "mountpoint", Subject: "/bad\xff", Value: 0.5},
			{Name: "shivx_host_network_receive_bytes_total", Label: "interface", Subject: "eth0", Value: 9e9},
			{Name: "shivx_host_load_1m", Value: 2}, {Name: "shivx_host_disk_used_ratio", Value: 1},
			{Name: "shivx_host_nan", Value: math.NaN()}, {Name: "shivx_host_bad name", Value: 1}, {Name: "shivx_module_score_points", Value: 1},
			{Name: "go_goroutines", Value: 1}, {Name: "shivx_host_x", Label: "bad-label", Subject: "x"},
		},
	}
}

func TestFiguresOfTheAgentAndItsHost(t *testing.T) {
	tel := New()
	tel.Set(full())
	require.NoError(t, testutil.GatherAndCompare(tel.Registry(), strings.NewReader(`
# HELP shivx_history_kept_samples_total Measurements kept since the agent began.
# TYPE shivx_history_kept_samples_total counter
shivx_history_kept_samples_total 1e+06
# HELP shivx_host_disk_used_ratio Latest reading of this host; docs/METRICS.md says what it is.
# TYPE shivx_host_disk_used_ratio gauge
shivx_host_disk_used_ratio{mountpoint="/bad�"} 0.5
shivx_host_disk_used_ratio{mountpoint="/var"} 0.25
# HELP shivx_host_load_1m Latest reading of this host; docs/METRICS.md says what it is.
# TYPE shivx_host_load_1m gauge
shivx_host_load_1m 1.5
# HELP shivx_host_network_receive_bytes_total Latest reading of this host; docs/METRICS.md says what it is.
# TYPE shivx_host_network_receive_bytes_total counter
shivx_host_network_receive_bytes_total{interface="eth0"} 9e+09
# HELP shivx_ledger_last_sequence Number of the last record of a ledger.
# TYPE shivx_ledger_last_sequence gauge
shivx_ledger_last_sequence{ledger="recovery"} 42
shivx_ledger_last_sequence{ledger="resilience"} 7
# HELP shivx_module_healthy 1 while every check of a component or registered program passes.
# TYPE shivx_module_healthy gauge
shivx_module_healthy{module="broken�"} 0
shivx_module_healthy{module="redis"} 1
shivx_module_healthy{module="web"} 0
# HELP shivx_module_restarts_total Recoveries of a component or registered program since the audit began.
# TYPE shivx_module_restarts_total counter
shivx_module_restarts_total{module="broken�"} 0
shivx_module_restarts_total{module="redis"} 3
shivx_module_restarts_total{module="web"} 0
# HELP shivx_module_score_points Health of a component or registered program, 0 to 100.
# TYPE shivx_module_score_points gauge
shivx_module_score_points{module="broken�"} 0
shivx_module_score_points{module="redis"} 100
shivx_module_score_points{module="web"} 20
# HELP shivx_resilience_automatic_level Degradation level by the score alone, 0 to 4; it differs during an override.
# TYPE shivx_resilience_automatic_level gauge
shivx_resilience_automatic_level 3
# HELP shivx_resilience_changes_total Changes of the level or of its override since the audit began.
# TYPE shivx_resilience_changes_total counter
shivx_resilience_changes_total 12
# HELP shivx_resilience_confidence_ratio Share of the expected readings that are there, by weight.
# TYPE shivx_resilience_confidence_ratio gauge
shivx_resilience_confidence_ratio 0.75
# HELP shivx_resilience_hook_on 1 while a hook sheds its load.
# TYPE shivx_resilience_hook_on gauge
shivx_resilience_hook_on{hook="cache"} 0
shivx_resilience_hook_on{hook="queue"} 1
# HELP shivx_resilience_level Degradation level in force: 0 is NORMAL, 4 is EMERGENCY.
# TYPE shivx_resilience_level gauge
shivx_resilience_level 2
# HELP shivx_resilience_score_points Health of the host, 0 to 100; absent before the first sample.
# TYPE shivx_resilience_score_points gauge
shivx_resilience_score_points 45.5
`), "shivx_history_kept_samples_total", "shivx_host_disk_used_ratio", "shivx_host_load_1m", "shivx_host_network_receive_bytes_total",
		"shivx_host_nan", "shivx_host_x", "shivx_ledger_last_sequence", "shivx_module_healthy", "shivx_module_restarts_total",
		"shivx_module_score_points", "shivx_resilience_automatic_level", "shivx_resilience_changes_total", "shivx_resilience_confidence_ratio",
		"shivx_resilience_hook_on", "shivx_resilience_level", "shivx_resilience_score_points"))
}

func TestNamesKeepTheConventions(t *testing.T) {
	tel := New()
	tel.Set(full())
	h := tel.SDK().WithTags(map[string]string{"task_queue": "q"})
	h.Counter("temporal_request").Inc(1)
	h.Gauge("temporal_num_pollers").Update(2)
	h.Timer("temporal_request_latency").Record(time.Second)
	problems, err := testutil.GatherAndLint(tel.Registry())
	require.NoError(t, err)
	assert.Empty(t, problems)
}

func TestBeforeThereIsAnythingToTell(t *testing.T) {
	tel := New()
	assert.Contains(t, page(t, tel), "shivx_build_info{")
	tel.Set(Sources{Resilience: status{}})
	got := page(t, tel)
	assert.NotContains(t, got, "shivx_resilience_score_points ")
	assert.NotContains(t, got, "shivx_resilience_level ")
	assert.Contains(t, got, "shivx_resilience_changes_total 0")
	for _, want := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		assert.Contains(t, got, want)
	}
}

// page is the answer of the handler.
func page(t *testing.T, tel *Telemetry) string {
	t.Helper()
	w := httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	return w.Body.String()
}

func TestOneNameWithDifferentTags(t *testing.T) {
	tel := New()
	h := tel.SDK()
	h.Counter("temporal_request").Inc(1)
	h.WithTags(map[string]string{"operation": "Poll"}).Counter("temporal_request").Inc(2)
	a := h.WithTags(map[string]string{"operation": "Poll", "namespace": "default"})
	a.Counter("temporal_request").Inc(3)
	a.WithTags(map[string]string{"operation": "Signal"}).Counter("temporal_request").Inc(4)
	a.Counter("temporal_request").Inc(10)
	a.Counter("temporal_request").Inc(-5)
	got := page(t, tel)
	for _, want := range []string{
		"temporal_request_total 1\n",
		`temporal_request_total{operation="Poll"} 2`,
		`temporal_request_total{namespace="default",operation="Poll"} 13`,
		`temporal_request_total{namespace="default",operation="Signal"} 4`,
	} {
		assert.Contains(t, got, want)
	}
}

func TestNamesAndTagsAreMadeValid(t *testing.T) {
	tel := New()
	h := tel.SDK()
	for i, tags := range []map[string]string{
		{"a-b": "x\xff", "a_b": "y", "": "z", "__name__": "q", "le": "1", "9": "nine", "empty": "", "ü": "u"},
		{"long": strings.Repeat("€", 100)},
	} {
		h := h.WithTags(tags)
		h.Counter("my.counter-total").Inc(int64(i + 1))
		h.Timer("my timer").Record(-time.Second)
		h.Gauge("g").Update(math.NaN())
		h.Gauge("shivx_resilience_level").Update(1)
	}
	got := page(t, tel)
	assert.Contains(t, got, `temporal_my_counter_total{a_b="x�",name__="q",tag_9="nine",tag_le="1"} 1`)
	assert.Contains(t, got, `temporal_my_timer_seconds_bucket{`)
	assert.Contains(t, got, `temporal_my_timer_seconds_sum{a_b="x�",name__="q",tag_9="nine",tag_le="1"} 0`)
	assert.Contains(t, got, "temporal_shivx_resilience_level{")
}

func TestOneNameOfTwoKinds(t *testing.T) {
	tel := New()
	h := tel.SDK()
	h.Counter("a").Inc(1)
	h.Gauge("a_total").Update(7)         // is the counter's
	h.Gauge("b_seconds_count").Update(1) // is a part of the histogram
	h.Timer("b").Record(time.Second)
	h.Timer("c").Record(time.Second)
	h.Gauge("c_seconds_sum").Update(9)
	h.Gauge("c_seconds").Update(9)
	got := page(t, tel)
	assert.Contains(t, got, "temporal_a_total 1\n")
	assert.Contains(t, got, "temporal_b_seconds_count 1\n")
	assert.NotContains(t, got, "temporal_b_seconds_bucket")
	assert.Contains(t, got, "temporal_c_seconds_sum 1\n")
	assert.Contains(t, got, "shivx_telemetry_overflows_total 4\n")
}

func TestCountsAreBounded(t *testing.T) {
	tel := New()
	for i := range maxSets + 50 {
		tel.SDK().WithTags(map[string]string{"id": fmt.Sprint(i)}).Counter("many").Inc(1)
	}
	for i := range maxFamilies + 50 {
		tel.SDK().Counter(fmt.Sprintf("family_%d", i)).Inc(1)
	}
	got := page(t, tel)
	assert.Equal(t, maxSets+1, strings.Count(got, "\ntemporal_many_total{"))
	assert.Contains(t, got, `temporal_many_total{overflow="true"} 50`)
	assert.Equal(t, maxFamilies-1, strings.Count(got, "\ntemporal_family_"))
}

func TestManyAtOnce(t *testing.T) {
	tel := New()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 300 {
				h := tel.SDK().WithTags(map[string]string{"worker": fmt.Sprint(w), "kind": fmt.Sprint(i % 7)})
				h.Counter("c").Inc(1)
				h.Gauge("g").Update(float64(i))
				h.Timer("t").Record(time.Duration(i) * time.Millisecond)
				if i%100 == 0 {
					tel.Set(full())
					_, err := tel.Registry().Gather()
					assert.NoError(t, err)
				}
			}
		})
	}
	wg.Wait()
	got := page(t, tel)
	assert.Equal(t, 56, strings.Count(got, "\ntemporal_c_total{"))
	assert.Contains(t, got, `temporal_c_total{kind="0",worker="3"} 43`)
}

func TestTheRealSDKCounts(t *testing.T) {
	tel := New()
	c, err := client.NewLazyClient(client.Options{HostPort: "127.0.0.1:1", MetricsHandler: tel.SDK()})
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = c.DescribeTaskQueue(ctx, "q", 1)
	require.Error(t, err, "nobody listens there")
	got := page(t, tel)
	assert.Contains(t, got, "temporal_request_failure_total{")
	assert.Contains(t, got, "temporal_request_latency_seconds_bucket{")
	problems, err := testutil.GatherAndLint(tel.Registry())
	require.NoError(t, err)
	assert.Empty(t, problems)
}

func BenchmarkCounter(b *testing.B) {
	h := New().SDK().WithTags(map[string]string{"namespace": "default", "task_queue": "shivx", "worker_type": "WorkflowWorker"})
	b.ReportAllocs()
	for b.Loop() {
		h.Counter("temporal_workflow_task_queue_poll_empty").Inc(1)
	}
}
