package agent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/telemetry"
)

// mitigated counts the mitigations in the operational ledger, for /metrics.
type mitigated struct {
	mu     sync.Mutex
	counts map[telemetry.Mitigations]int // by what they are without their Count
}

// follow counts what is in the ledger, and what comes to it until ctx ends.
func (m *mitigated) follow(ctx context.Context, l *ledger.Ledger, log *slog.Logger) {
	err := l.Follow(ctx, 1, func(r ledger.Record) error {
		var e shivx.RecoveryRecord
		if r.Decode(&e) == nil && e.EventType == shivx.EventMitigation {
			m.mu.Lock()
			if m.counts == nil {
				m.counts = map[telemetry.Mitigations]int{}
			}
			m.counts[telemetry.Mitigations{Subsystem: e.Subsystem, Outcome: e.Outcome}]++
			m.mu.Unlock()
		}
		return nil
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, ledger.ErrClosed) {
		log.Error("mitigations are not counted any more", "error", err, "hint", "shivx ledger verify says whether the ledger can be read")
	}
}

// list returns the counts so far.
func (m *mitigated) list() []telemetry.Mitigations {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []telemetry.Mitigations
	for of, n := range m.counts {
		of.Count = n
		out = append(out, of)
	}
	slices.SortFunc(out, func(a, b telemetry.Mitigations) int {
		return cmp.Or(cmp.Compare(a.Subsystem, b.Subsystem), cmp.Compare(a.Outcome, b.Outcome))
	})
	return out
}
