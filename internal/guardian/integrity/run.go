package integrity

import (
	"context"
	"sync"
	"time"

	"github.com/shivx/shivx"
)

const (
	// tryAgain is the pause after something that failed.
	tryAgain = 10 * time.Second
	// lostRest is how many times as long as a verification took nothing starts the next before it is
	// due: a flood of changes, of which the kernel loses some, must not keep the disk busy.
	lostRest = 5
)

// Run watches until the context ends: at once and every Rules.Every everything is verified, between
// that what the kernel tells of. It returns nil at the end.
func (w *Watch) Run(ctx context.Context) error {
	n, err := newNotifier(w.notice)
	if err != nil {
		w.Logger.Warn("changes are found by verification alone", "every", w.Rules.Every, "error", err)
		w.schedule(ctx)
		return nil
	}
	w.mu.Lock()
	w.notifier = n
	w.mu.Unlock()
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := n.run(); err != nil {
			w.Logger.Error("changes are found by verification alone", "every", w.Rules.Every, "error", err)
		}
	})
	parts.Go(func() { w.follow(ctx) })
	w.schedule(ctx)
	n.close()
	parts.Wait()
	w.mu.Lock()
	w.notifier = nil
	w.mu.Unlock()
	return nil
}

// schedule verifies everything, and closes tickets, when it is time.
func (w *Watch) schedule(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var due, rested time.Time
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-w.woken:
		case <-timer.C:
		case <-w.again:
			asked = true
		}
		if now := time.Now(); asked && now.Before(rested) {
			due = earlier(due, rested)
		} else if asked || !now.Before(due) {
			due = w.verifyNow(ctx)
			rested = time.Now().Add(min(lostRest*time.Since(now), w.Rules.Every))
		} else if err := w.expire(ctx); err != nil {
			w.Logger.Error("a ticket has ended and could not be closed", "error", err)
		}
		timer.Reset(min(time.Until(due), w.untilTicket()))
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// verifyNow returns when to verify next.
func (w *Watch) verifyNow(ctx context.Context) time.Time {
	_, err := w.Verify(ctx)
	if err != nil && ctx.Err() == nil {
		w.Logger.Error("files could not be verified", "error", err, "hint", shivx.HintOf(err))
		return time.Now().Add(min(tryAgain, w.Rules.Every))
	}
	return time.Now().Add(w.Rules.Every)
}

// untilTicket is the time until the next ticket ends.
func (w *Watch) untilTicket() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.Rules.Every
	for _, t := range w.base.tickets {
		left := t.Until.Sub(w.Now())
		if left <= 0 {
			left = tryAgain // it could not be closed
		}
		d = min(d, left)
	}
	return d
}

// wake lets Run see that tickets have changed.
func (w *Watch) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// requestVerification asks Run to verify everything soon.
func (w *Watch) requestVerification() {
	select {
	case w.again <- struct{}{}:
	default:
	}
}
