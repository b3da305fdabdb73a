package integrity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/testenv"
)

func TestNamesOfAllKinds(t *testing.T) {
	r := newRig(t)
	names := []string{"new\nline", "tab\t", `quo"te\`, "invalid\xff\xfeutf8", "ünï", "{\"root\":", " ", "-rf", "<&>\u2028", strings.Repeat("n", 255)}
	for _, n := range names {
		r.write(n, "1")
		require.NoError(t, os.Symlink("to\xff"+n[:1], filepath.Join(r.tree, "l"+n[:min(len(n), 254)])))
	}
	r.open()
	require.Empty(t, r.verify())
	require.Empty(t, r.open().verify(), "the same after it was written and read")
	var want []string
	for _, n := range names {
		r.write(n, "2")
		want = append(want, "content "+n)
	}
	require.ElementsMatch(t, want, r.verify())
}

// TestNothingIsFollowedOrWaitedFor has what would hang or lead elsewhere.
func TestNothingIsFollowedOrWaitedFor(t *testing.T) {
	needRoot(t)
	r := newRig(t)
	outside := memoryDir(t)
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("1"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(r.tree, "away")))
	require.NoError(t, unix.Mkfifo(filepath.Join(r.tree, "fifo"), 0o600))
	require.NoError(t, unix.Mknod(filepath.Join(r.tree, "null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	r.write("folder/file", "1")
	r.open()
	require.Empty(t, r.verify())
	require.Equal(t, 6, r.Status().Entries)
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("2"), 0o600))
	require.Empty(t, r.verify())

	require.NoError(t, os.Remove(filepath.Join(r.tree, "null")))
	require.NoError(t, unix.Mknod(filepath.Join(r.tree, "null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))))
	require.Equal(t, []string{"type null"}, r.verify())

	// A folder with the same content behind a link in its place.
	require.NoError(t, os.Rename(filepath.Join(r.tree, "folder"), filepath.Join(outside, "folder")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "folder"), filepath.Join(r.tree, "folder")))
	require.Equal(t, []string{"symlink folder", "removed folder/file"}, r.verify())
}

func TestPathsLongerThanTheKernelTakes(t *testing.T) {
	r := newRig(t)
	at, err := unix.Open(r.tree, unix.O_PATH|unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	name := strings.Repeat("d", 250)
	for range 20 {
		require.NoError(t, unix.Mkdirat(at, name, 0o755))
		next, err := unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY, 0)
		require.NoError(t, err)
		_ = unix.Close(at)
		at = next
	}
	put := func(content string) {
		fd, err := unix.Openat(at, "file", unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, 0o644)
		require.NoError(t, err)
		_, err = unix.Write(fd, []byte(content))
		require.NoError(t, err)
		require.NoError(t, unix.Close(fd))
	}
	put("1")
	r.open().run()
	require.Equal(t, 22, r.Status().Entries)
	put("2")
	require.Empty(t, r.await("content "+strings.Repeat(name+"/", 20)+"file"))
	_ = unix.Close(at)
}

// TestReplacedAllTheTime has every file replaced by its like while it is read.
func TestReplacedAllTheTime(t *testing.T) {
	r := newRig(t)
	content := strings.Repeat("x", 300_000)
	for i := range 8 {
		r.write(fmt.Sprintf("f%d", i), content)
	}
	r.rules.Exclude = []string{".next*"}
	r.open().run()
	var stop atomic.Bool
	done := make(chan int)
	go func() {
		n := 0
		for ; !stop.Load(); n++ {
			next := filepath.Join(r.tree, ".next")
			if os.WriteFile(next, []byte(content), 0o644) != nil || os.Rename(next, filepath.Join(r.tree, fmt.Sprintf("f%d", n%8))) != nil {
				break
			}
		}
		done <- n
	}()
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		_, err := r.Verify(t.Context())
		require.NoError(t, err)
	}
	stop.Store(true)
	require.Greater(t, <-done, 20)
	require.Empty(t, r.take())
}

// TestAGrowingFile is told of, but not for every line.
func TestAGrowingFile(t *testing.T) {
	r := newRig(t)
	r.write("app.log", "")
	r.open().run()
	f, err := os.OpenFile(filepath.Join(r.tree, "app.log"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		_, err := f.WriteString("line\n")
		require.NoError(t, err)
	}
	rest := r.await("content app.log")
	require.LessOrEqual(t, len(rest), repeats-1)
	require.Equal(t, 1, r.Status().Findings)
}

// TestEditedOnTheBlockDevice changes a byte below the file system: no time, no size, no event tells.
func TestEditedOnTheBlockDevice(t *testing.T) {
	needRoot(t)
	mkfs := testenv.Need(t, "mkfs.ext4", "mount", "umount")
	r := newRig(t)
	image := filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(image, make([]byte, 4<<20), 0o600))
	run := func(name string, args ...string) error {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, out)
		}
		return nil
	}
	require.NoError(t, run(mkfs[0], "-q", "-O", "^has_journal", image))
	mount := func() {
		if err := run(mkfs[1], "-o", "loop", image, r.tree); err != nil {
			testenv.Missing(t, "needs to mount a file through a loop device: "+err.Error())
		}
	}
	mount()
	t.Cleanup(func() { _ = run(mkfs[2], "-l", r.tree) })
	r.write("app", "the program as it was released")
	r.open()
	require.Empty(t, r.verify())
	require.NoError(t, run(mkfs[2], r.tree))
	data, err := os.ReadFile(image)
	require.NoError(t, err)
	require.Equal(t, 1, bytes.Count(data, []byte("as it was released")))
	require.NoError(t, os.WriteFile(image, bytes.Replace(data, []byte("as it was released"), []byte("as it was attacked"), 1), 0o600))
	mount()
	require.Equal(t, []string{"content app"}, r.verify())
	require.Equal(t, true, r.Status().Open[0].Details["same_size_and_mtime"])
}

func TestHashOfEverySize(t *testing.T) {
	r := newRig(t)
	for _, n := range []int{0, 1, readSize - 1, readSize, readSize + 1, 3*readSize + 7, sparing + 1} {
		content := strings.Repeat("abcdefg", n/7+1)[:n]
		s := newReader().observe(r.write("f", content), r.tree)
		require.Equal(t, fmt.Sprintf("%x", sha256.Sum256([]byte(content))), s.hash(), "%d bytes", n)
		require.Equal(t, int64(n), s.size)
		require.False(t, s.unstable)
	}
	s := newReader().observe("/proc/self/status", "/proc/self/status")
	require.True(t, s.hashed, "a file whose size is not told is read to its end")
	require.Positive(t, s.size)
}

func TestCancelledInTheMiddle(t *testing.T) {
	r := newRig(t)
	r.write("a", "1")
	r.open()
	require.Empty(t, r.verify())
	require.NoError(t, os.Remove(filepath.Join(r.tree, "a")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Verify(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, r.take(), "what was not looked at is not taken for gone")
}
