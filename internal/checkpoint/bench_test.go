package checkpoint

import (
	"context"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

// BenchmarkSmall takes a checkpoint of a component with 20 files of which one has changed, with the pruning that
// follows, and looks for the latest one.
func BenchmarkSmall(b *testing.B) {
	s, dir := newStore(b), b.TempDir()
	for i := range 20 {
		write(b, dir+"/"+strconv.Itoa(i), "state "+strconv.Itoa(i))
	}
	state := config.State{Paths: []string{dir}}
	n := 0
	b.Run("take", func(b *testing.B) {
		for b.Loop() {
			n++
			write(b, dir+"/7", strconv.Itoa(n))
			take(b, s, strconv.Itoa(n), state)
			_, err := s.Prune(context.Background(), "redis", KindHealthy, 3)
			require.NoError(b, err)
		}
	})
	b.Run("latest", func(b *testing.B) {
		for b.Loop() {
			_, _, err := s.Latest(context.Background(), "redis", KindHealthy)
			require.NoError(b, err)
		}
	})
	b.Run("compare", func(b *testing.B) {
		c, _, err := s.Latest(context.Background(), "redis", KindHealthy)
		require.NoError(b, err)
		for b.Loop() {
			_, err := s.Compare(context.Background(), c, state)
			require.NoError(b, err)
		}
	})
}
