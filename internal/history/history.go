// Package history keeps the measurements of a host, for charts and for forecasts, in the time
// series database of Prometheus below one folder.
//
// It is there to be used, not to be relied upon: a process that is killed loses nothing that was
// appended, because the operating system has it by then (a power failure can cost the last
// seconds); what is damaged is set aside in the folder "aside", the newest three times; and a
// clock that was wrong costs neither the measurements before nor those after it.
package history

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/fileutil"

	"github.com/shivx/shivx"
)

// Folder is where the history is below the agent's var folder.
const Folder = "metrics"

// OutOfOrder is how far back behind the newest measurement one is still taken.
const OutOfOrder = time.Hour

// ErrClosed is the error of whatever is asked of a closed history.
var ErrClosed = errors.New("the metric history is closed")

// Options of a history.
type Options struct {
	// Retention is the age at which measurements are dropped; 0: 15 days. Age counts from the
	// newest measurement, and only once there is a day of newer ones: neither a clock that is wrong
	// for some hours nor a host that was off for a month costs the history at once.
	Retention time.Duration
	// MaxBytes is the size on disk at which the oldest are dropped; 0: 512 MB. What was measured
	// in the last two to three hours is never dropped.
	MaxBytes int64
	// Logger gets what an operator needs to know; nil: nobody does.
	Logger *slog.Logger

	// Of tests, which cannot wait: the span of the smallest block, the time of newer measurements
	// before old ones are dropped, how long measurements are refused before the newer ones count
	// as a wrong clock's, and the clock for that.
	block, settled, patience time.Duration
	now                      func() time.Time
}

func (o Options) complete() Options {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&o.Retention, 15*24*time.Hour)
	set(&o.block, 2*time.Hour)
	set(&o.settled, 24*time.Hour)
	set(&o.patience, 5*time.Minute)
	if o.MaxBytes <= 0 {
		o.MaxBytes = 512e6
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.now == nil {
		o.now = time.Now
	}
	return o
}

// History is an open folder of measurements. It may be used by many goroutines.
type History struct {
	dir  string
	o    Options
	log  *slog.Logger
	lock io.Closer

	// mu is held for reading while db is used, for writing while it is replaced.
	mu     sync.RWMutex
	db     *tsdb.DB
	closed bool
	// away is why db is nil although the history is not closed.
	away error

	// writing guards what follows; one sample is appended at a time.
	writing sync.Mutex
	series  map[seriesKey]*cached
	sample  uint64
	// behind is when refusing all of a sample as too old began; zero: the last one was taken.
	behind time.Time

	checking  sync.Mutex
	lastCheck time.Time

	appended, refused atomic.Uint64
	// blocks is how many there were when they were last read.
	blocks atomic.Int64
}

// Open opens the history in dir, making it when there is none. Damaged parts are set aside and
// logged; an error means that there is no history at all.
func Open(dir string, o Options) (*History, error) {
	h := &History{dir: dir, o: o.complete(), series: map[seriesKey]*cached{}}
	h.log = h.o.Logger
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, shivx.Hint(fmt.Errorf("make the folder of the metric history: %w", err), "check paths.var and its rights")
	}
	var err error
	if h.lock, err = lockFolder(dir); err != nil {
		return nil, err
	}
	if h.db, err = h.openRepaired(); err != nil {
		_ = h.lock.Close()
		advice := "move the folder away to begin a new history"
		if notDamage(err) {
			advice = "look after the space on its disk and the rights of its folder"
		}
		return nil, shivx.Hint(fmt.Errorf("open the metric history in %s: %w", dir, err), advice)
	}
	return h, nil
}

// held is a lock on a folder.
type held struct{ fileutil.Releaser }

func (l held) Close() error { return l.Release() }

// lockFolder keeps other processes away from dir. The database has a lock of its own, but takes
// it after it has begun to tidy up, and keeps it when opening fails.
func lockFolder(dir string) (io.Closer, error) {
	r, _, err := fileutil.Flock(filepath.Join(dir, "lock"))
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, shivx.Hint(fmt.Errorf("the metric history in %s is in use by another process", dir),
			"stop the other agent, or give this one a folder of its own with paths.var")
	case err != nil:
		return nil, shivx.Hint(fmt.Errorf("lock the metric history: %w", err), "check paths.var and its rights")
	}
	return held{r}, nil
}

// Close writes what is pending and closes the history.
func (h *History) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	var err error
	if h.db != nil {
		err = h.db.Close()
		h.db = nil
	}
	if err = errors.Join(err, h.lock.Close()); err != nil {
		return fmt.Errorf("close the metric history: %w", err)
	}
	return nil
}

// Counts returns the series that had a measurement in the last hours, the size on disk in bytes,
// and how many measurements were kept and how many refused since the history was opened.
func (h *History) Counts() (series uint64, bytes int64, kept, refused uint64) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.db != nil {
		series = h.db.Head().NumSeries()
	}
	return series, sizeOf(h.dir), h.appended.Load(), h.refused.Load()
}

// usable returns the database, which may be used while mu is held.
func (h *History) usable() (*tsdb.DB, error) {
	switch {
	case h.closed:
		return nil, ErrClosed
	case h.db == nil:
		return nil, fmt.Errorf("the metric history is away: %w", h.away)
	}
	return h.db, nil
}
