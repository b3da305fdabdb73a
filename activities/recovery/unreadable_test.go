package recovery_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/plugins/sdk"
)

// spoil changes a byte of a file in the store of the checkpoints.
func (b bench) spoil(t *testing.T, name string) {
	t.Helper()
	path := filepath.Join(checkpoint.Dir(b.Config.Paths.Var), name)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	text[10] ^= 1
	require.NoError(t, os.WriteFile(path, text, 0o600))
}

// TestAHealGoesOnWithoutItsCheckpoints: steps that need none are done, and a strategy that does says why it is not.
func TestAHealGoesOnWithoutItsCheckpoints(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, b bench, fault string){
		"the store":      func(t *testing.T, b bench, _ string) { b.spoil(t, "golden.json") },
		"the checkpoint": func(t *testing.T, b bench, fault string) { b.spoil(t, "goldens/"+fault+".golden") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, &counter{})
			b.Config.Components[0].Isolate = config.Use{Plugin: "counter", Timeout: time.Minute}
			cp, err := do(t, b.Checkpoint, activities.CheckpointInput{StepInput: step})
			require.NoError(t, err)
			spoil(t, b, cp.ID)
			about := able(sdk.StepIsolate, sdk.StepRecover, sdk.StepUndo, sdk.StepReintegrate, sdk.StepValidate)
			var did []sdk.Step
			run := func(_ context.Context, s sdk.Step, req sdk.Request) (sdk.Reply, error) {
				did = append(did, s)
				require.Empty(t, req.CheckpointID)
				require.ErrorIs(t, req.CheckpointErr, checkpoint.ErrDamaged)
				return sdk.Reply{}, nil
			}
			b.Plugins = scripted{about, run}
			in := step
			in.CheckpointID = cp.ID
			for _, act := range []func(context.Context, activities.StepInput) (activities.StepResult, error){b.Isolate, b.Recover, b.Undo, b.Reintegrate} {
				_, err := do(t, act, in)
				require.NoError(t, err)
			}
			judge := validateInput(0, 0)
			judge.CheckpointID = cp.ID
			v, err := do(t, b.Validate, judge)
			require.NoError(t, err)
			require.True(t, v.Fit, v.Reasons)
			require.Len(t, v.Changes, 1)
			require.Contains(t, v.Changes[0], "not compared with checkpoint "+cp.ID)
			require.Equal(t, []sdk.Step{sdk.StepIsolate, sdk.StepRecover, sdk.StepUndo, sdk.StepReintegrate, sdk.StepValidate}, did)

			about.Destructive = true
			b.Plugins = scripted{about, run}
			in.Attempt++
			_, err = do(t, b.Recover, in)
			require.Equal(t, activities.ErrPlugin, errorType(err))
			require.ErrorContains(t, err, "the checkpoint to go back to cannot be read")
			require.Len(t, did, 5)
		})
	}
}

// smallDisk is a bench whose checkpoints are on a disk of 94 MB, of which 64 MB are to stay free.
func smallDisk(t *testing.T) (bench, string) {
	t.Helper()
	b := newBench(t, &counter{})
	disk := t.TempDir() + "/disk"
	testenv.Tmpfs(t, disk, "size=94m")
	var err error
	b.Checkpoints, err = checkpoint.Open(checkpoint.Options{Var: disk})
	require.NoError(t, err)
	return b, disk
}

func TestAFullDiskMakesRoomForACheckpoint(t *testing.T) {
	b, _ := smallDisk(t)
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 12<<20)
	var ids []string
	for i := range 4 {
		for k := range data {
			data[k] = byte(r.Uint32())
		}
		require.NoError(t, os.WriteFile(filepath.Join(b.data, "keys"), data, 0o600))
		in := step
		in.Run = fmt.Sprint("r", i)
		got, err := do(t, b.Checkpoint, activities.CheckpointInput{StepInput: in})
		require.NoError(t, err)
		ids = append(ids, got.ID)
	}
	all, err := b.Checkpoints.List(t.Context(), "demo")
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, ids[2], all[0].ID)
	require.Equal(t, ids[3], all[1].ID)

	// What never fits fails, and costs none of those that are left but the one whose place it was to take.
	require.NoError(t, os.WriteFile(filepath.Join(b.data, "more"), append(data, data...), 0o600))
	for k := range data {
		data[k] = byte(r.Uint32())
	}
	for i := range 4 {
		require.NoError(t, os.WriteFile(fmt.Sprint(b.data, "/", i), append(data[i:], data[:i]...), 0o600))
	}
	for i := range 3 {
		in := step
		in.Run = fmt.Sprint("never", i)
		_, err = do(t, b.Checkpoint, activities.CheckpointInput{StepInput: in})
		require.ErrorContains(t, err, unix.ENOSPC.Error())
		require.ErrorContains(t, err, "state.keep")
	}
	all, err = b.Checkpoints.List(t.Context(), "demo")
	require.NoError(t, err)
	require.Len(t, all, 1)
}

