package peers

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/ledger"
)

// busyGuardian keeps 100,000 sources out, none of which is of the documentation's networks.
func busyGuardian(t *testing.T, cfg *config.Config) *guardian.Guardian {
	t.Helper()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	path := filepath.Join(dir, "audit.ndjson")
	audit, err := ledger.Open(path, ledger.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = audit.Close() })
	g, err := guardian.New(guardian.Options{Host: "h", Rules: cfg.Guardian, Ledger: audit, LedgerPath: path, Dir: dir, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	fleet := make([]shivx.Isolation, 0, 100_000)
	for i := range cap(fleet) {
		fleet = append(fleet, shivx.Isolation{
			Source: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), Since: now, Changed: now, By: shivx.Guardian, Offence: 1, Until: now.Add(24 * time.Hour)})
	}
	g.Fleet(fleet)
	return g
}
