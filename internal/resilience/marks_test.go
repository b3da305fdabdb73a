package resilience

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHooksShedOnAFullDiskAreTakenBackByTheNextAgent: nothing could be recorded when the agent was killed.
func TestHooksShedOnAFullDiskAreTakenBackByTheNextAgent(t *testing.T) {
	b := newBench(t, threeHooks)
	b.steps(1, 0)
	b.ledger.set("full")
	b.steps(2, 90)
	require.Equal(t, []string{"shed batch", "shed reports", "shed uploads"}, b.world.taken())
	b.restart() // it was killed, and there is room again
	b.set(0)
	require.True(t, b.hook("batch").On)
	b.steps(3, 0)
	require.Equal(t, []string{"restore uploads", "restore reports", "restore batch"}, b.world.taken())
	require.False(t, b.hook("batch").On)
	b.restart()
	b.steps(3, 0)
	require.Empty(t, b.world.taken(), "it was taken back once")
	mark, err := os.ReadFile(filepath.Join(b.dir, "shed", "batch", markName))
	require.NoError(t, err)
	require.Equal(t, "0", string(mark))
}

// TestLoadIsShedAgainAfterAReboot: what was stopped runs again then.
func TestLoadIsShedAgainAfterAReboot(t *testing.T) {
	b := newBench(t, threeHooks)
	b.steps(2, 90)
	b.world.taken()
	b.restart()
	b.steps(2, 90)
	require.Empty(t, b.world.taken(), "the agent alone was restarted")
	b.boot = "the next"
	b.restart()
	b.steps(2, 90)
	require.Equal(t, []string{"shed batch", "shed reports", "shed uploads"}, b.world.taken())
	b.steps(40, 0)
	require.Equal(t, []string{"restore uploads", "restore reports", "restore batch"}, b.world.taken())
}
