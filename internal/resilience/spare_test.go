package resilience

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
)

// smallDisk mounts a file system of its own for the test.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	testenv.Tmpfs(t, dir, options)
	return dir
}

// smallExt4 is smallDisk with blocks and a journal.
func smallExt4(t *testing.T) string {
	t.Helper()
	need := testenv.Need(t, "mkfs.ext4", "mount")
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 8<<20))
	out, err := exec.CommandContext(t.Context(), need[0], "-q", "-m", "0", image).CombinedOutput()
	require.NoError(t, err, "%s", out)
	if out, err := exec.CommandContext(t.Context(), need[1], "-o", "loop", image, dir).CombinedOutput(); err != nil {
		testenv.Missing(t, "needs the right to mount an image: "+string(out))
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fillDisk takes the last byte.
func fillDisk(t *testing.T, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "ballast"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	require.NoError(t, err)
	defer f.Close()
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			require.ErrorIs(t, err, unix.ENOSPC)
			size /= 2
		}
	}
}

// fillInodes takes the last inode.
func fillInodes(t *testing.T, dir string) {
	t.Helper()
	for i := 0; ; i++ {
		err := os.WriteFile(filepath.Join(dir, fmt.Sprint("ballast", i)), nil, 0o600)
		if errors.Is(err, unix.ENOSPC) {
			return
		}
		require.NoError(t, err)
	}
}

func readFlags(t testing.TB, path string) (f Flags) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &f), "%q", data)
	return f
}

// watchFlags reads the file all the time until stop is called, and fails when it is ever not whole.
func watchFlags(t *testing.T, path string) (stop func()) {
	t.Helper()
	over, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-over:
				done <- nil
				return
			default:
			}
			var f Flags
			data, err := os.ReadFile(path)
			if err == nil {
				err = json.Unmarshal(data, &f)
			}
			if err != nil {
				done <- fmt.Errorf("%w: %q", err, data)
				return
			}
		}
	}()
	return sync.OnceFunc(func() { close(over); require.NoError(t, <-done) })
}

func TestFlagsFileFollowsOnAFullDisk(t *testing.T) {
	for name, c := range map[string]struct {
		disk func(*testing.T) string
		fill func(*testing.T, string)
	}{
		"no room":   {func(t *testing.T) string { return smallDisk(t, "size=256k") }, fillDisk},
		"no inodes": {func(t *testing.T) string { return smallDisk(t, "size=256k,nr_inodes=20") }, fillInodes},
		"ext4":      {smallExt4, fillDisk},
	} {
		t.Run(name, func(t *testing.T) {
			disk := c.disk(t)
			path := filepath.Join(disk, "flags.json")
			b := newBench(t, func(b *bench) { b.flags = path })
			require.False(t, b.core.writeFlags())
			c.fill(t, disk)
			require.ErrorIs(t, newFile(filepath.Join(disk, "another"), []byte("full?")), unix.ENOSPC)
			defer watchFlags(t, path)()

			arrives := func() {
				t.Helper()
				require.False(t, b.core.writeFlags(), "%v", b.core.Status().Notices)
				f, now := readFlags(t, path), b.core.Features()
				require.Equal(t, now.Level, f.Level)
				require.Equal(t, now.Version, f.Version)
				for _, want := range now.List {
					require.Equal(t, want.Enabled, f.Features[want.Name].Enabled, want.Name)
				}
			}
			for _, memory := range []float64{25, 40, 60, 90} {
				b.steps(2, memory)
				arrives()
			}
			require.Equal(t, shivx.LevelEmergency, readFlags(t, path).Level)
			long := askFor(shivx.Level1, time.Hour)
			long.Why = strings.Repeat(`ä"`, maxText/3)
			b.override("", long)
			arrives()
			require.True(t, strings.HasSuffix(readFlags(t, path).Features["uploads"].Reason, "…"))
			b.override("", shivx.OverrideRequest{End: true, By: "ann"})
			for b.level() != shivx.LevelNormal {
				b.steps(1, 0)
				arrives()
			}
			require.Empty(t, b.core.Status().Notices)
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o644), info.Mode())
		})
	}
}

func TestFlagsFileWithNoSpareOnAFullDisk(t *testing.T) {
	disk := smallDisk(t, "size=64k")
	fillDisk(t, disk)
	path := filepath.Join(disk, "flags.json")
	b := newBench(t, func(b *bench) { b.flags = path })
	require.True(t, b.core.writeFlags())
	notice := b.core.Status().Notices
	require.Len(t, notice, 1)
	require.Contains(t, notice[0], "free space")
	require.True(t, b.core.writeFlags())
	require.Equal(t, notice, b.core.Status().Notices, "what is the same each time is logged once")

	require.NoError(t, os.Truncate(filepath.Join(disk, "ballast"), 52<<10)) // room for one of both
	require.True(t, b.core.writeFlags())
	require.Contains(t, b.core.Status().Notices[0], "has no spare")
	require.Equal(t, shivx.LevelNormal, readFlags(t, path).Level)
	require.NoError(t, os.Remove(filepath.Join(disk, "ballast")))
	require.False(t, b.core.writeFlags())
	require.Empty(t, b.core.Status().Notices)
}

// TestSpareWaitsForASlowReader: who has opened the file before a change reads it whole, although
// the second change after that writes over it.
func TestSpareWaitsForASlowReader(t *testing.T) {
	disk := smallDisk(t, "size=64k")
	path := filepath.Join(disk, "flags.json")
	content := func(c string) []byte { return []byte(strings.Repeat(c, block-1) + "\n") }
	require.NoError(t, replaceFile(path, content("a")))
	fillDisk(t, disk)
	slow, err := os.Open(path)
	require.NoError(t, err)
	half := make([]byte, block/2)
	_, err = io.ReadFull(slow, half)
	require.NoError(t, err)

	require.NoError(t, replaceFile(path, content("b")))
	second := make(chan error, 1)
	go func() { second <- replaceFile(path, content("c")) }()
	select {
	case err := <-second:
		t.Fatal("written over while it is read", err)
	case <-time.After(readersGrace / 8):
	}
	rest, err := io.ReadAll(slow)
	require.NoError(t, err)
	require.Equal(t, string(content("a")), string(half)+string(rest))
	require.NoError(t, slow.Close())
	require.NoError(t, <-second)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(content("c")), string(data))
}

// TestSpareOfOthersIsNotWrittenTo: a folder may be another user's, who could lead the agent astray.
func TestSpareOfOthersIsNotWrittenTo(t *testing.T) {
	secret := []byte(strings.Repeat("s", 2*block))
	for name, lead := range map[string]func(target, spare string) error{"symbolic link": os.Symlink, "hard link": os.Link} {
		t.Run(name, func(t *testing.T) {
			disk := smallDisk(t, "size=64k")
			path, target := filepath.Join(disk, "flags.json"), filepath.Join(disk, "secret")
			require.NoError(t, os.WriteFile(target, secret, 0o600))
			require.NoError(t, lead(target, sparePath(path)))
			fillDisk(t, disk)
			require.ErrorIs(t, replaceFile(path, []byte("new\n")), unix.ENOSPC)
			data, err := os.ReadFile(target)
			require.NoError(t, err)
			require.Equal(t, secret, data)

			require.NoError(t, os.Remove(filepath.Join(disk, "ballast")))
			require.NoError(t, replaceFile(path, []byte("new\n")))
			info, err := os.Lstat(sparePath(path))
			require.NoError(t, err)
			require.True(t, info.Mode().IsRegular())
			data, err = os.ReadFile(target)
			require.NoError(t, err)
			require.Equal(t, secret, data)
		})
	}
}
