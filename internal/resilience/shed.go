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

// switched is one switching of a hook: the details of the records shed and unshed. With the kept
// options it is what is needed to take the load back, because the hook may be gone from the
// configuration by then.
type switched struct {
	Name  string      `json:"name"`
	Level shivx.Level `json:"level"`
	// Phase is started, done or failed.
	Phase string `json:"phase"`
	// Undo is true in unshed.
	Undo bool `json:"undo,omitempty"`
	// Number counts the switchings in this ledger.
	Number uint64 `json:"number"`
	Key    string `json:"effect"`
	Use    string `json:"use"`
	// Options is the SHA-256 of the options as JSON, which may hold secrets.
	Options string `json:"options_sha256"`
	// Touched says that the load was shed, or may have been, before the last attempt to shed it:
	// the plugin may have kept values that are older than those of hooks shed since.
	Touched bool `json:"touched,omitempty"`
	// Boot is the start of the machine during which the load was shed.
	Boot    string         `json:"boot,omitempty"`
	Timeout shivx.Duration `json:"timeout"`
	Since   time.Time      `json:"since"`
	Summary string         `json:"summary,omitempty"`
	Error   string         `json:"error,omitempty"`
}

// switched keeps the list of hooks that are on, or may be, in the order in which they were shed. One
// whose shedding failed left nothing behind, so that another attempt puts it at the end.
func (s *state) switched(d switched) {
	s.Switchings = max(s.Switchings, d.Number)
	at := slices.IndexFunc(s.Hooks, func(h switched) bool { return h.Name == d.Name })
	switch {
	case d.Undo && d.Phase == phaseDone:
		if at >= 0 {
			s.Hooks = slices.Delete(s.Hooks, at, at+1)
		}
	case !d.Undo && d.Phase == phaseStarted && at >= 0 && !d.Touched:
		s.Hooks = append(slices.Delete(s.Hooks, at, at+1), d)
	case at >= 0:
		s.Hooks[at] = d
	default:
		s.Hooks = append(s.Hooks, d)
	}
}

// on says that the load is shed for sure and nothing else was tried since.
func (d switched) on() bool { return !d.Undo && d.Phase == phaseDone }

// hook returns the hook as it was configured.
func (d switched) hook(options json.RawMessage) config.Hook {
	h := config.Hook{Name: d.Name, Level: string(d.Level), Use: config.Use{Plugin: d.Use, Timeout: d.Timeout.Std()}}
	dec := json.NewDecoder(bytes.NewReader(options))
	dec.UseNumber() // as they were written, whatever their size
	_ = dec.Decode(&h.Options)
	return h
}

// doneAs says whether the load was shed the way hook says now.
func (d switched) doneAs(h config.Hook) bool {
	return d.Use == h.Plugin && d.Options == sumOf(optionsOf(h))
}

// optionsOf returns the options as one JSON object with sorted names.
func optionsOf(h config.Hook) json.RawMessage {
	data, _ := h.OptionsJSON() // read from YAML or JSON
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
	// stuck says that taking the hook back failed once, or that one which was to make way did.
	stuck bool
	again time.Duration   // when it may be tried again
	busy  <-chan struct{} // closed when an attempt has ended that did not end in time; nil: none
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

// wanted says whether the hook is to stay as it is.
func (h *hooks) wanted(s state, d switched) bool {
	cfg, configured := h.find(d.Name)
	return configured && asks(s.Level, cfg) && d.doneAs(cfg)
}

// next returns the switching that is due now: what is on and should not be is taken back; then what
// the level asks for is shed, in order. A hook whose options changed is taken back the old way before
// it is shed the new way.
func (h *hooks) next(s state, now time.Duration) (switched, bool) {
	if d, ok := h.nextUndo(s, now); ok {
		return d, true
	}
	for _, d := range s.Hooks { // cut off: it goes on before another takes what it left for what was before
		if d.Phase == phaseStarted && !d.Undo && h.wanted(s, d) && h.due(d.Name, false, now) {
			cfg, _ := h.find(d.Name)
			d.Touched = true
			return d.again(cfg), true
		}
	}
	for _, cfg := range h.list {
		at := slices.IndexFunc(s.Hooks, func(d switched) bool { return d.Name == cfg.Name })
		if !asks(s.Level, cfg) || !h.due(cfg.Name, false, now) {
			continue
		}
		d := switched{Name: cfg.Name, Use: cfg.Plugin, Options: sumOf(optionsOf(cfg))}
		if at >= 0 {
			d = s.Hooks[at]
			if d.on() || !d.doneAs(cfg) || d.Touched && covered(s.Hooks, at) {
				continue
			}
		}
		return d.again(cfg), true
	}
	return switched{}, false
}

// again is d to be shed as the hook is configured now, with the same options.
func (d switched) again(cfg config.Hook) switched {
	d.Level, d.Timeout, d.Undo = shivx.Level(cfg.Level), shivx.Duration(cfg.Timeout), false
	return d
}

// nextUndo returns what is to be taken back now. The hooks of one plugin are a stack, because each
// may have kept what another set: one is taken back only when those shed after it are off. Younger
// ones that are to stay make way, once, and are shed again afterwards; when that did not help, the
// older one waits until they are off by themselves.
func (h *hooks) nextUndo(s state, now time.Duration) (switched, bool) {
	held := map[string]bool{} // by plugin
	for i, d := range slices.Backward(s.Hooks) {
		goes := !h.wanted(s, d) || slices.ContainsFunc(s.Hooks[:i], func(older switched) bool {
			return older.Use == d.Use && !h.wanted(s, older) && !h.stuck(older.Name)
		})
		if goes && !held[d.Use] && h.due(d.Name, true, now) {
			d.Undo = true
			return d, true
		}
		held[d.Use] = held[d.Use] || d.effective()
	}
	return switched{}, false
}

// effective says whether the hook may have had an effect; one whose shedding just failed has not.
func (d switched) effective() bool { return d.Undo || d.Touched || d.Phase != phaseFailed }

// covered says whether a hook of the same plugin was shed after the one at i.
func covered(list []switched, i int) bool {
	return slices.ContainsFunc(list[i+1:], func(d switched) bool { return d.Use == list[i].Use && d.effective() })
}

func (h *hooks) stuck(name string) bool {
	t := h.tries[name]
	return t != nil && t.undo && t.stuck
}

// undoFailed notes that d could not be taken back, for itself and for those that wait for it.
func (h *hooks) undoFailed(s state, d switched) {
	for _, o := range s.Hooks {
		if o.Name == d.Name || o.Use == d.Use && !h.wanted(s, o) {
			o.Undo = true
			h.attempt(o).stuck = true
		}
		if o.Name == d.Name {
			return
		}
	}
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