// TestRoomIsMadeOfWhatNobodyNeeds, though no checkpoint is old enough to go.
func TestRoomIsMadeOfWhatNobodyNeeds(t *testing.T) {
	b, disk := smallDisk(t)
	first, err := do(t, b.Checkpoint, activities.CheckpointInput{StepInput: step})
	require.NoError(t, err)
	junk := filepath.Join(checkpoint.Dir(disk), "packs", "00", fmt.Sprintf("%064d.pack", 0))
	require.NoError(t, os.MkdirAll(filepath.Dir(junk), 0o700))
	require.NoError(t, os.WriteFile(junk, make([]byte, 20<<20), 0o600))
	data := make([]byte, 15<<20)
	for k := range data {
		data[k] = byte(rand.Uint32())
	}
	require.NoError(t, os.WriteFile(filepath.Join(b.data, "keys"), data, 0o600))
	in := step
	in.Run = "r2"
	second, err := do(t, b.Checkpoint, activities.CheckpointInput{StepInput: in})
	require.NoError(t, err)
	require.NoFileExists(t, junk)
	all, err := b.Checkpoints.List(t.Context(), "demo")
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, []string{first.ID, second.ID}, []string{all[0].ID, all[1].ID})
}

func TestACheckpointThatIsNotInTheLedgerIsThere(t *testing.T) {
	b := newBench(t, &counter{})
	closed, err := ledger.Open(filepath.Join(t.TempDir(), "ledger.ndjson"), ledger.Options{})
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	b.Ledger = closed
	for i := range 3 {
		in := step
		in.Run = fmt.Sprint("r", i)
		got, err := do(t, b.Checkpoint, activities.CheckpointInput{StepInput: in})
		require.NoError(t, err)
		require.NotEmpty(t, got.ID)
	}
	all, err := b.Checkpoints.List(t.Context(), "demo")
	require.NoError(t, err)
	require.Len(t, all, 2, "old ones are removed all the same")
}

// TestAFolderThatTakesTooLongIsTriedOnceInAStep: mark and recover share the step's time.
func TestAFolderThatTakesTooLongIsTriedOnceInAStep(t *testing.T) {
	b := newBench(t, &counter{})
	b.Config.Components[0].Ladder[0].Timeout = 4 * time.Second
	cp, err := do(t, b.Checkpoint, activities.CheckpointInput{StepInput: step})
	require.NoError(t, err)
	// Somebody restores the component all the time.
	lock, err := os.OpenFile(filepath.Join(b.Config.Paths.Var, "checkpoints/locks/restore-demo"), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer func() { _ = lock.Close() }()
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	var took []time.Duration
	b.Plugins = scripted{able(sdk.StepMark, sdk.StepRecover), func(ctx context.Context, _ sdk.Step, req sdk.Request) (sdk.Reply, error) {
		began := time.Now()
		req = req.Folders(ctx)
		took = append(took, time.Since(began))
		if req.CheckpointDir != "" || ctx.Err() != nil {
			return sdk.Reply{}, errors.New("there is a folder, or no time left")
		}
		return sdk.Reply{}, nil
	}}
	in := step
	in.CheckpointID = cp.ID
	_, err = do(t, b.Recover, in)
	require.NoError(t, err)
	require.Len(t, took, 2)
	require.Greater(t, took[0], 300*time.Millisecond)
	require.Less(t, took[0], 2*time.Second)
	require.Less(t, took[1], 200*time.Millisecond)
}

// TestAFolderThatTakesTooLongIsTriedOnceInARun, unless a step has more time for it.
func TestAFolderThatTakesTooLongIsTriedOnceInARun(t *testing.T) {
	b := newBench(t, &counter{})
	ladder := &b.Config.Components[0].Ladder
	(*ladder)[0].Timeout = 4 * time.Second
	*ladder = append(*ladder, config.Strategy{Name: "longer", Use: config.Use{Plugin: "counter", Timeout: 6 * time.Second}, Attempts: 1})
	cp, err := do(t, b.Checkpoint, activities.CheckpointInput{StepInput: step})
	require.NoError(t, err)
	lock, err := os.OpenFile(filepath.Join(b.Config.Paths.Var, "checkpoints/locks/restore-demo"), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer func() { _ = lock.Close() }()
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	var tried bool
	var said string
	b.Plugins = scripted{able(sdk.StepRecover, sdk.StepUndo), func(ctx context.Context, _ sdk.Step, req sdk.Request) (sdk.Reply, error) {
		began := time.Now()
		req = req.WithProgress(func(s string) { said = s }).Folders(ctx)
		tried = time.Since(began) > 400*time.Millisecond
		require.Empty(t, req.CheckpointDir)
		return sdk.Reply{}, nil
	}}
	in := step
	in.CheckpointID = cp.ID
	for _, c := range []struct {
		act           func(context.Context, activities.StepInput) (activities.StepResult, error)
		run, strategy string
		tried         bool
	}{
		{b.Recover, "r1", "restart", true}, {b.Undo, "r1", "restart", false},
		{b.Recover, "r1", "longer", true}, {b.Undo, "r1", "longer", false},
		{b.Recover, "r2", "restart", true}, {b.Undo, "r2", "restart", false},
	} {
		in.Run, in.Strategy = c.run, c.strategy
		_, err = do(t, c.act, in)
		require.NoError(t, err)
		require.Equal(t, c.tried, tried, "%+v", c)
		if !c.tried {
			require.Contains(t, said, "earlier in this run")
		}
	}
}
