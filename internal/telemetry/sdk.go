package telemetry

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"
)

// What the SDK may count is bounded: names and tags can come from workflows.
const (
	// maxFamilies is how many names there may be, maxSets how many sets of labels of one name.
	maxFamilies, maxSets = 300, 200
	// maxLabels is how many labels a figure may have, maxValue how many bytes a label's value.
	maxLabels, maxValue = 16, 128
	// overflowLabel marks the figure that takes what is beyond maxSets.
	overflowLabel = "overflow"
)

// timerBuckets are the upper limits of the histograms of times, in seconds.
var timerBuckets = []float64{0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600}

// handler is what the SDK gets: the same figures with other tags.
type handler struct {
	metrics *sdkMetrics
	tags    map[string]string
}

var _ client.MetricsHandler = (*handler)(nil)

// WithTags returns a handler with more tags; a tag that is there already is replaced.
func (h *handler) WithTags(tags map[string]string) client.MetricsHandler {
	all := make(map[string]string, len(h.tags)+len(tags))
	maps.Copy(all, h.tags)
	maps.Copy(all, tags)
	return &handler{h.metrics, all}
}

// Counter returns the counter NAME_total; it does not count backwards.
func (h *handler) Counter(name string) client.MetricsCounter {
	m, ok := h.metrics.get(name, "_total", h.tags, newCounter).(prometheus.Counter)
	return counterFunc(func(d int64) {
		if ok && d > 0 {
			m.Add(float64(d))
		}
	})
}

// Gauge returns the gauge NAME.
func (h *handler) Gauge(name string) client.MetricsGauge {
	m, ok := h.metrics.get(name, "", h.tags, newGauge).(prometheus.Gauge)
	return gaugeFunc(func(v float64) {
		if ok && !math.IsNaN(v) {
			m.Set(v)
		}
	})
}

// Timer returns the histogram NAME_seconds.
func (h *handler) Timer(name string) client.MetricsTimer {
	m, ok := h.metrics.get(name, "_seconds", h.tags, newHistogram).(prometheus.Histogram)
	return timerFunc(func(d time.Duration) {
		if ok {
			m.Observe(max(0, d.Seconds()))
		}
	})
}

type counterFunc func(int64)

func (f counterFunc) Inc(d int64) { f(d) }

type gaugeFunc func(float64)

func (f gaugeFunc) Update(v float64) { f(v) }

type timerFunc func(time.Duration)

func (f timerFunc) Record(d time.Duration) { f(d) }

// maker makes one figure; it says as well of which kind a family is.
type maker struct {
	kind string
	make func(name, help string, labels prometheus.Labels) prometheus.Metric
}

var (
	newCounter = maker{"counter", func(name, help string, labels prometheus.Labels) prometheus.Metric {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels})
	}}
	newGauge = maker{"gauge", func(name, help string, labels prometheus.Labels) prometheus.Metric {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels})
	}}
	newHistogram = maker{"histogram", func(name, help string, labels prometheus.Labels) prometheus.Metric {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, ConstLabels: labels, Buckets: timerBuckets})
	}}
)

// sdkMetrics holds all that the SDK counts. The SDK uses one name with different tags, which is
// allowed in Prometheus' format but not by its registry: nothing is described beforehand.
type sdkMetrics struct {
	mu       sync.RWMutex
	families map[string]*family
	// taken are all names that are shown, those of a histogram's parts included.
	taken   map[string]bool
	dropped prometheus.Counter
}

// family is all figures of one name.
type family struct {
	kind string
	sets map[string]prometheus.Metric
}

var _ prometheus.Collector = (*sdkMetrics)(nil)

func newSDKMetrics() *sdkMetrics {
	return &sdkMetrics{families: map[string]*family{}, taken: map[string]bool{}, dropped: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "shivx_telemetry_overflows_total",
		Help: "Requests of Temporal's SDK for a figure that were not met, because there are too many or the name is taken.",
	})}
}

// Describe implements prometheus.Collector; sending nothing leaves the figures open.
func (*sdkMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s *sdkMetrics) Collect(ch chan<- prometheus.Metric) {
	ch <- s.dropped
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, f := range s.families {
		for _, m := range f.sets {
			ch <- m
		}
	}
}

// get returns the figure of a name and tags, making it when there is none; nil when there may be
// no more.
func (s *sdkMetrics) get(name, suffix string, tags map[string]string, of maker) prometheus.Metric {
	name = familyName(name, suffix)
	labels, key := labelsOf(tags)
	s.mu.RLock()
	f := s.families[name]
	if f != nil && f.kind == of.kind {
		if m := f.sets[key]; m != nil {
			s.mu.RUnlock()
			return m
		}
	}
	s.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if f = s.family(name, of.kind); f == nil {
		s.dropped.Inc()
		return nil
	}
	if f.sets[key] == nil && len(f.sets) >= maxSets {
		s.dropped.Inc()
		labels, key = prometheus.Labels{overflowLabel: "true"}, overflowLabel
	}
	m := f.sets[key]
	if m == nil {
		m = of.make(name, "Counted by Temporal's SDK; see docs/METRICS.md.", labels)
		f.sets[key] = m
	}
	return m
}

// family returns the family of a name, nil when the name belongs to another kind or there are too
// many; mu is held.
func (s *sdkMetrics) family(name, kind string) *family {
	if f := s.families[name]; f != nil {
		if f.kind != kind {
			return nil
		}
		return f
	}
	names := []string{name}
	if kind == newHistogram.kind {
		names = append(names, name+"_bucket", name+"_count", name+"_sum")
	}
	if len(s.families) >= maxFamilies || slices.ContainsFunc(names, func(n string) bool { return s.taken[n] }) {
		return nil
	}
	for _, n := range names {
		s.taken[n] = true
	}
	f := &family{kind: kind, sets: map[string]prometheus.Metric{}}
	s.families[name] = f
	return f
}

// familyName makes a valid name below temporal_ of what the SDK, or a workflow, calls it.
func familyName(name, suffix string) string {
	name = strings.TrimSuffix(identifier(name), suffix)
	if !strings.HasPrefix(name, "temporal_") {
		name = "temporal_" + name
	}
	return name + suffix
}

// labelsOf makes labels of tags, and a key that tells sets of labels apart.
func labelsOf(tags map[string]string) (prometheus.Labels, string) {
	labels := make(prometheus.Labels, len(tags))
	var key strings.Builder
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		name := strings.TrimLeft(identifier(tag), "_")
		if name == "" || tags[tag] == "" || len(labels) >= maxLabels {
			continue // to Prometheus an empty label is none
		}
		if name == "le" || name == "quantile" || name == overflowLabel || name[0] >= '0' && name[0] <= '9' {
			name = "tag_" + name
		}
		if _, twice := labels[name]; twice {
			continue
		}
		labels[name] = valid(tags[tag])
		key.WriteString(name + "\xff" + labels[name] + "\xff")
	}
	return labels, key.String()
}

// identifier replaces what may not stand in a name.
func identifier(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, cut(s))
}

// valid makes s fit to be the value of a label.
func valid(s string) string { return strings.ToValidUTF8(cut(s), "�") }

func cut(s string) string {
	if len(s) > maxValue {
		return strings.ToValidUTF8(s[:maxValue], "")
	}
	return s
}
