package golden_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	goldenacts "github.com/shivx/shivx/activities/golden"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
)

// TestRecordsOfALocalRestoreAreSettled: they are appended at its end, unless the agent has the ledger, each
// to its own ledger and in order.
func TestRecordsOfALocalRestoreAreSettled(t *testing.T) {
	dir := t.TempDir()
	o := ledger.Options{Logger: slog.New(slog.DiscardHandler)}
	path, audit := filepath.Join(dir, config.OperationalLedger), filepath.Join(dir, config.GuardianAudit)
	w, err := goldenacts.OpenWaiting(dir)
	require.NoError(t, err)
	require.NoFileExists(t, path, "nothing is opened before the end: a restore may have to bring it back")
	for _, key := range []string{"one", "two", ""} {
		_, err := w.Append(t.Context(), key, map[string]string{"event_type": "test", "name": key})
		require.NoError(t, err)
	}
	require.NoError(t, w.Record(t.Context(), audit, "three", map[string]string{"event_type": "test"}))

	l, err := ledger.Open(path, o)
	require.NoError(t, err)
	require.True(t, ledger.InUse(path))
	require.False(t, ledger.InUse(audit))
	require.NoError(t, w.Settle(t.Context(), o), "the agent has it")
	require.False(t, l.Has("one"))
	require.NoError(t, l.Close())
	require.False(t, ledger.InUse(path))

	for range 2 {
		require.NoError(t, w.Settle(t.Context(), o))
	}
	records, err := ledger.Tail(path, 10)
	require.NoError(t, err)
	require.Len(t, records, 3)
	require.Equal(t, []string{"one", "two"}, []string{records[0].Key, records[1].Key})
	records, err = ledger.Tail(audit, 10)
	require.NoError(t, err)
	require.Len(t, records, 1)
	left, err := os.ReadDir(filepath.Join(dir, "recovery", "golden", "unrecorded"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestRecordsThatAnotherProcessTakesUp at the same time are no error: the agent looks for them all the time.
func TestRecordsThatAnotherProcessTakesUp(t *testing.T) {
	dir := t.TempDir()
	w, err := goldenacts.OpenWaiting(dir)
	require.NoError(t, err)
	for range 3 {
		_, err := w.Append(t.Context(), "key", map[string]string{})
		require.NoError(t, err)
	}
	taken := 0
	require.NoError(t, goldenacts.TakeUp(t.Context(), dir, func(context.Context, string, string, any) error {
		taken++
		return os.RemoveAll(filepath.Join(dir, "recovery", "golden", "unrecorded"))
	}))
	require.Equal(t, 1, taken)
}
