package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/restore"
)

// job is what a child process is told to do before it is killed.
type job struct {
	Var, Do, Key, ID string
	Keep             bool
	State            config.State
}

func TestMain(m *testing.M) {
	if text := os.Getenv("CHECKPOINT_TEST_JOB"); text != "" {
		var j job
		if err := json.Unmarshal([]byte(text), &j); err != nil {
			panic(err)
		}
		if err := j.run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func (j job) run() error {
	s, err := Open(Options{Var: j.Var})
	if err != nil {
		return err
	}
	switch j.Do {
	case "take":
		_, err = s.Take(context.Background(), Order{Key: j.Key, Component: "redis", Kind: KindHealthy, State: j.State})
		return err
	case "folder":
		_, err = s.Folder(context.Background(), j.ID)
		return err
	}
	c, err := s.Get(context.Background(), j.ID)
	if err != nil {
		return err
	}
	var opts []RestoreOption
	if j.Keep {
		opts = append(opts, KeepOld())
	}
	_, err = s.Restore(context.Background(), c, nil, opts...)
	return err
}

// killAfter runs the job in a child and kills it after a delay; it says whether the child was cut off.
func killAfter(t *testing.T, j job, delay time.Duration) bool {
	t.Helper()
	text, err := json.Marshal(j)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CHECKPOINT_TEST_JOB="+string(text))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	timer := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	if cut := !timer.Stop(); cut || err == nil {
		return cut
	}
	t.Fatalf("child: %v: %s", err, stderr.String())
	return false
}

// span measures how long the job takes undisturbed.
func span(t *testing.T, j job) time.Duration {
	t.Helper()
	start := time.Now()
	require.False(t, killAfter(t, j, time.Minute))
	return time.Since(start)
}

func TestKillDuringTake(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s, dir := newStore(t), t.TempDir()
	grow(t, r, dir+"/tree", 3)
	state := config.State{Paths: []string{dir + "/tree"}}
	whole := span(t, job{Var: filepath.Dir(s.home), Do: "take", Key: "first", State: state})
	cuts := 0
	for i := range 25 {
		key := fmt.Sprint(i)
		if killAfter(t, job{Var: filepath.Dir(s.home), Do: "take", Key: key, State: state}, time.Duration(r.Int64N(int64(whole)))) {
			cuts++
		}
		list, err := s.List(context.Background(), "redis")
		require.NoError(t, err, "a checkpoint is half there")
		for _, c := range list[max(0, len(list)-1):] {
			require.NoError(t, s.Verify(context.Background(), c))
		}
		c := take(t, s, key, state)
		again := take(t, s, key, state)
		require.Equal(t, c.ID, again.ID)
		require.NoError(t, s.Verify(context.Background(), c))
		_, err = s.Prune(context.Background(), "redis", KindHealthy, 1)
		require.NoError(t, err)
		left, err := s.List(context.Background(), "redis")
		require.NoError(t, err)
		require.Len(t, left, 1)
		unfinished, err := os.ReadDir(filepath.Join(s.home, storeDir, "tmp"))
		require.NoError(t, err)
		require.Empty(t, unfinished, "a crash left something behind")
	}
	require.Positive(t, cuts, "no child was killed in time")
}

func TestKillDuringRestore(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("keep=%v", keep), func(t *testing.T) { killDuringRestore(t, keep) })
	}
}

func killDuringRestore(t *testing.T, keep bool) {
	r := rand.New(rand.NewPCG(3, 4))
	s, dir := newStore(t), t.TempDir()
	paths := []string{dir + "/a", dir + "/b", dir + "/c"}
	for _, p := range paths {
		grow(t, r, p, 1)
	}
	good := pictures(t, paths)
	c := take(t, s, "k", config.State{Paths: paths})
	spoilAll := func() map[string]map[string]string {
		for _, p := range paths {
			write(t, p+"/spoilt", fmt.Sprint(r.Uint64()))
		}
		return pictures(t, paths)
	}
	spoilAll()
	j := job{Var: filepath.Dir(s.home), Do: "restore", ID: c.ID, Keep: keep}
	whole := span(t, j)
	cuts, mixed := 0, 0
	for range 15 {
		bad := spoilAll()
		if !killAfter(t, j, time.Duration(r.Int64N(int64(whole)))) {
			continue
		}
		cuts++
		restored := 0
		for _, p := range paths {
			now := picture(t, p)
			isGood, isBad := maps.Equal(now, good[p]), maps.Equal(now, bad[p])
			require.True(t, isGood || isBad, "%s is neither old nor new", p)
			if isGood {
				restored++
			}
		}
		if restored > 0 && restored < len(paths) {
			mixed++
		}
		_, err := s.Restore(context.Background(), c, nil)
		require.NoError(t, err)
		require.Equal(t, good, pictures(t, paths))
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			require.False(t, strings.HasPrefix(e.Name(), restore.StagePrefix), "left behind: %s", e.Name())
		}
	}
	t.Logf("killed %d times, %d of them between two swaps", cuts, mixed)
	require.Positive(t, cuts, "no child was killed in time")
}

func pictures(t *testing.T, paths []string) map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, p := range paths {
		all[p] = picture(t, p)
	}
	return all
}
