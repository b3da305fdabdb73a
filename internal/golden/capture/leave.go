package capture

import (
	"context"
	"fmt"
)

// park closes a folder far above.
func (w *walker) park() {
	if i := len(w.stack) - 1 - openLevels; i > 0 && !w.stack[i].fixed {
		w.stack[i].parked = true
		w.stack[i].f.release()
	}
}

// leave goes back to the folder above.
func (w *walker) leave(ctx context.Context) error {
	child := w.stack[len(w.stack)-1]
	w.stack[len(w.stack)-1] = level{}
	w.stack = w.stack[:len(w.stack)-1]
	defer child.f.release()
	if len(w.stack) == 0 {
		return nil
	}
	l := &w.stack[len(w.stack)-1]
	l.fixed = false
	if !l.parked {
		return nil
	}
	err := l.f.reopen(child.f)
	if err == nil {
		l.parked = false
		return nil
	}
	return w.lost(ctx, l, err)
}

// lost gives up the rest of a folder that cannot be found again.
func (w *walker) lost(ctx context.Context, l *level, err error) error {
	if fatal(err) {
		return fmt.Errorf("open %s: %w", l.f.path(), err)
	}
	w.forget(l)
	l.f.hold()
	l.parked, l.next = false, l.f.names.len()
	return w.fail(ctx, "", l.f.path(), err)
}

// forget waits for the folders that are listed ahead for a level, and closes them.
func (w *walker) forget(l *level) {
	for _, j := range l.early {
		if <-j.done; j.f != nil {
			j.f.release()
		}
	}
	w.early -= len(l.early)
	l.early = nil
}

// unwind closes what the walk has open.
func (w *walker) unwind() {
	for _, l := range w.stack {
		w.forget(&l)
		if !l.parked {
			l.f.release()
		}
	}
	w.stack = nil
	if w.batch != nil {
		w.batch.reset()
		w.batch = nil
	}
}
