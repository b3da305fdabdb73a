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
	// holdSuffix ends the name of the job of a restore that holds, and whose old state is still to be removed.
	holdSuffix = ".holds"
	jobLock    = "local.lock"
)

// jobFormat is the format of the file of a job.
const jobFormat = 1

// job is what is known on disk of a local restore that is under way: all that its end needs, for the restore
// may have put another configuration in place, which knows neither its set nor its components.
type job struct {
	Format  int                     `json:"format"`
	Restore activities.RestoreInput `json:"restore"`
	Began   time.Time               `json:"began"`
	// Services that may be stopped, in the order in which they are started.
	Services []string `json:"services"`
	// Policy has the timeouts.
	Policy activities.SetPolicy `json:"policy"`
	// Ways are how the services are stopped and started, by their names.
	Ways map[string]way `json:"ways,omitempty"`
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

// hold notes that the restore holds. It needs no room on the disk, which may be full.
func (j *job) hold(dir string) error {
	return os.Rename(j.path(dir), filepath.Join(dir, j.Restore.Restore+holdSuffix))
}

// jobs lists the files of the jobs in a folder, or of the restores that hold, the oldest first.
func jobs(dir, suffix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var paths []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
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
	err = json.Unmarshal(data, &j)
	if err == nil && j.Format > jobFormat {
		return j, shivx.Hint(fmt.Errorf("%s is of the format %d, and this program knows none later than %d", path, j.Format, jobFormat),
			"end it with the later version that began it: "+again)
	}
	if err != nil || j.Format == 0 || j.Restore.Restore+filepath.Ext(path) != filepath.Base(path) {
		return j, shivx.Hint(fmt.Errorf("read %s: %w", path, errors.Join(err, errors.New("not a job"))),
			"look into it: it names the services that may be stopped; start them by hand, then remove it")
	}
	return j, nil
}

// Halfway is a local restore that was cut off, or is under way.
type Halfway struct {
	Set    string    `json:"set"`
	Golden string    `json:"golden"`
	Began  time.Time `json:"began"`
	// Services may be stopped.
	Services []string `json:"services"`
	// Running is true while a process works on it.
	Running bool `json:"running"`
}

// Unfinished lists the local restores that have not ended, by the journals of restores, the oldest first.
func Unfinished(journals string) ([]Halfway, error) {
	paths, err := jobs(journals, jobSuffix)
	if err != nil || len(paths) == 0 {
		return nil, err
	}
	release, err := lockJobs(journals)
	running := errors.Is(err, restore.ErrBusy)
	if err != nil && !running {
		return nil, err
	}
	if !running {
		defer release()
	}
	var all []Halfway
	var errs []error
	for _, p := range paths {
		j, err := readJob(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has ended meanwhile
		}
		if errs = append(errs, err); err == nil {
			all = append(all, Halfway{j.Restore.Set, j.Restore.Golden, j.Began, append([]string{}, j.Services...), running})
		}
	}
	return all, errors.Join(errs...)
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
	return func() { _ = durable.Unlock(f) }, nil
}
