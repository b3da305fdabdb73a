package resilience

import (
	"fmt"
	"time"
)

// writes are attempts to write a file that have not ended, by a key of the caller's.
type writes map[string]chan error

// bounded waits for a write, like a record for the disk, but not for ever. One under way by the same
// key is waited for instead of beginning another. what says what is written, for the error.
func (w writes) bounded(key, what string, write func() error) error {
	ended, busy := w[key]
	if !busy {
		ended = make(chan error, 1)
		w[key] = ended
		go func() { ended <- write() }()
	}
	select {
	case err := <-ended:
		delete(w, key)
		return err
	case <-time.After(recordTimeout):
		return fmt.Errorf("%s: the disk has not answered for %s", what, recordTimeout)
	}
}
