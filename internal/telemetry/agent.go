package telemetry

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shivx/shivx/internal/resilience"
)

// agent shows how the agent sees its host.
type agent struct{ t *Telemetry }

var _ prometheus.Collector = agent{}

// desc describes a figure of the agent.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("shivx_"+name, help, labels, nil)
}

var (
	scorePoints = desc("resilience_score_points", "Health of the host, 0 to 100; absent before the first sample.")
	confidence  = desc("resilience_confidence_ratio", "Share of the expected readings that are there, by weight.")
	levelNow    = desc("resilience_level", "Degradation level in force: 0 is NORMAL, 4 is EMERGENCY.")
	levelAuto   = desc("resilience_automatic_level", "Degradation level by the score alone, 0 to 4; it differs during an override.")
	changes     = desc("resilience_changes_total", "Changes of the level or of its override since the audit began.")
	override    = desc("resilience_override_active", "1 while an override holds the level.")
	hookOn      = desc("resilience_hook_on", "1 while a hook sheds its load.", "hook")
	hookFailing = desc("resilience_hook_failing", "1 while a hook cannot be switched as it should be.", "hook")
	featureOn   = desc("resilience_feature_on", "0 for each feature that is off at the level in force.", "feature")

	modulePoints   = desc("module_score_points", "Health of a component or registered program, 0 to 100.", "module")
	moduleHealthy  = desc("module_healthy", "1 while every check of a component or registered program passes.", "module")
	moduleRestarts = desc("module_restarts_total", "Recoveries of a component or registered program since the audit began.", "module")

	ledgerSequence = desc("ledger_last_sequence", "Number of the last record of a ledger.", "ledger")

	historySeries  = desc("history_series", "Series of the metric history that had a measurement in the last hours.")
	historyBytes   = desc("history_size_bytes", "Size of the metric history on disk.")
	historyKept    = desc("history_kept_samples_total", "Measurements kept since the agent began.")
	historyRefused = desc("history_refused_samples_total", "Measurements refused since the agent began: too old, twice, or not finite.")
)

// Describe implements prometheus.Collector.
func (agent) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range append(append(guardianDescs(), forecastDescs()...),
		scorePoints, confidence, levelNow, levelAuto, changes, override, hookOn, hookFailing, featureOn,
		modulePoints, moduleHealthy, moduleRestarts, ledgerSequence, historySeries, historyBytes, historyKept, historyRefused) {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (a agent) Collect(ch chan<- prometheus.Metric) {
	s := a.t.sources.Load()
	if s.Resilience != nil {
		collectStatus(ch, s.Resilience.Status())
	}
	for name, l := range s.Ledgers {
		seq, _ := l.Last()
		gauge(ch, ledgerSequence, float64(seq), name)
	}
	if s.Guardian != nil {
		collectGuardian(ch, s.Guardian.Brief())
	}
	if s.Forecast != nil {
		collectForecast(ch, s.Forecast)
	}
	if s.Mitigations != nil {
		collectMitigations(ch, s.Mitigations())
	}
	if s.History != nil {
		series, bytes, kept, refused := s.History.Counts()
		gauge(ch, historySeries, float64(series))
		gauge(ch, historyBytes, float64(bytes))
		counter(ch, historyKept, float64(kept))
		counter(ch, historyRefused, float64(refused))
	}
}

func collectStatus(ch chan<- prometheus.Metric, s resilience.Status) {
	if s.Score != nil {
		gauge(ch, scorePoints, s.Score.Value)
		gauge(ch, confidence, s.Score.Confidence)
	}
	if rank := s.Level.Rank(); rank >= 0 {
		gauge(ch, levelNow, float64(rank))
	}
	if rank := s.Automatic.Rank(); rank >= 0 {
		gauge(ch, levelAuto, float64(rank))
	}
	counter(ch, changes, float64(s.Changes))
	gauge(ch, override, one(s.Override != nil))
	// A name that came twice would cost the whole answer.
	seen := map[string]bool{}
	fresh := func(kind, name string) bool {
		known := seen[kind+name]
		seen[kind+name] = true
		return !known
	}
	for _, h := range s.Hooks {
		if fresh("hook ", h.Name) {
			gauge(ch, hookOn, one(h.On), h.Name)
			gauge(ch, hookFailing, one(h.Error != ""), h.Name)
		}
	}
	for _, f := range s.DegradedFeatures {
		if fresh("feature ", f.Name) {
			gauge(ch, featureOn, one(f.Enabled), f.Name)
		}
	}
	for _, m := range s.Modules {
		if fresh("module ", m.Name) {
			gauge(ch, modulePoints, m.Score, m.Name)
			gauge(ch, moduleHealthy, one(m.State == "healthy"), m.Name)
			counter(ch, moduleRestarts, float64(m.Restarts), m.Name)
		}
	}
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	send(ch, d, prometheus.GaugeValue, v, labels)
}

func counter(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	send(ch, d, prometheus.CounterValue, v, labels)
}

func send(ch chan<- prometheus.Metric, d *prometheus.Desc, kind prometheus.ValueType, v float64, labels []string) {
	labels = slices.Clone(labels)
	for i := range labels {
		labels[i] = valid(labels[i])
	}
	m, err := prometheus.NewConstMetric(d, kind, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	ch <- m
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
