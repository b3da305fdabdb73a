package config

// The ledgers of a host, below the configured var folder.
const (
	// OperationalLedger holds findings, steps and recoveries.
	OperationalLedger = "recovery/operational_ledger.ndjson"
	// ResilienceAudit holds levels, overrides, modules and health.
	ResilienceAudit = "resilience/resilience_audit.ndjson"
)
