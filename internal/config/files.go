package config

// Link leads, in the configured var folder, to the file that the agent read its configuration from.
const Link = "shivx.yaml"

// own is what the agent keeps in the var folder, as a glob pattern.
const own = "{api.token,checkpoints*,dumps,golden,metrics,recovery,resilience,security,shivx.yaml,temporal,work}{,/**}"

// The ledgers of a host, below the configured var folder.
const (
	// OperationalLedger holds findings, steps and recoveries.
	OperationalLedger = "recovery/operational_ledger.ndjson"
	// ResilienceAudit holds levels, overrides, modules and health.
	ResilienceAudit = "resilience/resilience_audit.ndjson"
	// GuardianAudit holds threats, isolations and defense modes.
	GuardianAudit = "security/guardian_audit.ndjson"
)
