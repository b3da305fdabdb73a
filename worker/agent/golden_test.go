package agent

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	goldenacts "github.com/shivx/shivx/activities/golden"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
)

// TestRecordsOfOtherProcessesAreTakenUpSoon, and one that cannot be is told of once.
func TestRecordsOfOtherProcessesAreTakenUpSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		a := &Agent{cfg: config.Default(), log: slog.New(slog.NewTextHandler(&said, nil))}
		a.cfg.Paths.Var = t.TempDir()
		var err error
		a.ledger, err = ledger.Open(filepath.Join(a.cfg.Paths.Var, config.OperationalLedger), ledger.Options{Logger: a.log})
		require.NoError(t, err)
		defer func() { require.NoError(t, a.ledger.Close()) }()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go a.takeUpRecords(ctx)
		time.Sleep(5 * takeUpEvery)
		synctest.Wait()
		require.Empty(t, said.String(), "there may be nothing")

		w, err := goldenacts.OpenWaiting(a.cfg.Paths.Var)
		require.NoError(t, err)
		_, err = w.Append(ctx, "one", map[string]string{"event_type": "test"})
		require.NoError(t, err)
		broken := filepath.Join(a.cfg.Paths.Var, "recovery/golden/unrecorded/00-broken.json")
		require.NoError(t, os.WriteFile(broken, []byte("{"), 0o600))
		time.Sleep(takeUpEvery)
		synctest.Wait()
		require.True(t, a.ledger.Has("one"))
		time.Sleep(3 * takeUpEvery)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(said.String(), "00-broken.json"))
	})
}
