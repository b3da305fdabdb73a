// Package durable makes changes of folders last over a crash of the machine.
package durable

import (
	"errors"
	"os"
)

// SyncDir makes what was created, renamed or removed in dir durable.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
