package ledger

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadKeyBesideAWriter reads the key while a writer replaces and wipes it without a pause.
func TestReadKeyBesideAWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.key")
	k := newKeyState("l")
	require.NoError(t, writeKey(path, k))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if k = k.evolved(); writeKey(path, k) != nil {
				t.Error("the key could not be replaced")
				return
			}
		}
	}()
	for range 20_000 {
		_, err := readKey(path)
		require.NoError(t, err)
	}
	stop()
	<-done
}

func TestReadKeyOfNoUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.key")
	_, err := readKey(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, content := range []string{"", "\x00\x00\x00", `{"seed":"AA=="}`} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := readKey(path)
		require.ErrorIs(t, err, errBadKey)
	}
}
