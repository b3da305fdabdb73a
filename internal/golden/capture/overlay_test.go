package capture

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

func TestOverlays(t *testing.T) {
	dir, exports := t.TempDir(), t.TempDir()
	write(t, dir+"/app/db", "torn")
	write(t, dir+"/app/db.lock", "")
	write(t, dir+"/app/data/live/1", "torn")
	write(t, dir+"/app/data/live/2", "torn")
	write(t, dir+"/zfile", "torn")
	write(t, dir+"/app/live.skip", "left out")
	dump := write(t, exports+"/dump", "consistent")
	require.NoError(t, os.Chmod(dump, 0o600))
	write(t, exports+"/folder/sub/x", "base backup")
	write(t, exports+"/folder/y.skip", "")
	write(t, exports+"/nested", "nested")

	m := newMemory()
	o := Options{
		Roots:   []string{dir + "/app", dir + "/zfile", dir + "/virtual"},
		Exclude: []string{dir + "/app/d*", "/**/*.skip"},
		Overlays: map[string]string{
			dir + "/app/db":               dump,
			dir + "/app/data/live":        exports + "/folder",
			dir + "/app/data/live/nested": exports + "/nested",
			dir + "/app/new.sql":          dump,
			dir + "/zfile":                exports + "/folder/",
			dir + "/virtual":              dump,
		},
		now: later,
	}
	_, err := Run(t.Context(), m, o)
	require.ErrorContains(t, err, "app/data/live lies in "+dir+"/app/data, which the pattern")

	o.Exclude[0] = dir + "/app/db*"
	m = newMemory()
	r := capture(t, m, o)
	require.Equal(t, []string{
		dir + "/app", dir + "/app/data", dir + "/app/data/live", dir + "/app/data/live/nested",
		dir + "/app/data/live/sub", dir + "/app/data/live/sub/x", dir + "/app/data/live/y.skip", dir + "/app/db", dir + "/app/new.sql",
		dir + "/virtual", dir + "/zfile", dir + "/zfile/sub", dir + "/zfile/sub/x", dir + "/zfile/y.skip",
	}, m.paths())
	require.Empty(t, r.Missing)
	db := m.entry(t, dir+"/app/db")
	require.Equal(t, "consistent", string(m.content(t, db)))
	require.EqualValues(t, 0o600, db.Mode)
	require.Equal(t, stat(t, dump).Ino, db.Hint.Inode)
	require.Equal(t, "nested", string(m.content(t, m.entry(t, dir+"/app/data/live/nested"))))
	require.Equal(t, "base backup", string(m.content(t, m.entry(t, dir+"/app/data/live/sub/x"))))
	require.Equal(t, format.TypeDir, m.entry(t, dir+"/zfile").Type)

	o.Previous = m.all()
	again := m.after()
	require.Zero(t, capture(t, again, o).Read)
	require.Equal(t, m.entries, again.entries)
}

// Far below, where folders above are closed and opened again by way of those in them.
func TestOverlayInADeepTree(t *testing.T) {
	dir, exports := t.TempDir(), t.TempDir()
	deep := dir + strings.Repeat("/d", openLevels+20)
	write(t, deep+"/z", "last")
	export := strings.Repeat("/e", openLevels+20)
	write(t, exports+export+"/f", "replaced")
	m := newMemory()
	capture(t, m, Options{Roots: []string{dir}, Overlays: map[string]string{deep + "/o": exports}})
	require.Equal(t, "replaced", string(m.content(t, m.entry(t, deep+"/o"+export+"/f"))))
	require.Equal(t, "last", string(m.content(t, m.entry(t, deep+"/z"))))
}

func TestOverlayOfARootThatIsALink(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Symlink("elsewhere", dir+"/root"))
	m := newMemory()
	capture(t, m, Options{Roots: []string{dir + "/root"}, Overlays: map[string]string{dir + "/root": write(t, dir+"/export", "exported")}})
	require.Equal(t, "exported", string(m.content(t, m.entry(t, dir+"/root"))))
}
