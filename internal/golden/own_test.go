package golden

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/restore"
)

// The folder of the configuration holds, by default, that of our state; a golden of it need not know of that,
// nor of the store, which may have been moved there later.
func TestOurOwnFoldersOutliveARestore(t *testing.T) {
	for name, inPlace := range map[string]bool{"whole": false, "in place": true} {
		t.Run(name, func(t *testing.T) {
			a := newAudited(t, func(s *config.GoldenSet) {})
			etc := filepath.Dir(a.file)
			require.NoError(t, a.engine.Close())
			for from, to := range map[string]string{a.cfg.Paths.Var: filepath.Join(etc, "state"), a.cfg.Golden.Store.Path: filepath.Join(etc, "sub", "store")} {
				require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
				require.NoError(t, os.Rename(from, to))
			}
			a.cfg.Paths.Var, a.cfg.Golden.Store.Path = filepath.Join(etc, "state"), filepath.Join(etc, "sub", "store")
			a.path = filepath.Join(a.cfg.Paths.Var, config.OperationalLedger)
			require.NoError(t, os.WriteFile(filepath.Join(etc, "sub", "rubbish"), []byte("new"), 0o600))
			a.engine = a.newEngine(t)

			r := Restore{ID: "one", Set: "system", Golden: a.golden, InPlace: inPlace}
			_, err := a.engine.Stage(t.Context(), r, nil)
			require.NoError(t, err)
			_, err = a.engine.Swap(t.Context(), r)
			require.NoError(t, err)
			pending, err := restore.Pending(a.engine.Journals())
			require.NoError(t, err)
			require.Len(t, pending, 1, "another process finds the journal")
			_, err = a.engine.Load(t.Context(), r)
			require.NoError(t, err)
			_, err = a.engine.Finish(t.Context(), r, false)
			require.NoError(t, err)
			data, err := os.ReadFile(a.file)
			require.NoError(t, err)
			require.Equal(t, "old", string(data))
			require.NoFileExists(t, filepath.Join(etc, "sub", "rubbish"))
			a.write(t, 30, 1)
			_, err = a.engine.Find(t.Context(), Ref{Set: "system", Golden: a.golden})
			require.NoError(t, err, "the store is where it was, and so is the key")
		})
	}
}
