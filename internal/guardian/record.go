package guardian

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
)

// maxWaiting bounds the records that wait for a disk that takes none. Beyond it threats that isolate
// nobody are given up, beyond twice as many all but changes of the mode, and counted.
const maxWaiting = 50_000

// appendTimeout is how long a record waits for the disk whose sender waits, too.
const appendTimeout = 10 * time.Second

// recorder writes records to the audit in order, without holding up whoever has something to record.
type recorder struct {
	ledger *ledger.Ledger
	log    *slog.Logger

	mu      sync.Mutex
	waiting []entry
	// taken and written count records; equal when nothing waits.
	taken, written uint64
	lost           uint64
	lastErr        error
	more           chan struct{}
	// writing keeps the order when run and flush meet.
	writing sync.Mutex
}

// entry is a record on its way; its key keeps it from being written twice.
type entry struct {
	key    string
	record shivx.GuardianRecord
}

func (r *recorder) init(l *ledger.Ledger, log *slog.Logger) {
	r.ledger, r.log, r.more = l, log, make(chan struct{}, 1)
}

// put takes a record; it never waits.
func (r *recorder) put(rec shivx.GuardianRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	light := rec.EventType == shivx.EventThreat && !rec.ThreatLevel.Serious()
	if n := len(r.waiting); n >= maxWaiting && light || n >= 2*maxWaiting && rec.EventType != shivx.EventMode {
		r.lost++
		return
	}
	r.waiting = append(r.waiting, entry{key: rec.EventID, record: rec})
	r.taken++
	select {
	case r.more <- struct{}{}:
	default:
	}
}

func (r *recorder) run(ctx context.Context) {
	for {
		r.flush(ctx, math.MaxUint64)
		wait := time.NewTimer(time.Hour)
		if r.left() > 0 {
			wait.Reset(time.Second)
		}
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		case <-r.more:
		}
		wait.Stop()
	}
}

// batch is how many records wait for the disk together.
const batch = 256

// flush writes what waits, until the mark is reached, nothing waits, or a record cannot be written.
func (r *recorder) flush(ctx context.Context, mark uint64) {
	r.writing.Lock()
	defer r.writing.Unlock()
	for {
		r.mu.Lock()
		next := r.waiting[:min(len(r.waiting), batch)]
		done := r.written >= mark
		r.mu.Unlock()
		if len(next) == 0 || done {
			return
		}
		n, err := r.write(ctx, next)
		r.mu.Lock()
		r.waiting = r.waiting[n:]
		r.written += uint64(n)
		before := r.lastErr
		r.lastErr = err
		r.mu.Unlock()
		switch {
		case err != nil && before == nil && ctx.Err() == nil:
			r.log.Error("the guardian's audit cannot be written; sources are kept out all the same and recorded later",
				"error", err, "hint", shivx.HintOf(err))
		case err == nil && before != nil:
			r.log.Info("the guardian's audit is written again")
		}
		if err != nil {
			return
		}
	}
}

// write appends entries in order and says how many of the first are on disk. It waits for a disk that
// hangs: to give up and try again would queue the same records once more each time.
func (r *recorder) write(ctx context.Context, entries []entry) (n int, err error) {
	ctx = context.WithoutCancel(ctx)
	list := make([]ledger.Entry, len(entries))
	for i, e := range entries {
		list[i] = ledger.Entry{Key: e.key, Fields: encode(e.record)}
	}
	n, err = r.ledger.AppendAll(ctx, list)
	if errors.Is(err, ledger.ErrDamaged) {
		// The record with this key was changed on disk, of which Verify tells; this one must not wait for ever.
		if _, err = r.ledger.Append(ctx, "", list[n].Fields); err == nil {
			n++
		}
	}
	return n, err
}

// encode never fails, so that no record can stand in the way of those after it.
func encode(rec shivx.GuardianRecord) json.RawMessage {
	data, err := json.Marshal(rec)
	if err != nil || len(data) > ledger.MaxRecord-16<<10 {
		rec.Details = map[string]string{"error": "the details could not be recorded"}
		data, _ = json.Marshal(rec)
	}
	return data
}

// left is how many records wait.
func (r *recorder) left() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting)
}

// mark returns a mark for reached.
func (r *recorder) mark() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken
}

// reached says whether everything up to the mark is written.
func (r *recorder) reached(mark uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written >= mark
}

// trouble tells how many records wait and were given up, and why.
func (r *recorder) trouble() (waiting int, lost uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting), r.lost, r.lastErr
}

// await waits for a mark, while somebody else writes, until ctx ends; false when it was not reached.
func (r *recorder) await(ctx context.Context, mark uint64) bool {
	look := time.NewTicker(awaitEvery)
	defer look.Stop()
	for !r.reached(mark) {
		select {
		case <-ctx.Done():
			return false
		case <-look.C:
		}
	}
	return true
}

// awaitEvery is how often await looks.
const awaitEvery = 2 * time.Millisecond
