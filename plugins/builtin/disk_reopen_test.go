package builtin

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDiskReopensAfterAKill: a step was killed when it had renamed a log, and the service still writes to that.
func TestDiskReopensAfterAKill(t *testing.T) {
	b := newBin(t)
	writer, err := os.Create(b.dir + "/app.log-20260101T000000Z")
	require.NoError(t, err)
	defer writer.Close()
	_, err = b.do(b.logs(map[string]any{"reopen": []string{"touch", b.dir + "/app.log"}}))
	require.NoError(t, err)
	require.FileExists(t, b.dir+"/app.log", "the service was not told to open a new log")
}
