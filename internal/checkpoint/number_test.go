package checkpoint

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/store"
)

// TestALostKeyDoesNotMakeOldCheckpointsNew: once it is trusted again, what was taken since is still the newest.
func TestALostKeyDoesNotMakeOldCheckpointsNew(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	state := config.State{Paths: []string{dir}}
	for _, key := range []string{"1", "2", "3"} {
		write(t, dir+"/a", key)
		take(t, s, key, state)
	}
	g, err := s.open(ctx)
	require.NoError(t, err)
	all, err := g.List(ctx, "redis.healthy")
	g.Close()
	require.NoError(t, err)
	old := base64.StdEncoding.EncodeToString(all[0].Signer)
	require.NoError(t, os.RemoveAll(s.keys))
	since := take(t, s, "4", state)
	require.Equal(t, 4, since.number)
	fault, err := s.Take(ctx, Order{Key: "f", Component: "redis", Kind: KindFault, State: state})
	require.NoError(t, err)
	require.Equal(t, 1, fault.number, "the kinds are counted each by itself")

	s, err = Open(Options{Var: filepath.Dir(s.home), Trusted: []string{old}})
	require.NoError(t, err)
	latest, ok, err := s.Latest(ctx, "redis", KindHealthy)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, since.ID, latest.ID)
}

func TestANameThatNobodyCountsToIsNoNumber(t *testing.T) {
	bad := []store.Info{{Set: "redis.healthy"}, {Set: "redis.healthy"}, {Set: "redis.fault"}}
	bad[0].Header.Name, bad[1].Header.Name, bad[2].Header.Name = "9223372036854775807", "x", "000007"
	require.Equal(t, "000001", nextNumber(nil, bad, "redis.healthy"))
	require.Equal(t, "000008", nextNumber(nil, bad, "redis.fault"))
}
