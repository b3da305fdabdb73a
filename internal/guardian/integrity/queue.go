package integrity

import (
	"sync"
	"time"
)

const (
	// quiet is how long nothing must come before what has changed is looked at: an editor's several
	// steps are seen as one. It is not waited for longer than patience.
	quiet    = 40 * time.Millisecond
	patience = 400 * time.Millisecond
	// mostWaiting is how many paths may wait; beyond, everything is verified.
	mostWaiting = 1 << 16
	// rest is how much longer than its reading took a path is left alone after it was read, so that
	// a big file that grows all the time takes a tenth of a core at most.
	rest = 10
	// brief readings need no rest.
	brief = 20 * time.Millisecond
)

// queue holds the paths that have changed until they are looked at.
type queue struct {
	mu sync.Mutex
	// waiting has true for a path below which all is to be looked at.
	waiting map[string]bool
	lost    bool
	// resting has until when a path is left alone.
	resting map[string]time.Time
	// came is told of each change.
	came chan struct{}
}

func newQueue() *queue {
	return &queue{waiting: map[string]bool{}, resting: map[string]time.Time{}, came: make(chan struct{}, 1)}
}

// put adds a path; "" says that some were lost.
func (q *queue) put(path string, deep bool) {
	q.mu.Lock()
	if path == "" || len(q.waiting) >= mostWaiting {
		q.lost = true
		clear(q.waiting)
	} else {
		q.waiting[path] = q.waiting[path] || deep
	}
	q.mu.Unlock()
	select {
	case q.came <- struct{}{}:
	default:
	}
}

// get takes what waits and does not rest; next is when the first of the others may be taken.
func (q *queue) get(now time.Time) (shallow, deep []string, lost bool, next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for path, all := range q.waiting {
		if until, resting := q.resting[path]; resting && now.Before(until) {
			if next.IsZero() || until.Before(next) {
				next = until
			}
			continue
		}
		delete(q.waiting, path)
		delete(q.resting, path)
		if all {
			deep = append(deep, path)
		} else {
			shallow = append(shallow, path)
		}
	}
	lost, q.lost = q.lost, false
	return shallow, deep, lost, next
}

// took notes how long the reading of a path took.
func (q *queue) took(path string, d time.Duration) {
	if d < brief {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.resting[path] = time.Now().Add(rest * d)
}
