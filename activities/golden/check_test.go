package golden

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/ledger"
)

// healing is a component that is healthy after some time.
type healing struct {
	began time.Time
	after time.Duration
}

func (h healing) Round(context.Context, string) ([]health.Result, error) {
	return []health.Result{{Check: "up", Healthy: time.Since(h.began) >= h.after, Error: "not yet"}}, nil
}

// noLedger remembers nothing.
type noLedger struct{}

func (noLedger) Find(string) (ledger.Record, bool, error) { return ledger.Record{}, false, nil }
func (noLedger) Append(context.Context, string, any) (ledger.Record, error) {
	return ledger.Record{}, nil
}

// TestServicesAreJudgedInTime: whenever a service heals, there is a verdict before the run stops to wait for the
// answer, or else it would be judged again and again.
func TestServicesAreJudgedInTime(t *testing.T) {
	const timeout = 30 * time.Second
	const answer = timeout + 15*time.Second // of a run, by its policy for changes of a host
	for after, fit := range map[time.Duration]bool{0: true, 15 * time.Second: true, 19 * time.Second: true, 25 * time.Second: false, 29 * time.Second: false, time.Hour: false} {
		synctest.Test(t, func(t *testing.T) {
			window := 20 * time.Second
			cfg := config.Default()
			cfg.Components = []config.Component{{Name: "shop", Validate: config.Validate{Window: &window, Every: time.Second}}}
			a := &Activities{Config: cfg, Checks: healing{time.Now(), after}, Ledger: noLedger{}}
			began := time.Now()
			r, err := a.CheckServices(t.Context(), activities.CheckServicesInput{Services: []string{"shop"}, Timeout: shivx.Duration(timeout)})
			require.NoError(t, err, after)
			require.Equal(t, fit, r.Fit, after)
			require.Less(t, time.Since(began), answer-3*time.Second, after)
			if !fit {
				require.Len(t, r.Reasons, 1)
				require.Contains(t, r.Summary, "shop: ")
			}
		})
	}
}
