package activities

import (
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
)

// Typed search attributes.
var (
	AttrComponent = temporal.NewSearchAttributeKeyKeyword(shivx.AttrComponent)
	AttrHost      = temporal.NewSearchAttributeKeyKeyword(shivx.AttrHost)
	AttrRunbook   = temporal.NewSearchAttributeKeyKeyword(shivx.AttrRunbook)
	AttrOutcome   = temporal.NewSearchAttributeKeyKeyword(shivx.AttrOutcome)
	AttrSet       = temporal.NewSearchAttributeKeyKeyword(shivx.AttrSet)
	AttrSubsystem = temporal.NewSearchAttributeKeyKeyword(shivx.AttrSubsystem)
	AttrChanged   = temporal.NewSearchAttributeKeyTime(shivx.AttrChanged)
)

// SearchAttributes returns what a run of kind on t is found by; a run for a whole host has no
// component.
func SearchAttributes(kind string, t shivx.Target) temporal.SearchAttributes {
	updates := []temporal.SearchAttributeUpdate{AttrRunbook.ValueSet(kind), AttrHost.ValueSet(t.Host)}
	if t.Component != "" {
		updates = append(updates, AttrComponent.ValueSet(t.Component))
	}
	return temporal.NewSearchAttributes(updates...)
}

// IsolationAttributes returns what the ThreatIsolation of i is found by.
func IsolationAttributes(i shivx.Isolation) temporal.SearchAttributes {
	updates := []temporal.SearchAttributeUpdate{AttrRunbook.ValueSet(shivx.RunbookIsolation), AttrChanged.ValueSet(i.Changed)}
	if i.Host != "" {
		updates = append(updates, AttrHost.ValueSet(i.Host))
	}
	return temporal.NewSearchAttributes(updates...)
}

// GoldenAttributes returns what a golden run on t is found by.
func GoldenAttributes(a shivx.GoldenAction, t shivx.GoldenTarget) temporal.SearchAttributes {
	updates := []temporal.SearchAttributeUpdate{AttrRunbook.ValueSet(GoldenRunbook(a)), AttrSet.ValueSet(t.Set)}
	if t.Host != "" {
		updates = append(updates, AttrHost.ValueSet(t.Host))
	}
	return temporal.NewSearchAttributes(updates...)
}

// MitigationAttributes returns what a Mitigation for t is found by.
func MitigationAttributes(t shivx.SubsystemTarget) temporal.SearchAttributes {
	return temporal.NewSearchAttributes(AttrRunbook.ValueSet(shivx.RunbookMitigation), AttrSubsystem.ValueSet(t.Subsystem), AttrHost.ValueSet(t.Host))
}
