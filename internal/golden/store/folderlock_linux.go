package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/durable"
)

// Lock locks the folder between processes of this machine, and of all machines where the file
// system of the folder carries flock(2) over the network.
func (f *Folder) Lock(ctx context.Context, mode Mode) (func() error, error) {
	path := filepath.Join(f.path, lockName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, unix.EROFS) && mode == Shared {
		// Nobody can change a store on a disk that cannot be written.
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, explain(err)
	}
	if err := f.flock(ctx, file, mode); err != nil {
		_ = file.Close()
		return nil, err
	}
	return func() error { return durable.Unlock(file) }, nil
}

// flock waits for the lock. Who meets nobody else in the store removes what killed processes left
// unfinished.
func (f *Folder) flock(ctx context.Context, file *os.File, mode Mode) error {
	how := unix.LOCK_SH
	if mode == Exclusive {
		how = unix.LOCK_EX
	}
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		if err := f.sweep(); err != nil {
			return err
		}
		if mode == Exclusive {
			return nil
		}
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := unix.Flock(int(file.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", file.Name(), err)
		}
		select {
		case <-ctx.Done():
			who := holders(file)
			err := fmt.Errorf("the store %s is in use by %s: %w", f.path, who, ctx.Err())
			return shivx.Hint(err, "wait until the other backup, restore or prune has ended, or end it")
		case <-time.After(wait):
		}
	}
}

// sweep removes what is in tmp.
func (f *Folder) sweep() error {
	dir := filepath.Join(f.path, tmpName)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return explain(fmt.Errorf("remove an unfinished file: %w", err))
		}
	}
	return nil
}

// holders names the processes that hold a lock on the file, as far as the kernel tells.
func holders(file *os.File) string {
	const nobody = "another process"
	var st unix.Stat_t
	if unix.Fstat(int(file.Fd()), &st) != nil {
		return nobody
	}
	inode := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return nobody
	}
	defer locks.Close()
	var who []string
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF
		w := strings.Fields(lines.Text())
		if len(w) < 6 || w[1] != "FLOCK" || w[5] != inode {
			continue
		}
		if name := process(w[4]); !slices.Contains(who, name) {
			who = append(who, name)
		}
	}
	if len(who) == 0 {
		return nobody
	}
	return strings.Join(who, ", ")
}

func process(pid string) string {
	if n, err := strconv.Atoi(pid); err != nil || n <= 0 {
		return "a process outside of this container"
	}
	name, err := os.ReadFile(filepath.Join("/proc", pid, "comm"))
	if err != nil {
		return "process " + pid
	}
	return fmt.Sprintf("process %s (%s)", pid, strings.TrimSpace(string(name)))
}
