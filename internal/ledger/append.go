package ledger

import (
	"context"
	"fmt"
	"runtime"
	"sync"
)

// request is one append on its way through the committer.
type request struct {
	id    keyID
	keyed bool
	// buf is the record with room for front and back; the committer fills these in.
	buf   []byte
	start int
	view  view
	// first is the request of the same batch with the same key, at when the key is already on disk.
	first *request
	at    *location
	err   error
	done  chan struct{}
}

var requests = sync.Pool{New: func() any { return &request{done: make(chan struct{}, 1)} }}

// queue hands requests to the committer.
type queue struct {
	mu     sync.Mutex
	ready  sync.Cond
	items  []*request
	closed bool
	// last is the size of the batch taken last.
	last int
}

func (q *queue) init() { q.ready.L = &q.mu }

func (q *queue) put(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.items = append(q.items, r)
	if len(q.items) == 1 {
		q.ready.Signal()
	}
	return true
}

// take waits for requests and exchanges the filled slice for the given, empty one. It returns
// nothing when the queue is closed and empty.
func (q *queue) take(spare []*request) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.ready.Wait()
	}
	q.gather()
	batch := q.items
	q.items = spare
	q.last = len(batch)
	return batch
}

// gather lets the writers that the last batch has woken queue again before the next is cut, as long
// as they do: otherwise they fall into two groups that wait for each other's fdatasync. It
// yields the processor and never sleeps, and does nothing for a single writer.
func (q *queue) gather() {
	for idle := 0; idle < 8 && len(q.items) < q.last; {
		n := len(q.items)
		q.mu.Unlock()
		runtime.Gosched()
		q.mu.Lock()
		if len(q.items) == n {
			idle++
		}
	}
}

func (q *queue) close() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	was := q.closed
	q.closed = true
	q.ready.Signal()
	return !was
}

// Append writes one record and returns when it is on disk. fields encodes to a JSON object
// without the names seq, prev, key and hash. A key, if not "", makes the append idempotent: when
// a record with that key exists it is returned and nothing is written.
//
// When ctx ends first the record may still be written; a repeated append with the same key
// settles it.
func (l *Ledger) Append(ctx context.Context, key string, fields any) (Record, error) {
	r, known, err := l.enqueue(ctx, key, fields)
	if r == nil {
		return known, err
	}
	return l.await(ctx, key, r)
}

// Entry is a record to append, with its key or "".
type Entry struct {
	Key    string
	Fields any
}

// AppendAll appends records in order, which share their writes to disk, and returns how many of the
// first are there. What holds for Append holds for each.
func (l *Ledger) AppendAll(ctx context.Context, entries []Entry) (n int, err error) {
	waiting := make([]*request, 0, len(entries))
	for _, e := range entries {
		var r *request
		if r, _, err = l.enqueue(ctx, e.Key, e.Fields); err != nil {
			break
		}
		waiting = append(waiting, r)
	}
	for i, r := range waiting {
		if r == nil {
			continue // it was there already
		}
		if _, failed := l.await(ctx, entries[i].Key, r); failed != nil {
			return i, failed
		}
	}
	return len(waiting), err
}

// enqueue gives a record to the committer. Without a request the record is there already, or there is
// an error.
func (l *Ledger) enqueue(ctx context.Context, key string, fields any) (*request, Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, Record{}, fmt.Errorf("append to ledger: %w", err)
	}
	if key != "" {
		if r, ok, err := l.Find(key); ok || err != nil {
			return nil, r, err
		}
	}
	buf, err := layOut(key, fields)
	if err != nil {
		return nil, Record{}, err
	}
	r := requests.Get().(*request)
	r.buf, r.keyed = buf, key != ""
	if r.keyed {
		r.id = idOf(key)
	}
	if !l.queue.put(r) {
		return nil, Record{}, fmt.Errorf("append to ledger: %w", ErrClosed)
	}
	return r, Record{}, nil
}

// await waits for the committer.
func (l *Ledger) await(ctx context.Context, key string, r *request) (Record, error) {
	if ctx.Done() == nil {
		<-r.done
		return l.result(key, r)
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return Record{}, fmt.Errorf("append to ledger: %w (the record may have been written)", ctx.Err())
	}
	return l.result(key, r)
}

// result reads the outcome off a finished request and gives it back to the pool, except for one
// that others of its batch refer to.
func (l *Ledger) result(key string, r *request) (Record, error) {
	switch {
	case r.err != nil:
		return Record{}, r.err
	case r.at != nil || r.first != nil:
		rec, ok, err := l.Find(key)
		if err == nil && !ok {
			err = fmt.Errorf("append to ledger: key %q: %w", key, ErrDamaged)
		}
		return rec, err
	}
	rec := toRecord(r.buf[r.start:len(r.buf)-1:len(r.buf)-1], r.view)
	if !r.keyed {
		*r = request{done: r.done}
		requests.Put(r)
	}
	return rec, nil
}
