package config

// The ledgers of a host, below the configured var folder.
const (
	// OperationalLedger holds findings, steps and recoveries.
	OperationalLedger = "recovery/operational_ledger.ndjson"
	// ResilienceAudit holds levels, overrides, modules and health.
	ResilienceAudit = "resilience/resilience_audit.ndjson"
	// GuardianAudit holds threats, isolations and defense modes.
	GuardianAudit = "security/guardian_audit.ndjson"
)
