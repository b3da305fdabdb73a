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
