package resilience

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx"
)

const (
	// grace is how long an attempt may go on after its timeout before it is given up.
	grace = time.Second
	// maxSummary bounds what a hook says, in bytes.
	maxSummary = 1000
)

// followLevel switches hooks as the level asks until ctx ends.
func (c *Core) followLevel(ctx context.Context) {
	for {
		_ = c.takeTurn(ctx, false) // it ends early only because ctx does
		select {
		case <-ctx.Done():
			return
		case <-c.hooks.woken:
		}
	}
}

// Reconcile switches the hooks as the level asks, now, pauses after failures notwithstanding, and
// returns what they are then. The error says which hooks are not as they should be. A switching
// under way is finished even when ctx ends.
func (c *Core) Reconcile(ctx context.Context) ([]shivx.HookState, error) {
	if err := c.takeTurn(ctx, true); err != nil {
		return c.hookStates(), fmt.Errorf("reconcile hooks: %w", err)
	}
	states := c.hookStates()
	var errs []error
	for _, h := range states {
		if h.Error != "" {
			errs = append(errs, fmt.Errorf("hook %s: %s", h.Name, h.Error))
		}
	}
	return states, errors.Join(errs...)
}

// takeTurn does all switchings that are due, one at a time. What is due is decided anew after each,
// since the level may have changed. With hurry all that ought to be done is due, and ctx only ends
// what has not begun.
func (c *Core) takeTurn(ctx context.Context, hurry bool) error {
	select {
	case c.hooks.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.hooks.turn }()
	c.tidyKept()
	defer c.tidyKept()
	if hurry {
		c.hooks.hurry()
	}
	work := ctx
	if hurry {
		work = context.WithoutCancel(ctx)
	}
	for ctx.Err() == nil {
		c.mu.Lock()
		s := c.state
		c.mu.Unlock()
		d, ok := c.hooks.next(s, c.clock.Elapsed())
		if !ok {
			return nil
		}
		c.switchHook(work, d)
	}
	return ctx.Err()
}

// switchHook switches one hook. Its options are kept and that it began is recorded first: whatever
// happens then, the audit says that the load may be shed. While the audit cannot be written the record
// waits in memory, and a mark beside the audit stands for it (marks.go): a full disk is a reason to
// shed load, not to keep it. When ctx ends in between nothing more is recorded, as if the agent had been
// killed, and the next start goes on from there.
func (c *Core) switchHook(ctx context.Context, d switched) {
	cfg, _ := c.hooks.find(d.Name)
	if !d.Undo {
		c.noteKept(c.kept.keep(d.Name, optionsOf(cfg)))
		c.mark(d.Name)
		d.Boot = c.o.Boot
	}
	options, unkept := c.kept.find(d, cfg)
	c.order.Lock()
	reason := c.state.Reason
	d.Number = c.state.Switchings + 1
	if !d.Undo {
		d.Since = c.now()
	}
	if d.Key == "" {
		d.Key = c.id("shed", d.Name+"/"+fmt.Sprint(d.Number))
	}
	d.Phase, d.Summary, d.Error = phaseStarted, "", ""
	c.noteSwitch(ctx, d, d.Name)
	c.order.Unlock()

	summary, err := "", unkept
	if err == nil {
		summary, err = c.perform(ctx, d, Shedding{Hook: d.hook(options), Key: d.Key, Reason: reason})
	}
	if err != nil && ctx.Err() != nil {
		c.setSwitching("")
		return
	}
	d.Phase, d.Summary, d.Touched = phaseDone, clip(summary), d.Touched || err == nil
	if err != nil {
		d.Phase, d.Error = phaseFailed, clip(advised(err))
	}
	c.hooks.note(d, err, c.clock.Elapsed())
	c.order.Lock()
	defer c.order.Unlock()
	if err != nil && d.Undo {
		c.hooks.undoFailed(c.state, d)
	}
	c.noteSwitch(ctx, d, "")
	log := c.log.With("hook", d.Name, "undo", d.Undo, "summary", d.Summary)
	if err != nil {
		log.Error("a load-shedding hook failed; it is tried again", "error", err, "hint", shivx.HintOf(err))
		return
	}
	log.Info("a load-shedding hook was switched")
}

