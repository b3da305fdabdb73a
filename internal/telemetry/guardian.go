package telemetry

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian"
)

// Guardian tells how the guardian is, without what takes long to list.
type Guardian interface {
	Brief() guardian.Status
}

var (
	guardMode       = desc("guardian_mode", "Defense mode in force: 0 is NORMAL, 1 ELEVATED, 2 LOCKDOWN.")
	guardThreats    = desc("guardian_threats_total", "Threats that the audit holds.", "type")
	guardIsolated   = desc("guardian_isolated_sources", "Sources that are kept out.")
	guardSources    = desc("guardian_tracked_sources", "Sources that the detector keeps in mind.")
	guardEvicted    = desc("guardian_evicted_sources_total", "Sources that had to be forgotten for others.")
	guardUnrecorded = desc("guardian_unrecorded_events", "Events that wait to be written to the audit.")
	guardLost       = desc("guardian_lost_events_total", "Warnings that were given up because the disk took none.")

	logLines   = desc("guardian_log_lines_total", "Lines read from a log since the agent began.", "log")
	logEvents  = desc("guardian_log_events_total", "Events found in a log since the agent began.", "log")
	logDropped = desc("guardian_log_dropped_total", "Messages from the network that were refused.", "log")
	logLag     = desc("guardian_log_lag_bytes", "What of a log is written and not read.", "log")
	logSilent  = desc("guardian_log_silent", "1 while nothing was read from a log for too long.", "log")

	enforcerWorks   = desc("guardian_enforcer_works", "0 while an enforcer does not do what it should.", "enforcer")
	enforcerEntries = desc("guardian_enforcer_entries", "Sources that an enforcer keeps out.", "enforcer")

	filesWatched  = desc("guardian_integrity_entries", "Files and folders in the baseline.")
	filesTampered = desc("guardian_integrity_findings", "Entries that are not as the baseline says.")
)

func guardianDescs() []*prometheus.Desc {
	return []*prometheus.Desc{
		guardMode, guardThreats, guardIsolated, guardSources, guardEvicted, guardUnrecorded, guardLost,
		logLines, logEvents, logDropped, logLag, logSilent, enforcerWorks, enforcerEntries, filesWatched, filesTampered,
	}
}

func collectGuardian(ch chan<- prometheus.Metric, s guardian.Status) {
	gauge(ch, guardMode, float64(slices.Index(shivx.DefenseModes(), s.Mode)))
	for kind, n := range s.Threats.ByType {
		counter(ch, guardThreats, float64(n), string(kind))
	}
	gauge(ch, guardIsolated, float64(s.Isolated))
	gauge(ch, guardSources, float64(s.Sources.Sources))
	counter(ch, guardEvicted, float64(s.Sources.Evicted))
	gauge(ch, guardUnrecorded, float64(s.Unrecorded))
	counter(ch, guardLost, float64(s.Lost))
	for _, l := range s.Logs {
		counter(ch, logLines, float64(l.Lines), l.Name)
		counter(ch, logEvents, float64(l.Events), l.Name)
		counter(ch, logDropped, float64(l.Dropped), l.Name)
		gauge(ch, logLag, float64(l.Lag), l.Name)
		gauge(ch, logSilent, one(l.Silent), l.Name)
	}
	for _, e := range s.Enforcers {
		gauge(ch, enforcerWorks, one(e.OK), e.Name)
		gauge(ch, enforcerEntries, float64(e.Entries), e.Name)
	}
	if s.Integrity != nil {
		gauge(ch, filesWatched, float64(s.Integrity.Entries))
		gauge(ch, filesTampered, float64(s.Integrity.Findings))
	}
}
