package history

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
)

func TestAFullDisk(t *testing.T) {
	disk := t.TempDir()
	testenv.Tmpfs(t, disk, "size=3m")
	dir, ballast := filepath.Join(disk, "metrics"), filepath.Join(disk, "ballast")
	h := open(t, dir, Options{})
	require.NoError(t, os.WriteFile(ballast, make([]byte, 2500e3), 0o600))

	var err error
	kept, i := 0, 0
	next := func() error {
		i++
		return h.Append(start.Add(time.Duration(i)*5*time.Second), hundred(i))
	}
	for err = next(); err == nil; err = next() {
		kept++
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	assert.Contains(t, shivx.HintOf(err), "full")
	require.ErrorIs(t, next(), syscall.ENOSPC, "and again")
	require.NoError(t, os.Remove(ballast))
	for range 50 {
		require.NoError(t, next())
		kept++
	}
	count := func() int {
		got, err := h.Query(t.Context(), Query{Name: "shivx_host_figure_00", Matchers: map[string]string{"subject": "1"}, To: start.Add(48 * time.Hour)})
		require.NoError(t, err)
		return len(got[0].Points)
	}
	assert.Equal(t, kept, count())
	require.NoError(t, h.Close())
	h = open(t, dir, Options{})
	assert.Equal(t, kept, count(), "also after a restart")
	require.NoError(t, h.Close())

	fill, err := os.Create(ballast)
	require.NoError(t, err)
	for err == nil {
		_, err = fill.Write(make([]byte, 4096))
	}
	require.NoError(t, fill.Close())
	if h, err = Open(dir, Options{}); err != nil {
		require.ErrorIs(t, err, syscall.ENOSPC)
		assert.Contains(t, shivx.HintOf(err), "space")
	} else {
		assert.Equal(t, kept, count(), "nothing is set aside for want of space")
		require.NoError(t, h.Close())
	}
	assert.NoDirExists(t, filepath.Join(dir, asideFolder))
	require.NoError(t, os.Remove(ballast))
	h = open(t, dir, Options{})
	assert.Equal(t, kept, count())
}
