package golden

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/durable"
	"github.com/shivx/shivx/internal/golden/restore"
)

// jobSuffix ends the names of jobs, beside the journals of restores; jobLock is the file that the process
// locks whose jobs they are.
const (
	jobSuffix = ".services"
	jobLock   = "local.lock"
)

// job is what is known on disk of a local restore that is under way.
type job struct {
	Restore activities.RestoreInput `json:"restore"`
	Began   time.Time               `json:"began"`
	// Services that may be stopped, in the order in which they are started.
	Services []string `json:"services"`
	// Tries counts how often it was taken up, or put back: a stop or a start is an effect of its own in each.
	Tries int `json:"tries,omitempty"`
}

func (j *job) path(dir string) string { return filepath.Join(dir, j.Restore.Restore+jobSuffix) }

func (j *job) write(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(j.path(dir), data, 0o600); err != nil {
		return shivx.Hint(fmt.Errorf("write down what is restored: %w", err), "make room for "+dir+", or make it writable")
	}
	return durable.SyncDir(dir)
}

func (j *job) remove(dir string) error {
	if err := os.Remove(j.path(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the job of the restore: %w", err)
	}
	return nil
}

// jobs lists the files of the jobs in a folder, the oldest first.
func jobs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var paths []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), jobSuffix) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, err
}

func readJob(path string) (job, error) {
	var j job
	data, err := os.ReadFile(path)
	if err != nil {
		return j, err
	}
	if err := json.Unmarshal(data, &j); err != nil || j.Restore.Restore+jobSuffix != filepath.Base(path) {
		return j, shivx.Hint(fmt.Errorf("read %s: %w", path, errors.Join(err, errors.New("not a job"))),
			"look into it: it names the services that may be stopped; start them by hand, then remove it")
	}
	return j, nil
}

// lockJobs keeps other local restores away from the very beginning until release is called; the lock ends
// with the process. The error is restore.ErrBusy.
func lockJobs(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of journals: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, jobLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock local restores: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			holder, _ := os.ReadFile(f.Name())
			err = shivx.Hint(fmt.Errorf("%w: process %s restores on this host", restore.ErrBusy, holder),
				"wait until it has ended; a process that was killed holds nothing")
		}
		return nil, errors.Join(err, f.Close())
	}
	// The number is for people; the lock holds without it.
	if f.Truncate(0) == nil {
		_, _ = fmt.Fprint(f, os.Getpid())
	}
	return func() { _ = f.Close() }, nil
}