// noteSwitch records a phase and then makes it the state. The caller holds order.
func (c *Core) noteSwitch(ctx context.Context, d switched, under string) {
	r := shivx.ResilienceRecord{
		EventID: c.id("hook", fmt.Sprintf("%d/%s", d.Number, d.Phase)), Timestamp: c.now(), EventType: shivx.EventShed,
		Module: shivx.ModuleHost, Details: d, Severity: shivx.SeverityInfo,
	}
	if d.Undo {
		r.EventType = shivx.EventUnshed
	}
	if d.Phase == phaseFailed {
		r.Severity = shivx.SeverityError
	}
	c.record(ctx, r.EventID, r, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = c.state.clone()
	c.state.switched(d)
	c.switching = under
	if d.Undo && d.Phase == phaseDone {
		c.switchedOff[d.Name] = shivx.HookState{Name: d.Name, Level: d.Level, Since: r.Timestamp, Summary: d.Summary}
	} else {
		delete(c.switchedOff, d.Name)
	}
}

func (c *Core) setSwitching(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.switching = name
}

// perform calls the Shedder within the hook's timeout. A call that does not end with it is given
// up; the hook is not tried again until it has.
func (c *Core) perform(ctx context.Context, d switched, s Shedding) (string, error) {
	if c.o.Shedder == nil {
		return "", shivx.Hint(errors.New("nothing can switch this hook"), "take it back by hand")
	}
	if t := c.hooks.tries[d.Name]; t != nil && t.busy != nil {
		select {
		case <-t.busy:
			t.busy = nil
		default:
			return "", errors.New("an earlier attempt has not ended yet")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.Hook.Timeout)
	defer cancel()
	var summary string
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			if p := recover(); p != nil {
				c.log.Error("a hook panicked", "hook", d.Name, "panic", p, "stack", string(debug.Stack()))
				err = fmt.Errorf("the hook panicked: %v", p)
			}
		}()
		if d.Undo {
			summary, err = c.o.Shedder.Restore(ctx, s)
		} else {
			summary, err = c.o.Shedder.Shed(ctx, s)
		}
	}()
	select {
	case <-ended:
		return summary, err
	case <-ctx.Done():
	}
	select {
	case <-ended:
		return summary, err
	case <-time.After(grace):
	}
	c.hooks.attempt(d).busy = ended
	return "", fmt.Errorf("it did not end within %s", s.Hook.Timeout)
}

// hookStates lists the hooks: those configured in the order of shedding, then those that are gone
// from the configuration and still on.
func (c *Core) hookStates() []shivx.HookState {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []shivx.HookState
	for _, cfg := range c.hooks.list {
		h, ok := c.switchedOff[cfg.Name]
		if !ok {
			h = shivx.HookState{Name: cfg.Name}
		}
		if i := slices.IndexFunc(c.state.Hooks, func(d switched) bool { return d.Name == cfg.Name }); i >= 0 {
			h = c.hookState(c.state.Hooks[i])
		}
		h.Level = shivx.Level(cfg.Level)
		out = append(out, h)
	}
	for _, d := range c.state.Hooks {
		if _, configured := c.hooks.find(d.Name); !configured {
			h := c.hookState(d)
			h.Summary = strings.TrimSpace("no longer in the configuration; " + h.Summary)
			out = append(out, h)
		}
	}
	return out
}

// hookState is the state of a hook that is on, or may be.
func (c *Core) hookState(d switched) shivx.HookState {
	h := shivx.HookState{Name: d.Name, Level: d.Level, On: d.Undo || d.Phase != phaseFailed, Error: d.Error, Since: d.Since, Summary: d.Summary}
	switch {
	case d.Phase != phaseStarted:
	case c.switching != d.Name:
		h.Error = "its last switching was cut off; it is done again"
	case d.Undo:
		h.Summary = "is being taken back"
	default:
		h.On, h.Summary = false, "is being switched on"
	}
	return h
}

// advised is an error with what can be done about it.
func advised(err error) string {
	if hint := shivx.HintOf(err); hint != "" {
		return err.Error() + " (" + hint + ")"
	}
	return err.Error()
}

// clip bounds what a hook says.
func clip(s string) string {
	s = strings.TrimSpace(s)
	if len(s) <= maxSummary {
		return s
	}
	return strings.ToValidUTF8(s[:maxSummary], "") + "…"
}
