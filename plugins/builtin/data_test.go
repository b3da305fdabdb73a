package builtin

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/plugins/sdk"
)

func openStore(t *testing.T) (*checkpoint.Store, string) {
	t.Helper()
	root := t.TempDir()
	s, err := checkpoint.Open(checkpoint.Options{Var: root})
	require.NoError(t, err)
	return s, root
}

func take(t *testing.T, s *checkpoint.Store, key string, kind checkpoint.Kind, state config.State) checkpoint.Checkpoint {
	t.Helper()
	c, err := s.Take(context.Background(), checkpoint.Order{Key: key, Component: "redis", Kind: kind, State: state})
	require.NoError(t, err)
	return c
}

// TestDataRestoresRedis: an append-only file is corrupted so that Redis does not start any more.
func TestDataRestoresRedis(t *testing.T) {
	redis := testenv.Redis(t)
	store, _ := openStore(t)
	for i := range 200 {
		redis.Do(t, "SET", fmt.Sprint("key", i), fmt.Sprint("value", i))
	}
	state := config.State{Paths: []string{redis.Dir + "/appendonlydir"}}
	healthy := take(t, store, "h", checkpoint.KindHealthy, state)
	redis.Kill(t)
	files, err := filepath.Glob(redis.Dir + "/appendonlydir/*.incr.aof")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	text, err := os.ReadFile(files[0])
	require.NoError(t, err)
	copy(text[len(text)/2:], "\x00\x00garbage\x00\x00")
	require.NoError(t, os.WriteFile(files[0], text, 0o600))
	fault := take(t, store, "f", checkpoint.KindFault, state)

	d := &Data{host: newHost(nil), store: store}
	req := sdk.Request{
		Key: "k", Component: "redis", WorkDir: t.TempDir(), HealthyID: healthy.ID, CheckpointID: fault.ID,
		Options: jsonOf(t, map[string]any{"start": redis.Argv, "pid_file": redis.PIDFile}),
	}
	plan := req
	plan.Plan = true
	res, err := d.Recover(ctx(t), plan)
	require.NoError(t, err)
	require.Contains(t, res.Summary, "1 changed")
	_, err = d.Recover(ctx(t), req)
	require.NoError(t, err)
	require.NoError(t, redis.Ready(nil))
	for i := range 200 {
		require.Equal(t, fmt.Sprint("value", i), redis.Do(t, "GET", fmt.Sprint("key", i)))
	}
	done, err := d.Done(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	require.True(t, done)
}

func TestDataUndoPutsTheFaultBack(t *testing.T) {
	f := newFixture(t)
	store, _ := openStore(t)
	write := func(text string) { require.NoError(t, os.WriteFile(f.dir+"/db", []byte(text), 0o600)) }
	state := config.State{Paths: []string{f.dir + "/db"}}
	write("good")
	healthy := take(t, store, "h", checkpoint.KindHealthy, state)
	f.startByHand()
	write("bad")
	fault := take(t, store, "f", checkpoint.KindFault, state)
	d := &Data{host: newHost(nil), store: store}
	req := f.request(nil)
	req.HealthyID, req.CheckpointID = healthy.ID, fault.ID
	res, err := d.Recover(ctx(t), req)
	require.NoError(t, err)
	f.up(2)
	require.Equal(t, "good", f.read("db"))
	require.Empty(t, f.read("double"))
	require.Contains(t, strings.Join(res.Changes, "\n"), "restored "+f.dir+"/db")
	again, err := d.Recover(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, "already restored and started", again.Summary)

	undo := f.request(nil)
	undo.HealthyID, undo.CheckpointID = healthy.ID, fault.ID
	_, err = d.Undo(ctx(t), undo)
	require.NoError(t, err)
	f.up(3)
	require.Equal(t, "bad", f.read("db"))

	none := f.request(nil)
	_, err = d.Recover(ctx(t), none)
	require.ErrorContains(t, err, "no healthy checkpoint")
}

func TestDataLeavesTheServiceAloneWhenTheCheckpointIsDamaged(t *testing.T) {
	f := newFixture(t)
	store, root := openStore(t)
	require.NoError(t, os.WriteFile(f.dir+"/db", []byte("good"), 0o600))
	healthy := take(t, store, "h", checkpoint.KindHealthy, config.State{Paths: []string{f.dir + "/db"}})
	pid := f.startByHand()
	packs, err := filepath.Glob(checkpoint.Dir(root) + "/packs/*/*.pack")
	require.NoError(t, err)
	require.Len(t, packs, 1)
	pack, err := os.ReadFile(packs[0])
	require.NoError(t, err)
	pack[9] ^= 1 // in the first block
	require.NoError(t, os.WriteFile(packs[0], pack, 0o600))
	d := &Data{host: newHost(nil), store: store}
	req := f.request(nil)
	req.HealthyID = healthy.ID
	_, err = d.Recover(ctx(t), req)
	require.ErrorIs(t, err, checkpoint.ErrDamaged)
	require.Equal(t, []int{pid}, f.alive(), "the service was stopped for nothing")
	require.Equal(t, "good", f.read("db"))
}

func TestDataResumesAfterAgentCrashes(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	f := newFixture(t)
	store, root := openStore(t)
	for i := range 40 {
		require.NoError(t, os.MkdirAll(f.dir+"/db", 0o755))
		require.NoError(t, os.WriteFile(fmt.Sprintf("%s/db/%d", f.dir, i), []byte("good"), 0o600))
	}
	healthy := take(t, store, "h", checkpoint.KindHealthy, config.State{Paths: []string{f.dir + "/db"}})
	f.startByHand()
	d := &Data{host: newHost(nil), store: store}
	span := time.Minute // of the first run, which is left alone
	for i := range 9 {
		require.NoError(t, os.WriteFile(f.dir+"/db/7", []byte("bad"), 0o600))
		req := f.request(map[string]any{"start_grace": "10ms"})
		req.HealthyID, req.CheckpointID = healthy.ID, healthy.ID
		starts := f.starts()
		cmd := exec.Command(os.Args[0], "agent", string(jsonOf(t, map[string]any{"Plugin": "data", "Store": root, "Request": req})))
		began, delay := time.Now(), span
		if i > 0 {
			delay = span/4 + time.Duration(r.Int64N(int64(span)*3/4))
		}
		require.NoError(t, cmd.Start())
		timer := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		if i == 0 {
			span = time.Since(began)
		}
		_, err := d.Recover(ctx(t), req)
		require.NoError(t, err)
		f.up(starts + 1)
		require.Equal(t, starts+1, f.starts())
		require.Equal(t, "good", f.read("db/7"))
		require.Empty(t, f.read("double"))
	}
}

func TestDataWithoutAServiceLimitedToPaths(t *testing.T) {
	store, _ := openStore(t)
	dir := t.TempDir()
	for _, n := range []string{"a", "b"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), []byte("good"), 0o600))
	}
	healthy := take(t, store, "h", checkpoint.KindHealthy, config.State{Paths: []string{dir}})
	for _, n := range []string{"a", "b"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), []byte("bad"), 0o600))
	}
	d := &Data{host: newHost(nil), store: store}
	req := sdk.Request{Key: "k", Component: "redis", WorkDir: t.TempDir(), HealthyID: healthy.ID, Options: jsonOf(t, map[string]any{"paths": []string{dir + "/a"}})}
	res, err := d.Recover(ctx(t), req)
	require.NoError(t, err)
	require.Contains(t, strings.Join(res.Changes, "\n"), "kept the state of before in")
	for n, want := range map[string]string{"a": "good", "b": "bad"} {
		got, err := os.ReadFile(filepath.Join(dir, n))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	done, err := d.Done(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	require.True(t, done)
}

// TestWhatNeedsACheckpointSaysWhyItHasNone: a store that cannot be read is not one without a checkpoint.
func TestWhatNeedsACheckpointSaysWhyItHasNone(t *testing.T) {
	store, root := openStore(t)
	file := filepath.Join(t.TempDir(), "conf")
	require.NoError(t, os.WriteFile(file, []byte("good"), 0o600))
	take(t, store, "h", checkpoint.KindHealthy, config.State{Paths: []string{file}})
	require.NoError(t, os.WriteFile(filepath.Join(checkpoint.Dir(root), "golden.json"), []byte("{}\n"), 0o600))
	_, _, damaged := store.Latest(t.Context(), "redis", checkpoint.KindHealthy)
	require.ErrorIs(t, damaged, checkpoint.ErrDamaged)

	req := sdk.Request{Key: "k", Component: "redis", WorkDir: t.TempDir(), HealthyErr: damaged, CheckpointErr: damaged}
	d, s := &Data{host: newHost(nil), store: store}, &State{store: store}
	_, err := d.Recover(ctx(t), req)
	require.ErrorIs(t, err, checkpoint.ErrDamaged)
	require.ErrorContains(t, err, "the last healthy checkpoint of redis cannot be read")
	_, err = d.Undo(ctx(t), req)
	require.ErrorIs(t, err, checkpoint.ErrDamaged)
	req.Options = jsonOf(t, map[string]any{"replace": []map[string]any{{"file": file, "from_checkpoint": true}}})
	_, err = s.Recover(ctx(t), req)
	require.ErrorIs(t, err, checkpoint.ErrDamaged)
	_, err = s.Undo(ctx(t), req)
	require.ErrorIs(t, err, checkpoint.ErrDamaged)
	require.ErrorContains(t, err, "the checkpoint of the state before the recovery of redis cannot be read")
}
