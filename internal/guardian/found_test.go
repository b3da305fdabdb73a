package guardian

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/integrity"
	"github.com/shivx/shivx/internal/ledger"
)

func watched(t *testing.T, more func(*config.Guardian)) (*stand, string) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app")
	require.NoError(t, os.WriteFile(file, []byte("one"), 0o755))
	s := newStand(t, func(g *config.Guardian) {
		g.Integrity.Paths = []string{dir}
		if more != nil {
			more(g)
		}
	})
	require.Eventually(t, func() bool { st := s.Status().Integrity; return st.Root != "" && st.Watching.Watched > 0 }, 10*time.Second, time.Millisecond)
	return s, file
}

func TestTamperingLocksDown(t *testing.T) {
	s, file := watched(t, nil)
	require.NoError(t, os.WriteFile(file, []byte("two"), 0o755))
	require.Eventually(t, func() bool { return s.Mode().To == shivx.DefenseLockdown }, 10*time.Second, time.Millisecond)
	require.True(t, s.Mode().Unconfirmed, "nobody is on the allow list: it must end by itself")
	s.records()
	found := false
	require.NoError(t, ledger.Read(s.o.LedgerPath, 1, func(r ledger.Record) error {
		var rec struct {
			ThreatType  shivx.ThreatType  `json:"threat_type"`
			ThreatLevel shivx.ThreatLevel `json:"threat_level"`
			Source      string            `json:"source"`
			ActionTaken shivx.Action      `json:"action_taken"`
			Details     map[string]any    `json:"details"`
		}
		require.NoError(t, json.Unmarshal(r.Raw, &rec))
		if rec.ThreatType == shivx.ThreatTampering {
			found = true
			require.Equal(t, shivx.ThreatCritical, rec.ThreatLevel)
			require.Equal(t, shivx.ActionLockdown, rec.ActionTaken)
			require.Equal(t, "file:"+file, rec.Source)
			require.Equal(t, file, rec.Details["file"])
			require.Len(t, rec.Details["expected_hash"], 64)
			require.Len(t, rec.Details["current_hash"], 64)
			require.NotEqual(t, rec.Details["expected_hash"], rec.Details["current_hash"])
		}
		return nil
	}))
	require.True(t, found)
}

func TestTamperingAlarmsAlone(t *testing.T) {
	s, file := watched(t, func(g *config.Guardian) { g.Integrity.OnTampering = "alert" })
	require.NoError(t, os.Remove(file))
	require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.said) > 0 }, 10*time.Second, time.Millisecond)
	require.Equal(t, shivx.DefenseNormal, s.Mode().To)
}

func TestATicketAnnouncesChanges(t *testing.T) {
	s, file := watched(t, func(g *config.Guardian) { g.Allow = []string{"198.51.100.7"} })
	ticket, err := s.Integrity().OpenTicket(t.Context(), integrity.Ticket{
		Paths: []string{filepath.Dir(file)}, Until: s.now().Add(time.Minute), By: "ana", Why: "deploy"})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte("two"), 0o755))
	_, err = s.Integrity().CloseTicket(t.Context(), ticket.ID, "ana")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte("three"), 0o755))
	require.Eventually(t, func() bool { return s.Mode().To == shivx.DefenseLockdown }, 10*time.Second, time.Millisecond)
	require.False(t, s.Mode().Unconfirmed, "the allow list lets people in")
	tampered := 0
	for _, st := range s.records() {
		if st.Threat != nil && st.Threat.Type == shivx.ThreatTampering {
			tampered++
		}
	}
	require.Equal(t, 1, tampered)
}

// TestAForgedBaselineIsFound replaces the baseline with another one that is signed, while nobody looks.
func TestAForgedBaselineIsFound(t *testing.T) {
	s, file := watched(t, nil)
	s.close()
	require.NoError(t, os.WriteFile(file, []byte("evil"), 0o755))
	require.NoError(t, os.RemoveAll(filepath.Join(s.dir, "integrity")))
	other := filepath.Join(s.dir, "guardian.state")
	_ = os.Remove(other)
	s.open()
	require.Eventually(t, func() bool { return s.Mode().To == shivx.DefenseLockdown }, 10*time.Second, time.Millisecond)
}
