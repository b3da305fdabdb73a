package source

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/ledger"
)

func TestLedgersAreExportedWhileTheyAreOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "live", "one.ndjson")
	l, err := ledger.Open(path, ledger.Options{MaxBytes: 500})
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	for range 20 {
		_, err := l.Append(t.Context(), "", map[string]string{"event_type": "test"})
		require.NoError(t, err)
	}
	s, err := NewLedgers("logs", LedgersOptions{Paths: []string{path, filepath.Join(dir, "live", "none.ndjson")}, At: "/stand-in"})
	require.NoError(t, err)
	e, err := PrepareAll(t.Context(), filepath.Join(dir, "exports"), s)
	require.NoError(t, err)
	require.Equal(t, []format.Source{{Name: "logs", Type: TypeLedgers, Path: "/stand-in"}}, e.Sources)
	made := e.Overlays["/stand-in"]
	rep, err := ledger.Verify(t.Context(), filepath.Join(made, "one.ndjson"), ledger.VerifyOptions{Copy: true})
	require.NoError(t, err)
	require.True(t, rep.OK, "%+v", rep.Findings)
	require.EqualValues(t, 20, rep.Records)
	require.Greater(t, rep.Segments, 2)
	require.NoFileExists(t, filepath.Join(made, "one.ndjson.key"))
	require.NoError(t, e.Close(t.Context()))
	require.NoDirExists(t, made)
	rep, err = ledger.Verify(t.Context(), path, ledger.VerifyOptions{})
	require.NoError(t, err)
	require.True(t, rep.OK, "%+v", rep.Findings)
	left, err := os.ReadDir(filepath.Join(dir, "exports"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestCopiesStandNeverWhereLedgersDo(t *testing.T) {
	for name, o := range map[string]LedgersOptions{
		"in their folder":     {Paths: []string{"/var/log/a.ndjson"}, At: "/var/log"},
		"above it":            {Paths: []string{"/var/log/a.ndjson"}, At: "/var"},
		"two of one name":     {Paths: []string{"/a/l.ndjson", "/b/l.ndjson"}, At: "/x"},
		"a relative path":     {Paths: []string{"l.ndjson"}, At: "/x"},
		"a relative stand-in": {Paths: []string{"/a/l.ndjson"}, At: "x"},
	} {
		_, err := NewLedgers("logs", o)
		require.Error(t, err, name)
		require.NotEmpty(t, shivx.HintOf(err), name)
	}
}
