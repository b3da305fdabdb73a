package telemetry

import (
	"math"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
)

// host shows the latest figures of the host under their own names. Which there are depends on the
// host, so that nothing is described beforehand.
type host struct{ t *Telemetry }

var _ prometheus.Collector = host{}

// Describe implements prometheus.Collector; sending nothing leaves the figures open.
func (host) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. A figure is left out when its name is the agent's own,
// is not valid or came before, or when its value is not finite.
func (h host) Collect(ch chan<- prometheus.Metric) {
	s := h.t.sources.Load()
	if s.Host == nil {
		return
	}
	type key struct{ name, label, subject string }
	seen, labelOf := map[key]bool{}, map[string]string{}
	for _, f := range s.Host.Figures() {
		k := key{f.Name, f.Label, valid(f.Subject)}
		label, known := labelOf[f.Name]
		if seen[k] || known && label != f.Label || !isHostFigure(f.Name) || math.IsNaN(f.Value) || math.IsInf(f.Value, 0) {
			continue
		}
		var names, values []string
		if f.Label != "" {
			if !model.LegacyValidation.IsValidLabelName(f.Label) || strings.HasPrefix(f.Label, "__") {
				continue
			}
			names, values = []string{f.Label}, []string{k.subject}
		}
		seen[k], labelOf[f.Name] = true, f.Label
		kind := prometheus.GaugeValue
		if strings.HasSuffix(f.Name, "_total") {
			kind = prometheus.CounterValue
		}
		d := prometheus.NewDesc(f.Name, "Latest reading of this host; docs/METRICS.md says what it is.", names, nil)
		send(ch, d, kind, f.Value, values)
	}
}

// isHostFigure says whether a figure may have that name without taking one of the agent's or of
// Temporal's SDK.
func isHostFigure(name string) bool {
	return strings.HasPrefix(name, "shivx_host_") && model.LegacyValidation.IsValidMetricName(name)
}
