package restore

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// task is what a child process is told to do before it is killed.
type task struct {
	Golden  string
	Journal string
	InPlace bool
	Apart   bool
	// Protect and Stay are those of the options.
	Protect, Stay []string
	Keep          bool
	// Undo has it undone after the swap.
	Undo bool
	// Resume has it resume what another child left.
	Resume bool
	// KillAt is the number of the step at which it ends itself; 0: never.
	KillAt int64
}

func TestMain(m *testing.M) {
	if text := os.Getenv("RESTORE_TEST_TASK"); text != "" {
		if err := runTask(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if benchTree != nil {
		_ = os.RemoveAll(benchTree.dir)
	}
	os.Exit(code)
}

func runTask(text string) error {
	var k task
	if err := json.Unmarshal([]byte(text), &k); err != nil {
		return err
	}
	g, err := loadGolden(k.Golden)
	if err != nil {
		return err
	}
	var steps atomic.Int64
	step := func(string) {
		if steps.Add(1) == k.KillAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if k.Resume {
		return k.resume(step)
	}
	s, err := Stage(context.Background(), g, Options{
		Journal: k.Journal, InPlace: k.InPlace, Protect: k.Protect, Stay: k.Stay, step: step,
	})
	if err != nil {
		return err
	}
	s.apart = k.Apart
	if _, err := s.Swap(context.Background()); err != nil {
		return err
	}
	if k.Undo {
		err = s.Undo(context.Background())
	} else {
		err = s.Finish(context.Background(), k.Keep)
	}
	fmt.Println(steps.Load())
	return err
}

func (k task) resume(step func(string)) error {
	pending, err := Pending(k.Journal)
	if err != nil || len(pending) == 0 {
		return err
	}
	pending[0].step = step
	s, err := Resume(context.Background(), pending[0])
	if err != nil || s.State() != StateSwapped {
		return err
	}
	if k.Undo {
		return s.Undo(context.Background())
	}
	return s.Finish(context.Background(), k.Keep)
}

type stored struct {
	H       format.Header
	Entries []format.Entry
	Blocks  map[format.Hash][]byte
}

func (m *memory) save(t testing.TB, path string) {
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, gob.NewEncoder(f).Encode(stored{m.h, m.entries, m.blocks}))
	require.NoError(t, f.Close())
}

func loadGolden(path string) (*memory, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var s stored
	if err := gob.NewDecoder(f).Decode(&s); err != nil {
		return nil, err
	}
	for i := range s.Entries {
		// gob does not tell nothing from a list of nothing, which is a file that is one hole.
		if e := &s.Entries[i]; e.Size > 0 && e.Sum == format.Sum(nil) {
			e.Data = []format.Extent{}
		}
	}
	return &memory{h: s.H, entries: s.Entries, blocks: s.Blocks}, nil
}

// child runs a task; it returns what the child wrote, and whether it was killed.
func (k task) child(t testing.TB, after time.Duration) (string, bool) {
	t.Helper()
	text, err := json.Marshal(k)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RESTORE_TEST_TASK="+string(text), "GORACE=atexit_sleep_ms=0")
	var out, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &stderr
	require.NoError(t, cmd.Start())
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err = cmd.Wait()
	if cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
		return "", true
	}
	require.NoError(t, err, stderr.String())
	return strings.TrimSpace(out.String()), false
}

func TestKillAtEveryStep(t *testing.T) {
	for name, k := range map[string]task{
		"whole": {}, "whole kept": {Keep: true}, "whole undone": {Undo: true}, "apart": {Apart: true, Undo: true},
		"in place": {InPlace: true}, "in place undone": {InPlace: true, Undo: true}, "in place apart": {InPlace: true, Apart: true},
		"mounted": {}, "mounted undone": {Undo: true}, "mounted in place": {InPlace: true, Undo: true},
		"own": {}, "own undone": {Undo: true}, "own in place": {InPlace: true, Undo: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, k, strings.HasPrefix(name, "mounted"))
			if strings.HasPrefix(name, "own") {
				s.moveIn(t)
			}
			text, _ := s.task.child(t, killed)
			s.settle(t, rand.New(rand.NewPCG(1, 2)))
			var steps int64
			_, err := fmt.Sscan(text, &steps)
			require.NoError(t, err)
			s.killEach(t, steps)
		})
	}
}

func (s *scene) killEach(t *testing.T, steps int64) {
	r := rand.New(rand.NewPCG(3, 4))
	states := map[State]int{}
	for n := int64(1); n <= steps; n++ {
		s.clearKept(t)
		s.reset(t)
		s.task.KillAt = n
		_, cut := s.task.child(t, killed)
		require.True(t, cut, "step %d of %d was not reached", n, steps)
		if again := s.task; r.IntN(2) == 0 {
			again.Resume, again.KillAt = true, 1+r.Int64N(8)
			again.child(t, killed)
		}
		states[s.settle(t, r)]++
	}
	t.Logf("killed at %d steps: %v", steps, states)
	require.Greater(t, len(states), 2)
	s.task.KillAt = 0
}

func (s *scene) clearKept(t testing.TB) {
	for _, dir := range []string{s.dir + "/live", s.dir + "/live/a", s.dir + "/live/a/sub"} {
		list, err := filepath.Glob(dir + "/" + KeptPrefix + "*")
		require.NoError(t, err)
		for _, p := range list {
			require.NoError(t, os.RemoveAll(p))
		}
	}
}

func TestKillAtRandomMoments(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for name, k := range map[string]task{"whole": {}, "undone": {Undo: true}, "in place": {InPlace: true}} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, k, false)
			start := time.Now()
			_, cut := s.task.child(t, killed)
			require.False(t, cut)
			whole, cuts := time.Since(start), 0
			for range 50 {
				s.reset(t)
				if _, cut := s.task.child(t, time.Duration(r.Int64N(int64(whole)))); cut {
					cuts++
				}
				s.settle(t, r)
			}
			t.Logf("killed %d times", cuts)
			require.Greater(t, cuts, 10)
		})
	}
}
