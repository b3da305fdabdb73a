package agent

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/telemetry"
)

func TestMitigationsAreCountedFromTheLedger(t *testing.T) {
	l, err := ledger.Open(filepath.Join(t.TempDir(), "ledger"), ledger.Options{})
	require.NoError(t, err)
	add := func(e shivx.RecoveryRecord) {
		_, err := l.Append(context.Background(), "", e)
		require.NoError(t, err)
	}
	of := func(subsystem string, o shivx.Outcome) shivx.RecoveryRecord {
		return shivx.RecoveryRecord{EventType: shivx.EventMitigation, Subsystem: subsystem, Outcome: o}
	}
	add(of("memory", shivx.OutcomePrevented))
	add(shivx.RecoveryRecord{EventType: shivx.EventPrediction, Subsystem: "memory"})
	add(of("memory", shivx.OutcomePrevented))
	add(of("disk", shivx.OutcomeUseless))

	var m mitigated
	require.Empty(t, m.list())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.follow(t.Context(), l, slog.New(slog.DiscardHandler))
	}()
	add(of("memory", shivx.OutcomeUseless))
	require.NoError(t, l.Close())
	<-ended
	require.Equal(t, []telemetry.Mitigations{{Subsystem: "disk", Outcome: shivx.OutcomeUseless, Count: 1}, {Subsystem: "memory", Outcome: shivx.OutcomeUseless, Count: 1},
		{Subsystem: "memory", Outcome: shivx.OutcomePrevented, Count: 2}}, m.list())
}
