package golden_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/format"
)

// TestAComponentsPatternsAreRelativeToItsState: those of a set are not.
func TestAComponentsPatternsAreRelativeToItsState(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"keep", "x.log", "sub/y.log"} {
		path := filepath.Join(dir, "srv", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(name), 0o600))
	}
	cfg := config.Default()
	cfg.Host, cfg.Paths.Var, cfg.Golden.Store.Path = "web-1", filepath.Join(dir, "var"), filepath.Join(dir, "store")
	cfg.Components = []config.Component{{Name: "app", State: config.State{Paths: []string{filepath.Join(dir, "srv")}, Exclude: []string{"**/*.log"}}}}
	cfg.Golden.Sets = []config.GoldenSet{{Name: "all", States: true}}
	e, err := golden.Configured(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	info, _, err := e.Take(t.Context(), golden.Order{Set: "all", Kind: "backup"}, nil)
	require.NoError(t, err)
	var paths []string
	require.NoError(t, e.Browse(t.Context(), golden.Ref{Set: "all", Golden: info.ID}, "", true, func(e *format.Entry) error {
		paths = append(paths, e.Path[len(dir):])
		return nil
	}))
	require.Equal(t, []string{"/srv", "/srv/keep", "/srv/sub"}, paths)
}
