package resilience

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// Shedder switches load-shedding hooks. Both methods end with ctx, and are safe to call again with
// the same Key, also when the effect took place before.
type Shedder interface {
	// Shed sheds the load; summary is one line for people.
	Shed(ctx context.Context, s Shedding) (summary string, err error)
	// Restore takes that back, or does nothing where nothing was shed.
	Restore(ctx context.Context, s Shedding) (summary string, err error)
}

// Shedding is one time a hook sheds load, until that is taken back.
type Shedding struct {
	// Hook as it was configured when the load was shed.
	Hook config.Hook
	// Key is the same for each attempt to shed the load this time, and to take it back.
	Key string
	// Reason says why the hook is switched.
	Reason string
}

// The phases of a switching.
const (
	phaseStarted = "started"
	phaseDone    = "done"
	phaseFailed  = "failed"
)

// switched is one switching of a hook: the details of the records shed and unshed. It holds what is
// needed to take it back, because the hook may be gone from the configuration by then.
type switched struct {
	Name  string      `json:"name"`
	Level shivx.Level `json:"level"`
	// Phase is started, done or failed.
	Phase string `json:"phase"`
	// Undo is true in unshed.
	Undo bool `json:"undo,omitempty"`
	// Number counts the switchings in this ledger.
	Number  uint64          `json:"number"`
	Key     string          `json:"effect"`
	Use     string          `json:"use"`
	With    json.RawMessage `json:"with,omitempty"`
	Timeout shivx.Duration  `json:"timeout"`
	Since   time.Time       `json:"since"`
	Summary string          `json:"summary,omitempty"`
	Error   string          `json:"error,omitempty"`
}

// switched keeps the list of hooks that are on, or may be, in the order of their last shedding.
func (s *state) switched(d switched) {
	s.Switchings = max(s.Switchings, d.Number)
	at := slices.IndexFunc(s.Hooks, func(h switched) bool { return h.Name == d.Name })
	switch {
	case d.Undo && d.Phase == phaseDone:
		if at >= 0 {
			s.Hooks = slices.Delete(s.Hooks, at, at+1)
		}
	case !d.Undo && d.Phase == phaseStarted:
		if at >= 0 {
			s.Hooks = slices.Delete(s.Hooks, at, at+1)
		}
		s.Hooks = append(s.Hooks, d)
	case at >= 0:
		s.Hooks[at] = d
	default:
		s.Hooks = append(s.Hooks, d)
	}
}

// on says that the load is shed for sure and nothing else was tried since.
func (d switched) on() bool { return !d.Undo && d.Phase == phaseDone }

// hook returns the hook as it was configured.
func (d switched) hook() config.Hook {
	h := config.Hook{Name: d.Name, Level: string(d.Level), Use: config.Use{Plugin: d.Use, Timeout: d.Timeout.Std()}}
	dec := json.NewDecoder(bytes.NewReader(d.With))
	dec.UseNumber() // as they were written, whatever their size
	_ = dec.Decode(&h.Options)
	return h
}

// doneAs says whether the load was shed the way hook says now.
func (d switched) doneAs(h config.Hook) bool {
	return d.Use == h.Plugin && bytes.Equal(optionsOf(d.hook()), optionsOf(h))
}

// optionsOf returns the options as one JSON object with sorted names.
func optionsOf(h config.Hook) json.RawMessage {
	if len(h.Options) == 0 {
		return nil
	}
	data, _ := json.Marshal(h.Options) // read from YAML or JSON
	return data
}

// hooks are the configured ones in the order of shedding, and what is known of each by name.
type hooks struct {
	list []config.Hook
	// turn is held by whoever switches hooks.
	turn chan struct{}
	// woken asks the goroutine that switches to look again.
	woken chan struct{}
	// tries is owned by whoever has the turn.
	tries map[string]*tries
}

// tries are failures in a row to switch a hook in one direction.
type tries struct {
	undo   bool
	failed int
	again  time.Duration   // when it may be tried again
	busy   <-chan struct{} // closed when an attempt has ended that did not end in time; nil: none
}

// newHooks puts the hooks in order: those of the mildest level first, then as configured.
func newHooks(configured []config.Hook) *hooks {
	list := slices.Clone(configured)
	slices.SortStableFunc(list, func(a, b config.Hook) int {
		return cmp.Compare(shivx.Level(a.Level).Rank(), shivx.Level(b.Level).Rank())
	})
	return &hooks{list: list, turn: make(chan struct{}, 1), woken: make(chan struct{}, 1), tries: map[string]*tries{}}
}

func (h *hooks) wake() { wake(h.woken) }

// find returns the configured hook of that name.
func (h *hooks) find(name string) (config.Hook, bool) {
	i := slices.IndexFunc(h.list, func(c config.Hook) bool { return c.Name == name })
	if i < 0 {
		return config.Hook{}, false
	}
	return h.list[i], true
}

// asks says whether level asks for the hook.
func asks(level shivx.Level, h config.Hook) bool { return !shivx.Level(h.Level).WorseThan(level) }

// next returns the switching that is due now: what is on and should not be is taken back, newest
// first; then what the level asks for is shed, in order. A hook whose options changed is taken back
// the old way before it is shed the new way.
func (h *hooks) next(s state, now time.Duration) (switched, bool) {
	left := map[string]switched{}
	for _, d := range slices.Backward(s.Hooks) {
		cfg, configured := h.find(d.Name)
		if configured && asks(s.Level, cfg) && d.doneAs(cfg) {
			left[d.Name] = d
			continue
		}
		if h.due(d.Name, true, now) {
			d.Undo = true
			return d, true
		}
		left[d.Name] = d
	}
	for _, cfg := range h.list {
		d, known := left[cfg.Name]
		if !asks(s.Level, cfg) || known && (d.on() || !d.doneAs(cfg)) || !h.due(cfg.Name, false, now) {
			continue
		}
		if !known {
			d = switched{Name: cfg.Name, Use: cfg.Plugin, With: optionsOf(cfg)}
		}
		d.Level, d.Timeout, d.Undo = shivx.Level(cfg.Level), shivx.Duration(cfg.Timeout), false
		return d, true
	}
	return switched{}, false
}

// due says whether a hook may be switched now; a change of direction does not wait.
func (h *hooks) due(name string, undo bool, now time.Duration) bool {
	t := h.tries[name]
	return t == nil || t.undo != undo || now >= t.again
}

// Pauses between two attempts to switch a hook.
const (
	firstPause = 10 * time.Second
	maxPause   = 10 * time.Minute
)

// attempt returns the tries of a hook in one direction; another direction starts anew.
func (h *hooks) attempt(d switched) *tries {
	t := h.tries[d.Name]
	switch {
	case t == nil:
		t = &tries{undo: d.Undo}
	case t.undo != d.Undo:
		t = &tries{undo: d.Undo, busy: t.busy}
	}
	h.tries[d.Name] = t
	return t
}

// note counts an attempt.
func (h *hooks) note(d switched, err error, now time.Duration) {
	t := h.attempt(d)
	if err == nil {
		t.failed, t.again = 0, 0
		return
	}
	t.again = now + min(firstPause<<min(t.failed, 16), maxPause)
	t.failed++
}

// hurry ends all pauses.
func (h *hooks) hurry() {
	for _, t := range h.tries {
		t.again, t.failed = 0, 0
	}
}
