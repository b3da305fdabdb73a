package command

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRunQuotesOutputOfAFailure(t *testing.T) {
	_, err := Run(context.Background(), Spec{Argv: []string{"sh", "-c", "echo no such key >&2; exit 3"}})
	require.ErrorContains(t, err, "exit status 3")
	require.ErrorContains(t, err, `"no such key"`)
}

func TestRunBoundsOutput(t *testing.T) {
	out, err := Run(context.Background(), Spec{Argv: []string{"sh", "-c", "yes | head -c 1000000; echo end"}})
	require.NoError(t, err)
	require.Less(t, len(out), outputLimit+10)
	require.True(t, strings.HasSuffix(out, "end\n"))
}

func TestRunKillsTheWholeGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	_, err := Run(context.Background(), Spec{
		Argv:    []string{"sh", "-c", "sleep 600 & echo $! > " + file + "; wait"},
		Timeout: 300 * time.Millisecond,
	})
	require.ErrorContains(t, err, "killed after 300ms")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	}, 5*time.Second, 5*time.Millisecond, "the grandchild survived")
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func TestRunHidesTheAgentsSecrets(t *testing.T) {
	t.Setenv("TEMPORAL_API_KEY", "hush")
	out, err := Run(context.Background(), Spec{Argv: []string{"env"}, Env: map[string]string{"MODE": "a b"}})
	require.NoError(t, err)
	require.NotContains(t, out, "hush")
	require.Contains(t, out, "MODE=a b\n")
}

func TestLine(t *testing.T) {
	require.Equal(t, `sh -c "echo hi" ""`, Line([]string{"sh", "-c", "echo hi", ""}))
}
