// Package durable makes changes of folders last over a crash of the machine, and ends locks for certain.
package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Unlock ends the flock(2) lock of an open file or folder and closes it. Programs that are started never have the
// lock, for Go opens files so that they are closed on exec; but a child that some goroutine is starting has it until
// it runs its program, and to close the file here would not end it there.
func Unlock(f *os.File) error {
	return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
}

// SyncDir makes what was created, renamed or removed in dir durable.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
