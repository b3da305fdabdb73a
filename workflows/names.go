// Package workflows holds the runbooks: one durable Temporal workflow per file.
//
// Workflows decide; they touch no host. Everything that acts is an activity on the queue of
// the host it touches (package activities). The names of workflows, signals, updates and
// queries are wire format and stand in package shivx.
package workflows

import (
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
)

// Register binds every workflow to its wire name.
func Register(r worker.WorkflowRegistry) {
	for name, w := range map[string]any{
		shivx.TypeSelfHeal:      SelfHeal,
		shivx.TypeComponent:     Component,
		shivx.TypeLedgerWitness: LedgerWitness,

		shivx.TypeDegradationResponse: DegradationResponse,

		shivx.TypeThreatIsolation: ThreatIsolation,
		shivx.TypeDefenseMode:     DefenseMode,

		shivx.TypeGoldenBackup:  GoldenBackup,
		shivx.TypeGoldenVerify:  GoldenVerify,
		shivx.TypeGoldenRestore: GoldenRestore,
		shivx.TypeSafeSnapshot:  SafeSnapshot,

		shivx.TypeFaultForecast: FaultForecast,
		shivx.TypeMitigation:    Mitigation,
	} {
		r.RegisterWorkflowWithOptions(w, workflow.RegisterOptions{Name: name})
	}
}
