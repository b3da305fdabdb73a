package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

func TestRestoreRefusesADamagedCheckpoint(t *testing.T) {
	damage := map[string]func(t *testing.T, c Checkpoint){
		"flipped byte": func(t *testing.T, c Checkpoint) { overwrite(t, c, "/tree/sub/b", "2X2") },
		"longer":       func(t *testing.T, c Checkpoint) { overwrite(t, c, "/tree/sub/b", "2222") },
		"missing": func(t *testing.T, c Checkpoint) {
			require.NoError(t, os.Remove(stored(c, "/tree/sub/b")))
		},
		"replaced by a link": func(t *testing.T, c Checkpoint) {
			require.NoError(t, os.Remove(stored(c, "/tree/sub/b")))
			outside := filepath.Join(t.TempDir(), "b")
			write(t, outside, "222")
			require.NoError(t, os.Symlink(outside, stored(c, "/tree/sub/b")))
		},
		"folder replaced by a link": func(t *testing.T, c Checkpoint) {
			outside := t.TempDir()
			write(t, outside+"/b", "222")
			require.NoError(t, os.RemoveAll(filepath.Dir(stored(c, "/tree/sub/b"))))
			require.NoError(t, os.Symlink(outside, filepath.Dir(stored(c, "/tree/sub/b"))))
		},
	}
	for name, spoil := range damage {
		t.Run(name, func(t *testing.T) {
			s, dir := newStore(t), t.TempDir()
			write(t, dir+"/tree/a", "111")
			write(t, dir+"/tree/sub/b", "222")
			c := take(t, s, "k", config.State{Paths: []string{dir + "/tree"}})
			spoil(t, c)
			write(t, dir+"/tree/a", "changed")
			before := picture(t, dir)
			require.ErrorIs(t, s.Verify(context.Background(), c), ErrDamaged)
			_, err := s.Restore(context.Background(), c, nil)
			require.ErrorIs(t, err, ErrDamaged)
			after := picture(t, dir)
			require.Equal(t, before, after, "the target was touched")
		})
	}
}

// stored finds the copy of the file whose path ends in suffix.
func stored(c Checkpoint, suffix string) string {
	for _, f := range c.Files {
		if strings.HasSuffix(f.Path, suffix) {
			return filepath.Join(c.Dir, f.Stored)
		}
	}
	return ""
}

func overwrite(t *testing.T, c Checkpoint, suffix, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(stored(c, suffix), []byte(text), 0o600))
}

func TestLoadRefusesAManifestThatLeadsOutside(t *testing.T) {
	tricks := map[string]struct{ old, new string }{
		"path outside of the state": {`"path": "DIR/tree/a"`, `"path": "/etc/cron.d/a"`},
		"dots in the path":          {`"path": "DIR/tree/a"`, `"path": "DIR/tree/../../a"`},
		"relative path":             {`"path": "DIR/tree/a"`, `"path": "tree/a"`},
		"stored elsewhere":          {`"stored": "filesDIR/tree/a"`, `"stored": "../../../../etc/shadow"`},
		"file below a link":         {`"path": "DIR/tree/a"`, `"path": "DIR/tree/link/a"`},
		"twice":                     {`"path": "DIR/tree/a"`, `"path": "DIR/tree/link"`},
		"state path root":           {`  "DIR/tree"`, `  "/"`},
		"mode with a file type":     {`"mode": 420`, `"mode": 33188`},
		"unknown type":              {`"type": "symlink"`, `"type": "device"`},
		"not JSON":                  {`"component"`, `component`},
	}
	for name, trick := range tricks {
		t.Run(name, func(t *testing.T) {
			s, dir := newStore(t), t.TempDir()
			write(t, dir+"/tree/a", "111")
			require.NoError(t, os.Symlink("/etc", dir+"/tree/link"))
			c := take(t, s, "k", config.State{Paths: []string{dir + "/tree"}})
			manifest := filepath.Join(c.Dir, manifestName)
			data, err := os.ReadFile(manifest)
			require.NoError(t, err)
			place := strings.NewReplacer("DIR", dir)
			text := strings.Replace(string(data), place.Replace(trick.old), place.Replace(trick.new), 1)
			require.NotEqual(t, string(data), text, "the trick does not apply")
			require.NoError(t, os.WriteFile(manifest, []byte(text), 0o600))
			_, err = Load(c.Dir)
			require.ErrorIs(t, err, ErrDamaged)
			require.ErrorContains(t, err, "does not match")

			sum := sha256.Sum256([]byte(text))
			require.NoError(t, os.WriteFile(filepath.Join(c.Dir, sumName), []byte(hex.EncodeToString(sum[:])), 0o600))
			_, err = Load(c.Dir)
			require.ErrorIs(t, err, ErrDamaged)
			require.NotContains(t, err.Error(), "does not match")
		})
	}
}
