package store

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

func TestLock(t *testing.T) {
	s, dir := newStore(t, options())
	other := openStore(t, dir, options())
	w, err := s.Begin(t.Context())
	require.NoError(t, err)
	release, err := other.Lock(t.Context(), Shared)
	require.NoError(t, err)
	require.NoError(t, release())

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = other.Lock(ctx, Exclusive)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, fmt.Sprintf("process %d (store.test)", os.Getpid()))
	require.NotEmpty(t, shivx.HintOf(err))

	got := make(chan error)
	go func() {
		release, err := other.Lock(t.Context(), Exclusive)
		if err == nil {
			err = release()
		}
		got <- err
	}()
	w.Abort()
	require.NoError(t, <-got, "the lock ends with the writer")
	release, err = other.Lock(t.Context(), Exclusive)
	require.NoError(t, err)
	_, err = s.Begin(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, release())
	require.Empty(t, openFiles(t, lockName), "a lock is left")
}

// openFiles are the files of this process with the name.
func openFiles(t *testing.T, name string) []string {
	all, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	var found []string
	for _, fd := range all {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && filepath.Base(to) == name {
			found = append(found, to)
		}
	}
	return found
}

// What a killed process left is swept away by who is alone, and by nobody else.
func TestUnfinishedFilesAreSwept(t *testing.T) {
	s, dir := newStore(t, options())
	w, err := s.Begin(t.Context())
	require.NoError(t, err)
	l := w.Lane()
	data := content(1, 1000)
	require.NoError(t, l.Put(t.Context(), format.Sum(data), data))
	left := func() int {
		names, err := os.ReadDir(filepath.Join(dir, tmpName))
		require.NoError(t, err)
		return len(names)
	}
	require.Equal(t, 1, left())
	mustBackup(t, openStore(t, dir, options()), tree{"/tree/b": content(2, 10)})
	require.Equal(t, 1, left(), "a backup under way has lost its file")
	require.NoError(t, l.Close())
	w.Abort()
	require.Zero(t, left())
	require.NoError(t, os.WriteFile(filepath.Join(dir, tmpName, "x"), nil, 0o600))
	mustBackup(t, s, tree{})
	require.Zero(t, left())
}

// A program that was started meanwhile does not have the lock, and a child that is only being started, which
// has copies of all open files, does not keep it.
func TestLockEndsWithItsRelease(t *testing.T) {
	s, dir := newStore(t, options())
	other := openStore(t, dir, options())
	release, err := s.Lock(t.Context(), Exclusive)
	require.NoError(t, err)
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", child.Process.Pid))
	require.NoError(t, err)
	require.NotEmpty(t, fds)
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		require.NoError(t, err)
		require.NotEqual(t, lockName, filepath.Base(to), "a program has the lock")
	}
	require.NoError(t, in.Close())
	require.NoError(t, child.Wait())

	own, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	lock := slices.IndexFunc(own, func(fd string) bool {
		to, err := os.Readlink(fd)
		return err == nil && to == filepath.Join(dir, lockName)
	})
	require.GreaterOrEqual(t, lock, 0)
	number, err := strconv.Atoi(filepath.Base(own[lock]))
	require.NoError(t, err)
	copied, err := unix.FcntlInt(uintptr(number), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(copied) }()
	require.Len(t, openFiles(t, lockName), 2)
	require.NoError(t, release())
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	again, err := other.Lock(ctx, Exclusive)
	require.NoError(t, err)
	require.NoError(t, again())
}
