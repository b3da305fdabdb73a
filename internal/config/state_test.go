package config

import (
	"testing"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/stretchr/testify/require"
)

func TestGlobsMeanTheSameAsTheRelativePatterns(t *testing.T) {
	root := "/srv/[a]/b*"
	for _, pattern := range []string{"*.log", "**/*.log", "cache", "cache/**", "**", "{a,b}/c", "a/**/z"} {
		globs := State{Paths: []string{root + "/"}, Exclude: []string{pattern}}.Globs()
		require.Len(t, globs, 1)
		require.True(t, doublestar.ValidatePattern(globs[0]), globs[0])
		for _, rel := range []string{"x", "x.log", "d/x.log", "cache", "cache/x", "cache/x/y", "a/c", "b/c", "a/z", "a/1/2/z", "c"} {
			want, err := doublestar.Match(pattern, rel)
			require.NoError(t, err)
			got, err := doublestar.Match(globs[0], root+"/"+rel)
			require.NoError(t, err)
			require.Equal(t, want, got, "%s on %s", pattern, rel)
		}
		whole, err := doublestar.Match(globs[0], root)
		require.NoError(t, err)
		require.False(t, whole, "%s takes the path itself away", globs[0])
	}
	require.Empty(t, State{Paths: []string{root}}.Globs())
}
