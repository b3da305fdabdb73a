// Package telemetry shows the agent's own figures and the latest figures of its host in
// Prometheus' format. Figures are read when they are asked for; only what Temporal's SDK counts
// is kept here.
package telemetry

import (
	"net/http"
	"runtime/debug"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx/internal/resilience"
	"github.com/shivx/shivx/internal/vitals"
)

// Resilience tells how the host is.
type Resilience interface {
	Status() resilience.Status
}

// Ledger tells the sequence number and the hash of its last record.
type Ledger interface {
	Last() (uint64, string)
}

// Host tells what was measured last.
type Host interface {
	Figures() []vitals.Figure
}

// History counts what is in the metric history.
type History interface {
	// Counts returns the series in use, the size in bytes, and how many measurements were kept and
	// how many refused.
	Counts() (series uint64, bytes int64, kept, refused uint64)
}

// Sources are where the figures come from. Each may be nil, and may be set before it has anything
// to tell.
type Sources struct {
	Resilience Resilience
	Host       Host
	History    History
	Guardian   Guardian
	Forecast   Forecast
	// Mitigations counts those that ended; nil: none does.
	Mitigations func() []Mitigations
	// Ledgers by their names.
	Ledgers map[string]Ledger
}

// Telemetry is what the agent shows on /metrics. It may be used by many goroutines.
type Telemetry struct {
	registry *prometheus.Registry
	sdk      *sdkMetrics
	sources  atomic.Pointer[Sources]
}

// New returns a Telemetry that shows the process, the Go runtime and the build.
func New() *Telemetry {
	t := &Telemetry{registry: prometheus.NewRegistry(), sdk: newSDKMetrics()}
	t.sources.Store(&Sources{})
	t.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(), t.sdk, agent{t}, host{t},
	)
	return t
}

// Set replaces the sources.
func (t *Telemetry) Set(s Sources) { t.sources.Store(&s) }

// Registry holds all figures; others may be registered.
func (t *Telemetry) Registry() *prometheus.Registry { return t.registry }

// SDK takes what Temporal's SDK counts.
func (t *Telemetry) SDK() client.MetricsHandler { return &handler{metrics: t.sdk} }

// Handler answers with all figures; one that cannot be had does not hide the others.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, Registry: t.registry, MaxRequestsInFlight: 8,
	})
}

// buildInfo is 1, labelled with what this program was built from.
func buildInfo() prometheus.Collector {
	version, revision, goVersion := "unknown", "unknown", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version, goVersion = info.Main.Version, info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "shivx_build_info", Help: "What this agent was built from; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": goVersion},
	})
	g.Set(1)
	return g
}
