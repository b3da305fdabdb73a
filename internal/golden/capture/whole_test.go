package capture

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoPatternExcludesWhatIsExported: an overlay has all its files, others have not.
func TestNoPatternExcludesWhatIsExported(t *testing.T) {
	p, err := newPlan(Options{Roots: []string{"/a/whole", "/b"}, Exclude: []string{"/a/**", "/**/*.log"},
		Overlays: map[string]string{"/a/whole": t.TempDir()}})
	require.NoError(t, err)
	for _, prefix := range []string{"/a/whole/", "/a/whole/deep/"} {
		require.Empty(t, p.excluded(prefix), prefix)
	}
	for _, prefix := range []string{"/a/whole-not/", "/b/", "/a/"} {
		require.True(t, p.excluded(prefix).match(prefix, "x.log"), prefix)
	}
	_, err = newPlan(Options{Roots: []string{filepath.Join("/a", "other")}, Exclude: []string{"/a/**"}})
	require.ErrorContains(t, err, "is excluded by the pattern")
}
