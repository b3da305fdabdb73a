package checkpoint

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/restore"
)

// TestWhoLooksMakesNothing: a disk may be full, and a heal that needs no checkpoint asks for one all the same.
func TestWhoLooksMakesNothing(t *testing.T) {
	s, ctx := newStore(t), context.Background()
	_, ok, err := s.Latest(ctx, "redis", KindHealthy)
	require.NoError(t, err)
	require.False(t, ok)
	all, err := s.List(ctx, "redis")
	require.NoError(t, err)
	require.Empty(t, all)
	const id = "redis.fault/20260101-000000-012345"
	_, err = s.Get(ctx, id)
	require.ErrorContains(t, err, "there is no checkpoint "+id)
	_, err = s.Folder(ctx, id)
	require.ErrorContains(t, err, "there is no checkpoint "+id)
	removed, err := s.Prune(ctx, "redis", KindHealthy, 1)
	require.NoError(t, err)
	require.Empty(t, removed)
	require.NoDirExists(t, s.keys)
	left, err := os.ReadDir(filepath.Join(s.home, storeDir))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestAStoreThatHasLostItsNameIsNotAnEmptyOne(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	take(t, s, "k", config.State{Paths: []string{dir}})
	require.NoError(t, os.Remove(filepath.Join(s.home, storeDir, "golden.json")))
	_, _, err := s.Latest(ctx, "redis", KindHealthy)
	require.ErrorIs(t, err, ErrDamaged)
}

// staged ends when a folder is staged, and spoils that so that it cannot be taken back either.
type staged struct {
	context.Context
	journal string
	spoil   func(folder string)
}

func (s *staged) Err() error {
	list, _ := restore.Pending(s.journal)
	if len(list) == 0 || list[0].State != restore.StateStaged {
		return nil
	}
	if s.spoil != nil {
		site := list[0].Sites[0]
		s.spoil(filepath.Join(string(site.Base), string(site.Stage)))
		s.spoil = nil
	}
	return context.Canceled
}

func TestAFolderThatCannotBeTakenBackHoldsNoLock(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	write(t, dir+"/a", "1")
	c := take(t, s, "k", config.State{Paths: []string{dir}})
	making := filepath.Join(s.home, viewDir, c.ID+makingSuffix)
	ctx := &staged{Context: context.Background(), journal: filepath.Join(s.home, journalDir, "redis")}
	_, err := s.Folder(ctx, c.ID)
	require.ErrorIs(t, err, context.Canceled)
	require.NotContains(t, err.Error(), "%!w")
	require.NoDirExists(t, making)

	var mounted string
	ctx.spoil = func(folder string) {
		mounted = folder + "/mounted"
		require.NoError(t, os.Mkdir(mounted, 0o700))
		if err := unix.Mount("tmpfs", mounted, "tmpfs", 0, ""); err != nil {
			t.Skip("needs to mount a tmpfs")
		}
		t.Cleanup(func() { _ = unix.Unmount(mounted, unix.MNT_DETACH) })
	}
	_, err = s.Folder(ctx, c.ID)
	require.ErrorIs(t, err, context.Canceled)
	require.NotEmpty(t, mounted)
	require.NoError(t, unix.Unmount(mounted, 0))
	_, err = s.Folder(context.Background(), c.ID)
	require.NoError(t, err, "who has given up still holds the journal")
}
