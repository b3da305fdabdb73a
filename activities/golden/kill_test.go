package golden_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/restore"
	"github.com/shivx/shivx/internal/ledger"
)

// kills is how often a restore is killed at random.
const kills = 36

func TestMain(m *testing.M) {
	if dir := os.Getenv("GOLDEN_TEST_RESTORE"); dir != "" {
		if err := restoreAsChild(dir, os.Getenv("GOLDEN_TEST_GOLDEN")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// restoreAsChild restores, or resumes where no golden is named, and prints a line for each step that begins.
func restoreAsChild(dir, golden string) error {
	s, err := openStage(dir)
	if err != nil {
		return err
	}
	l := s.local(func(r shivx.GoldenStepReport) {
		if r.Outcome == shivx.StepRunning {
			fmt.Println(r.Name)
		}
	})
	if golden == "" {
		err = l.Resume(context.Background())
	} else {
		_, err = l.Restore(context.Background(), shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: s.target()}, Golden: golden})
	}
	if err != nil {
		return err
	}
	return s.close()
}

// killChild runs a restore in a process of its own, and kills it some time after it has begun the step of
// that number. It returns the step, and "" when the process was done before.
func killChild(t *testing.T, dir, golden string, number int, wait time.Duration) string {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "GOLDEN_TEST_RESTORE="+dir, "GOLDEN_TEST_GOLDEN="+golden)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	step := ""
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		if i == number {
			step = lines.Text()
			time.Sleep(wait) // where in the step is left to chance
			_ = c.Process.Kill()
		}
	}
	_ = c.Wait()
	// A program that it was about to start has its open files, and so its locks, until the exec.
	require.Eventually(t, func() bool { return !ledger.InUse(filepath.Join(dir, "var", config.OperationalLedger)) }, 10*time.Second, time.Millisecond)
	return step
}

// TestKilledAnywhere: whenever a local restore is killed, also while another resumes it, the files are of one
// state afterwards, the service runs with it, and nothing is left lying about.
func TestKilledAnywhere(t *testing.T) {
	s := makeStage(t)
	s.take(t, "good")
	fill(t, s.dir, "dead")
	s.take(t, "dead")
	fill(t, s.dir, "good 2")
	s.stopService(t)
	s.start(t, 2, "good 2")
	require.NoError(t, s.close())
	r := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	seen := map[string]int{}
	for i := range kills {
		golden, number := "good", r.IntN(10)
		if i%3 == 2 { // one that is undone because its service does not start
			golden, number = "dead", 4+r.IntN(7)
		}
		pid := s.pid()
		at := killChild(t, s.dir, golden, number, time.Duration(r.IntN(8000))*time.Microsecond)
		if i%4 == 3 {
			at += "+" + killChild(t, s.dir, "", r.IntN(4), time.Duration(r.IntN(5000))*time.Microsecond)
		}
		seen[at]++
		next, err := openStage(s.dir)
		require.NoError(t, err)
		require.NoError(t, next.local(nil).Resume(t.Context()), "%d: killed at %s", i, at)
		require.NoError(t, next.acts.Engine.EndOthers(t.Context()))
		word := next.word(t)
		require.Contains(t, []string{"good 1", "good 2"}, word, "%d: killed at %s", i, at)
		next.runs(t, word, "%d: killed at %s: the service does not run with what is there; it was %d", i, at, pid)
		require.Empty(t, next.left(t), "%d: killed at %s", i, at)
		require.NoError(t, next.close())
		if word == "good 1" {
			fill(t, s.dir, "good 2")
			s.stopService(t)
			again, err := openStage(s.dir)
			require.NoError(t, err)
			again.start(t, 1000+i, "good 2")
			require.NoError(t, again.close())
		}
		kept, err := filepath.Glob(filepath.Join(s.dir, restore.KeptPrefix+"*"))
		require.NoError(t, err)
		require.Empty(t, kept)
	}
	t.Logf("killed at: %v", seen)
	require.Greater(t, len(seen), 6, "too few places: %v", seen)
}
