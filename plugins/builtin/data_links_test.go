package builtin

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

func put(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(path[:strings.LastIndexByte(path, '/')], 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func fileText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// releases makes an application whose folder current leads to one of its releases, and a checkpoint of both.
func releases(t *testing.T, store *checkpoint.Store, dir string) checkpoint.Checkpoint {
	t.Helper()
	put(t, dir+"/releases/42/data", "good")
	require.NoError(t, os.Symlink("releases/42", dir+"/current"))
	return take(t, store, "h", checkpoint.KindHealthy, config.State{Paths: []string{dir + "/current", dir + "/releases"}})
}

func TestDataRestoresAPathThatLeadsIntoAnother(t *testing.T) {
	store, _ := openStore(t)
	dir := t.TempDir()
	healthy := releases(t, store, dir)
	put(t, dir+"/current/data", "bad")
	d := &Data{host: newHost(nil), store: store}
	req := sdk.Request{Key: "k", Component: "app", WorkDir: t.TempDir(), HealthyID: healthy.ID, Options: jsonOf(t, map[string]any{"paths": []string{dir + "/current"}})}
	done, err := d.Done(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	require.False(t, done)
	plan := req
	plan.Plan = true
	res, err := d.Recover(ctx(t), plan)
	require.NoError(t, err)
	require.Contains(t, res.Summary, "1 shrunk")
	res, err = d.Recover(ctx(t), req)
	require.NoError(t, err)
	require.Contains(t, res.Changes, "restored "+dir+"/releases/42")
	require.Equal(t, "good", fileText(t, dir+"/releases/42/data"))
	done, err = d.Done(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	require.True(t, done)

	req.Options = jsonOf(t, map[string]any{"paths": []string{dir + "/other"}})
	_, err = d.Recover(ctx(t), req)
	require.ErrorContains(t, err, dir+"/other is not part of the checkpoint")
	done, err = d.Done(ctx(t), sdk.StepRecover, req)
	require.Error(t, err)
	require.False(t, done)
}

func TestDataStopsTheServiceForAPathThatLeadsIntoAnother(t *testing.T) {
	f := newFixture(t)
	store, _ := openStore(t)
	healthy := releases(t, store, f.dir)
	f.startByHand()
	put(t, f.dir+"/current/data", "bad")
	req := f.request(map[string]any{"paths": []string{f.dir + "/current"}})
	req.HealthyID = healthy.ID
	_, err := (&Data{host: newHost(nil), store: store}).Recover(ctx(t), req)
	require.NoError(t, err)
	f.up(2)
	require.Equal(t, "good", f.read("releases/42/data"))
}

func TestStateReplacesAFileOfAPathThatLeadsIntoAnother(t *testing.T) {
	store, _ := openStore(t)
	dir := t.TempDir()
	healthy := releases(t, store, dir)
	put(t, dir+"/current/data", "bad")
	req := sdk.Request{Key: "k", Component: "app", HealthyID: healthy.ID, Options: jsonOf(t, map[string]any{
		"replace": []map[string]any{{"file": dir + "/current/data", "from_checkpoint": true}},
	})}
	_, err := (&State{store: store}).Recover(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, "good", fileText(t, dir+"/releases/42/data"))
}

// TestDataRefusesBeforeTheServiceIsStopped: what cannot be restored is no reason to stop what runs.
func TestDataRefusesBeforeTheServiceIsStopped(t *testing.T) {
	f := newFixture(t)
	store, _ := openStore(t)
	put(t, f.dir+"/mnt/db/data", "good")
	require.NoError(t, os.Symlink("mnt/db", f.dir+"/db"))
	healthy := take(t, store, "h", checkpoint.KindHealthy, config.State{Paths: []string{f.dir + "/db"}})
	require.NoError(t, os.RemoveAll(f.dir+"/mnt"))
	pid := f.startByHand()
	d := &Data{host: newHost(nil), store: store}
	for name, options := range map[string]map[string]any{"which is not there": nil, "is not part of the checkpoint": {"paths": []string{"/etc"}}} {
		for _, plan := range []bool{true, false} {
			req := f.request(options)
			req.HealthyID, req.Plan = healthy.ID, plan
			_, err := d.Recover(ctx(t), req)
			require.ErrorContains(t, err, name)
			var fail *sdk.Fail
			require.ErrorAs(t, err, &fail)
			require.NotEmpty(t, fail.Hint)
			require.Equal(t, []int{pid}, f.alive(), "the service was stopped for nothing")
		}
	}
}

// TestUndoSaysWhatItsCheckpointLacks: what could not be read when it was taken is not put back, and not hidden.
func TestUndoSaysWhatItsCheckpointLacks(t *testing.T) {
	store, _ := openStore(t)
	dir := t.TempDir()
	state := config.State{Paths: []string{dir + "/conf", dir + "/db"}}
	put(t, dir+"/conf", "good")
	put(t, dir+"/mnt/db", "good")
	require.NoError(t, os.Symlink("mnt/db", dir+"/db"))
	healthy := take(t, store, "h", checkpoint.KindHealthy, state)
	require.NoError(t, os.Rename(dir+"/mnt", dir+"/away"))
	put(t, dir+"/conf", "bad")
	fault := take(t, store, "f", checkpoint.KindFault, state)
	require.NoError(t, os.Rename(dir+"/away", dir+"/mnt"))
	put(t, dir+"/mnt/db", "bad")
	d := &Data{host: newHost(nil), store: store}
	req := sdk.Request{Key: "k", Component: "redis", WorkDir: t.TempDir(), HealthyID: healthy.ID}
	_, err := d.Recover(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, "good", fileText(t, dir+"/db"))

	req.CheckpointID = fault.ID
	res, err := d.Undo(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, "bad", fileText(t, dir+"/conf"))
	require.Equal(t, "good", fileText(t, dir+"/db"))
	require.Contains(t, res.Changes, "left as it is, as the checkpoint does not have it: "+dir+"/db")
	text := strings.Join(res.Changes, "\n")
	require.Contains(t, text, "note: not in the checkpoint")
	require.Contains(t, text, "is kept as "+dir+"/mnt/.shivx-kept-")
	require.NotContains(t, text, "already as in the checkpoint: "+dir+"/db")
	again, err := d.Undo(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, "already as in checkpoint "+fault.ID+", as far as that has it", again.Summary)
	require.Contains(t, strings.Join(again.Changes, "\n"), "note: not in the checkpoint")

	req.Options = jsonOf(t, map[string]any{"steps": [][]string{{"true"}}})
	for _, plan := range []bool{true, false} {
		req.Plan = plan
		res, err = (&State{store: store}).Undo(ctx(t), req)
		require.NoError(t, err)
		require.Contains(t, strings.Join(res.Changes, "\n"), "note: not in the checkpoint")
	}
}
