package resilience

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/shivx/shivx"
)

// Bounds of what a request may say, in bytes.
const (
	maxText        = 1000
	maxOverrideKey = 500
)

// Override holds the host at a level until an end, in place of an override in force, or ends the
// one in force. key, if not "", makes a repetition harmless, also after a crash: it returns the
// change that was made.
//
// When the audit cannot be written the override holds all the same, which the status tells, and
// is recorded as soon as that works again. An error means that nothing was changed.
func (c *Core) Override(ctx context.Context, key string, req shivx.OverrideRequest) (shivx.LevelChange, error) {
	if err := checkOverride(key, &req); err != nil {
		return shivx.LevelChange{}, err
	}
	if key != "" {
		key = c.o.Host + "/override/" + key
	}
	c.order.Lock()
	defer c.order.Unlock()
	if ch, found, err := c.overrideOf(key); found || err != nil {
		return ch, err
	}
	c.endOverrideLocked(ctx)
	if req.End {
		if c.state.Override == nil {
			return shivx.LevelChange{}, shivx.Hint(errors.New("no override is in force"), "there is nothing to end: the level follows the score")
		}
		reason := fmt.Sprintf("%s ended %s", req.By, named(c.state.Override))
		if req.Why != "" {
			reason += " (" + req.Why + ")"
		}
		return c.change(ctx, key, shivx.LevelChange{To: c.machine.Level(), Cause: shivx.CauseOverrideEnd, Reason: reason + c.byScore()}), nil
	}
	now := c.now()
	o := &shivx.Override{Level: req.Level, By: req.By, Why: req.Why, Since: now, Until: now.Add(req.For.Std())}
	c.mu.Lock()
	c.endsBy = c.clock.Elapsed() + req.For.Std()
	c.mu.Unlock()
	ch := c.change(ctx, key, shivx.LevelChange{To: o.Level, Cause: shivx.CauseOverride, Reason: held(o), Override: o})
	wake(c.woken)
	return ch, nil
}

func checkOverride(key string, req *shivx.OverrideRequest) error {
	if req.Level != "" {
		l, err := shivx.ParseLevel(string(req.Level))
		if err != nil {
			return err
		}
		req.Level = l
	}
	if err := req.Check(); err != nil {
		return err
	}
	if len(key) > maxOverrideKey {
		return fmt.Errorf("the key of an override is longer than %d bytes", maxOverrideKey)
	}
	if len(req.By) > maxText || len(req.Why) > maxText {
		return shivx.Hint(fmt.Errorf("who asks for an override, or the reason, is longer than %d bytes", maxText), "write one line")
	}
	return nil
}

// overrideOf returns the change that was made with the key, recorded or waiting to be.
func (c *Core) overrideOf(key string) (ch shivx.LevelChange, found bool, err error) {
	if key == "" {
		return ch, false, nil
	}
	if e, ok := c.waits(key); ok {
		return *e.change, true, nil
	}
	rec, found, err := c.o.Ledger.Find(key)
	if err != nil || !found {
		return ch, false, err
	}
	var r auditRecord
	if err = rec.Decode(&r); err == nil {
		err = json.Unmarshal(r.Details, &ch)
	}
	if err != nil {
		return ch, false, fmt.Errorf("read the override back: %w", err)
	}
	return ch, true, nil
}

// endOverride ends an override whose time is over.
func (c *Core) endOverride(ctx context.Context) {
	c.order.Lock()
	defer c.order.Unlock()
	c.endOverrideLocked(ctx)
}

// endOverrideLocked is endOverride for who holds order.
func (c *Core) endOverrideLocked(ctx context.Context) {
	left, ok := c.overrideLeft()
	if !ok || left > 0 {
		return
	}
	c.change(ctx, "", shivx.LevelChange{
		To: c.machine.Level(), Cause: shivx.CauseOverrideEnd, Reason: named(c.state.Override) + " is over" + c.byScore(),
	})
}

// byScore says why the level is what it is once no override holds, to follow other words; "" at
// NORMAL and before the first sample. The caller holds order.
func (c *Core) byScore() string {
	level := c.machine.Level()
	if level == shivx.LevelNormal || c.sample == nil {
		return ""
	}
	return fmt.Sprintf("; by score it is %s, now %.1f%s", level, c.sample.score.Value, dearest(c.sample.score))
}

// overrideLeft returns how long the override in force still holds: until its end by the wall
// clock, but never longer than it was to last, should that clock jump back.
func (c *Core) overrideLeft() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.state.Override
	if o == nil {
		return 0, false
	}
	return min(o.Until.Sub(c.now()), c.endsBy-c.clock.Elapsed()), true
}

// held says in one line that an override is in force.
func held(o *shivx.Override) string {
	return fmt.Sprintf("held at %s by %s until %s: %s", o.Level, o.By, clockTime(o.Until), o.Why)
}

// named names an override that ends.
func named(o *shivx.Override) string {
	return fmt.Sprintf("the override to %s by %s", o.Level, o.By)
}

// clockTime is a time for people.
func clockTime(t time.Time) string { return t.UTC().Format("15:04 UTC on 2 Jan") }

// wake sends without blocking; the receiver looks at everything anew.
func wake(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
