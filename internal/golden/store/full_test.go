package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
)

// smallTree has some hundreds of KB that are in no other.
func smallTree(seed uint64) tree {
	tr := tree{}
	for i := range uint64(12) {
		tr[fmt.Sprintf("/tree/%03d", i)] = content(seed*100+i, 10_000+1000*int(i))
	}
	return tr
}

// fullDisk fills a small disk in all possible ways during a backup: limit makes the mount option for
// step i, where used is what is used already. The golden before it stays whole, and the backup can be repeated.
func fullDisk(t *testing.T, limit func(used unix.Statfs_t, i int) string, room string) {
	dir := filepath.Join(t.TempDir(), "disk")
	testenv.Tmpfs(t, dir, room)
	remount := func(options string) {
		require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, options))
	}
	f, err := MakeFolder(filepath.Join(dir, "store"))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	s, err := Create(t.Context(), f, options())
	require.NoError(t, err)
	defer func() { _ = s.Close() }()
	first := smallTree(0)
	g := mustBackup(t, s, first)
	full := 0
	for i := 0; ; i++ {
		var used unix.Statfs_t
		require.NoError(t, unix.Statfs(dir, &used))
		remount(limit(used, i))
		tr := smallTree(uint64(i) + 1)
		_, err := backup(t.Context(), s, tr, testHeader("web"), 2)
		if err == nil {
			break
		}
		full++
		require.ErrorIs(t, err, unix.ENOSPC, "step %d", i)
		require.NotEmpty(t, shivx.HintOf(err))
		requireTree(t, first, g)
		all, err := s.List(t.Context(), "")
		require.NoError(t, err)
		for _, i := range all {
			require.NoError(t, i.Err)
		}
		remount(room)
		requireTree(t, tr, mustBackup(t, s, tr))
		left, err := os.ReadDir(filepath.Join(dir, "store", tmpName))
		require.NoError(t, err)
		require.Empty(t, left)
		clearBut(t, s, g.head.header.ID)
	}
	t.Logf("the disk was full at %d points", full)
	require.Greater(t, full, 2)
}

// clearBut removes all goldens but one, and the packs that it does not need.
func clearBut(t *testing.T, s *Store, keep string) {
	ctx := context.Background()
	needed := map[string]bool{identityName: true}
	for info, err := range s.backend.List(ctx, goldensDir) {
		require.NoError(t, err)
		g, err := s.openGolden(ctx, info.Name)
		require.NoError(t, err)
		if g.head.header.ID == keep {
			needed[info.Name] = true
			for _, p := range g.head.header.Packs {
				needed[packName(p)] = true
			}
		}
	}
	for info, err := range s.backend.List(ctx, "") {
		require.NoError(t, err)
		if !needed[info.Name] {
			require.NoError(t, s.backend.Remove(ctx, info.Name))
		}
	}
}

func TestDiskFull(t *testing.T) {
	t.Run("bytes", func(t *testing.T) {
		fullDisk(t, func(used unix.Statfs_t, i int) string {
			return fmt.Sprintf("size=%d", (int64(used.Blocks-used.Bfree)+int64(i))*used.Bsize)
		}, "size=8m")
	})
	t.Run("files", func(t *testing.T) {
		fullDisk(t, func(used unix.Statfs_t, i int) string {
			return fmt.Sprintf("nr_inodes=%d", int(used.Files-used.Ffree)+i)
		}, "size=8m,nr_inodes=1000")
	})
}
