package ledger

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/testenv"
)

func TestOpenSaysWhyItFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.ndjson")
	require.NoError(t, os.Mkdir(path+".key", 0o750))
	_, err := Open(path, Options{Logger: slog.New(slog.DiscardHandler)})
	require.ErrorContains(t, err, "audit.ndjson.key")
	require.NoError(t, os.Remove(path+".key"))
	l, err := Open(path, Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err, "the lock was given back")
	require.NoError(t, l.Close())
}

// TestOpenOnAFullDisk: an agent that is restarted when its disk is full must come up.
func TestOpenOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	testenv.Tmpfs(t, dir, "size=1m")
	path := filepath.Join(dir, "audit.ndjson")
	l, err := Open(path, Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	_, err = l.Append(t.Context(), "first", map[string]string{"a": "b"})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"seq":2,"prev":"00`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	err = os.WriteFile(filepath.Join(dir, "fill"), bytes.Repeat([]byte("x"), 2<<20), 0o600)
	require.ErrorIs(t, err, unix.ENOSPC)

	l, err = Open(path, Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	last, _ := l.Last()
	require.Positive(t, last)
	_, found, err := l.Find("first")
	require.NoError(t, err)
	require.True(t, found)
	require.NoError(t, os.Remove(filepath.Join(dir, "fill")))
	_, err = l.Append(t.Context(), "second", map[string]string{"a": "c"})
	require.NoError(t, err, "there is room again")
	if err := l.Close(); err != nil && !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}
