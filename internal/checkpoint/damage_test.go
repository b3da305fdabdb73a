package checkpoint

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

func TestRestoreRefusesADamagedCheckpoint(t *testing.T) {
	damage := map[string]func(t *testing.T, pack string){
		"flipped byte": func(t *testing.T, pack string) {
			data, err := os.ReadFile(pack)
			require.NoError(t, err)
			data[9] ^= 1
			require.NoError(t, os.WriteFile(pack, data, 0o600))
		},
		"shorter": func(t *testing.T, pack string) { require.NoError(t, os.Truncate(pack, 20)) },
		"missing": func(t *testing.T, pack string) { require.NoError(t, os.Remove(pack)) },
	}
	for name, spoil := range damage {
		t.Run(name, func(t *testing.T) {
			s, dir := newStore(t), t.TempDir()
			write(t, dir+"/tree/a", "111")
			write(t, dir+"/tree/sub/b", "222")
			c := take(t, s, "k", config.State{Paths: []string{dir + "/tree"}})
			require.NoError(t, filepath.WalkDir(filepath.Join(s.home, storeDir, "packs"), func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					spoil(t, path)
				}
				return err
			}))
			write(t, dir+"/tree/a", "changed")
			before := picture(t, dir)
			require.ErrorIs(t, s.Verify(context.Background(), c), ErrDamaged)
			_, err := s.Restore(context.Background(), c, nil)
			require.ErrorIs(t, err, ErrDamaged)
			require.Equal(t, before, picture(t, dir), "the target was touched")
			_, err = s.Folder(context.Background(), c.ID)
			require.ErrorIs(t, err, ErrDamaged)
			require.NoDirExists(t, filepath.Join(s.home, viewDir, c.ID))
			_, _, err = s.ReadFile(context.Background(), c, dir+"/tree/a")
			require.ErrorIs(t, err, ErrDamaged)
		})
	}
}
