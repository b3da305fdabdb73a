package golden

import (
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/config"
)

// policyOf is what a run must know of a set before it starts.
func (a *Activities) policyOf(s config.GoldenSet) activities.SetPolicy {
	p := activities.SetPolicy{
		GoldenTarget: shivx.GoldenTarget{Set: s.Name, Host: a.Config.Host}, Services: s.Services,
		Approval: shivx.Approval{
			Required: s.Approval.Required, Of: s.Approval.Of, TTL: shivx.Duration(s.Approval.TTL), Grant: s.Approval.Default == "approve",
		},
		Timeout: shivx.Duration(s.Timeout), ServiceTimeout: shivx.Duration(s.ServiceTimeout),
	}
	var check time.Duration
	for _, name := range s.Services {
		if c, ok := a.Config.Component(name); ok {
			check += c.Validate.Settle
			if c.Validate.Window != nil {
				check += *c.Validate.Window
			}
		}
	}
	p.CheckTimeout = shivx.Duration(check + 2*time.Second)
	return p
}

// keepUntil is the time before which a backup must not be removed.
func keepUntil(s config.GoldenSet, kind shivx.GoldenKind, now time.Time) time.Time {
	if s.Keep.ImmutableDays == 0 || kind != shivx.GoldenKindBackup {
		return time.Time{}
	}
	return now.UTC().AddDate(0, 0, s.Keep.ImmutableDays)
}
