package modules

import (
	"context"
	"fmt"
	"time"

	"github.com/shivx/shivx"
)

const (
	// ForgetAfter is how long the lease of a registered program may be over before it is forgotten,
	// so that instances that are gone for good do not use up the places. People were told long ago.
	ForgetAfter = 24 * time.Hour
	// forgetEvery is the time between two looks for such programs.
	forgetEvery = time.Minute
)

// Run forgets registered programs that are silent for long, until ctx ends. The time counts anew
// from each start of the agent.
func (r *Registry) Run(ctx context.Context) {
	t := time.NewTicker(forgetEvery)
	defer t.Stop()
	said := "" // what went wrong last, so that it is said once
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := ""
		for _, m := range r.Registrations() {
			if err := r.forget(ctx, m.Name); err != nil {
				now = err.Error()
			}
		}
		if now != "" && now != said {
			r.log.Warn("a silent module could not be forgotten", "error", now)
		}
		said = now
	}
}

// forget ends the registration of a program that is silent for long.
func (r *Registry) forget(ctx context.Context, name string) error {
	if r.monitor.Missing(name) < ForgetAfter {
		return nil
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	m, ok := r.get(name)
	if !ok || r.monitor.Missing(name) < ForgetAfter { // it has come back just now
		return nil
	}
	why := fmt.Sprintf("no heartbeat for %s after its lease of %s", shivx.Duration(ForgetAfter), m.Lease)
	if err := r.end(ctx, m, why); err != nil {
		return err
	}
	r.log.Info("a module was forgotten", "module", name, "reason", why)
	return nil
}
