package builtin

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

// damageFile changes the first byte that a file holds wherever a pack of the store has it as it is.
func damageFile(t *testing.T, root, content string) {
	t.Helper()
	packs, err := filepath.Glob(checkpoint.Dir(root) + "/packs/*/*.pack")
	require.NoError(t, err)
	found := false
	for _, p := range packs {
		text, err := os.ReadFile(p)
		require.NoError(t, err)
		if at := bytes.Index(text, []byte(content)); at >= 0 {
			found = true
			text[at] ^= 1
			require.NoError(t, os.WriteFile(p, text, 0o600))
		}
	}
	require.True(t, found)
}

func TestDataGoesBackToAnOlderCheckpointThatIsWhole(t *testing.T) {
	store, root := openStore(t)
	file := filepath.Join(t.TempDir(), "db")
	state := config.State{Paths: []string{file}}
	var last checkpoint.Checkpoint
	for _, text := range []string{"oldest", "older one", "newest one"} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		last = take(t, store, text, checkpoint.KindHealthy, state)
	}
	require.NoError(t, os.WriteFile(file, []byte("bad"), 0o600))
	fault := take(t, store, "f", checkpoint.KindFault, state)
	damageFile(t, root, "newest one")
	d := &Data{host: newHost(nil), store: store}
	req := sdk.Request{Key: "k", Component: "redis", WorkDir: t.TempDir(), HealthyID: last.ID, CheckpointID: fault.ID}
	recover := func(want string) sdk.Result {
		res, err := d.Recover(ctx(t), req)
		require.NoError(t, err)
		now, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, want, string(now))
		return res
	}
	res := recover("older one")
	require.Contains(t, res.Changes[0], last.ID+" is damaged")
	recover("older one") // again under the same key
	damageFile(t, root, "older one")
	res = recover("oldest")
	require.Contains(t, res.Changes[1], "is damaged, too")
	damageFile(t, root, "oldest")
	_, err := d.Recover(ctx(t), req)
	require.ErrorIs(t, err, checkpoint.ErrDamaged)

	// Undo goes back to the state of before the recovery, or nowhere.
	req.CheckpointID = last.ID
	_, err = d.Undo(ctx(t), req)
	require.ErrorIs(t, err, checkpoint.ErrDamaged)
}

// TestDataGoesBackWhenAListIsDamaged: then it is not known either whether the restore took place.
func TestDataGoesBackWhenAListIsDamaged(t *testing.T) {
	store, root := openStore(t)
	file := filepath.Join(t.TempDir(), "db")
	state := config.State{Paths: []string{file}}
	var last checkpoint.Checkpoint
	for _, text := range []string{"older", "newest"} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		last = take(t, store, text, checkpoint.KindHealthy, state)
	}
	golden := filepath.Join(checkpoint.Dir(root), "goldens", last.ID+".golden")
	text, err := os.ReadFile(golden)
	require.NoError(t, err)
	text[len(text)-1] ^= 1
	require.NoError(t, os.WriteFile(golden, text, 0o600))
	d := &Data{host: newHost(nil), store: store}
	req := sdk.Request{Key: "k", Component: "redis", WorkDir: t.TempDir(), HealthyID: last.ID}
	_, err = d.Done(ctx(t), sdk.StepRecover, req)
	require.ErrorIs(t, err, sdk.ErrUnknown)
	_, err = d.Recover(ctx(t), req)
	require.NoError(t, err)
	now, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "older", string(now))
}
