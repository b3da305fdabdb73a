package resilience

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
)

// life is a random life of one host.
type life struct {
	*bench
	r *rand.Rand
	// overrides are the answers given, by key, as long as they are in the ledger for sure.
	overrides map[string]shivx.LevelChange
	restarts  map[string]bool
	fails     bool // hooks may fail, and have other options after a restart
	steady    bool // the ledger always works
}

// fiveHooks are of two plugins and all levels.
func fiveHooks(b *bench) {
	threeHooks(b)
	b.rules.Hooks = append(b.rules.Hooks, hookOf("mail", shivx.Level2), hookOf("search", shivx.LevelEmergency))
	b.rules.Hooks[2].Plugin, b.rules.Hooks[4].Plugin = "http", "http"
}

// TestRandomWalk: whatever happens in whatever order, the changes in the audit have no gap and no
// double, a restart changes nothing, and all load of which the ledger knows is given back in the end.
func TestRandomWalk(t *testing.T) {
	seeds := 30
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &life{
				bench: newBench(t, fiveHooks), r: rand.New(rand.NewPCG(7, uint64(seed))),
				overrides: map[string]shivx.LevelChange{}, restarts: map[string]bool{}, fails: seed%3 > 0, steady: seed%3 < 2,
			}
			for range 70 {
				w.live()
			}
			w.end()
		})
	}
}

func (w *life) live() {
	switch n := w.r.IntN(20); {
	case n < 9:
		memory := []float64{0, 0, 10, 25, 45, 60, 95}[w.r.IntN(7)]
		w.steps(1+w.r.IntN(4), memory)
	case n < 12:
		w.ask()
	case n < 13:
		w.clock.pass(time.Duration(w.r.IntN(40)) * time.Minute)
	case n < 14:
		w.clock.jump(time.Duration(w.r.IntN(120)-60) * time.Minute)
	case n < 16:
		key := fmt.Sprint(w.r.IntN(8))
		if w.core.AddRestart(w.t.Context(), "redis", nil, key) == nil {
			w.restarts[key] = true
		}
	case n < 17:
		w.again()
	case n < 18 && !w.steady:
		w.ledger.set([]string{"", "", "full", "keyed", "liar"}[w.r.IntN(5)])
	case n < 20 && w.fails:
		w.breakHooks()
	}
}

// ask asks for an override, now and then for one that was there before.
func (w *life) ask() {
	key := fmt.Sprint(w.r.IntN(30))
	req := askFor(shivx.Levels()[w.r.IntN(5)], time.Duration(1+w.r.IntN(30))*time.Minute)
	if w.r.IntN(3) == 0 {
		req = shivx.OverrideRequest{End: true, By: "bob"}
	}
	ch, err := w.core.Override(w.t.Context(), key, req)
	before, known := w.overrides[key]
	switch {
	case err != nil:
		require.True(w.t, req.End && w.core.Status().Override == nil && !known, "%v", err)
	case known:
		require.Equal(w.t, before, ch)
	default:
		w.overrides[key] = ch
	}
}

func (w *life) breakHooks() {
	w.world.fail = map[string]error{}
	for _, what := range []string{"shed batch", "shed uploads", "restore batch", "restore reports", "restore mail", "shed search", "restore search"} {
		if w.r.IntN(3) == 0 {
			w.world.fail[what] = errors.New("broken")
		}
	}
}

// again restarts the agent. What waits to be recorded is lost with it; then all that is sure is
// what the ledger holds.
func (w *life) again() {
	lost := len(w.core.outbox) > 0 || w.core.recordNow
	want, err := json.Marshal(w.core.state)
	require.NoError(w.t, err)
	features := w.core.Features()
	if w.fails && w.r.IntN(3) == 0 {
		h := &w.rules.Hooks[w.r.IntN(len(w.rules.Hooks))]
		h.Options = map[string]any{"cmd": w.r.IntN(3)}
	}
	w.restart()
	if !lost {
		got, err := json.Marshal(w.core.state)
		require.NoError(w.t, err)
		require.JSONEq(w.t, string(want), string(got))
		require.Equal(w.t, features.ETag, w.core.Features().ETag)
		return
	}
	// A hook that was switched while the ledger could not be written, by an agent that was killed
	// before it could be, is on and nobody knows: the price of shedding load on a full disk.
	for name := range cloneOf(w.world) {
		if !slices.ContainsFunc(w.core.state.Hooks, func(d switched) bool { return d.Name == name }) {
			delete(w.world.on, name)
		}
	}
	for key := range w.overrides {
		if _, found, _ := w.ledger.Find("box/override/" + key); !found {
			delete(w.overrides, key)
		}
	}
}

func (w *life) end() {
	w.ledger.set("")
	w.world.fail = map[string]error{}
	_, _ = w.core.Override(w.t.Context(), "last", shivx.OverrideRequest{End: true, By: "bob"})
	w.steps(60, 0)
	for range 6 { // one waits for another
		w.clock.pass(maxPause)
		w.steps(1, 0)
	}
	require.Equal(w.t, shivx.LevelNormal, w.level())
	require.Empty(w.t, w.core.state.Hooks)
	require.Empty(w.t, w.world.on)
	require.Empty(w.t, w.core.Status().Notices)

	changes := w.changes()
	require.EqualValues(w.t, len(changes), w.core.Status().Changes)
	inLedger := map[uint64]shivx.LevelChange{}
	for _, ch := range changes {
		inLedger[ch.Number] = ch
	}
	for key, ch := range w.overrides {
		require.Equal(w.t, inLedger[ch.Number], ch, "override %s", key)
	}
	restarts := 0
	for _, r := range w.records() {
		if r.EventType == shivx.EventRestart {
			restarts++
		}
	}
	require.Equal(w.t, restarts, w.core.state.Restarts["redis"])
	require.GreaterOrEqual(w.t, restarts, len(w.restarts))
	if w.steady {
		w.stack()
	}
	report, err := ledger.Verify(w.t.Context(), w.path(), ledger.VerifyOptions{})
	require.NoError(w.t, err)
	require.True(w.t, report.OK, "%+v", report.Findings)
}

// stack checks that of the hooks of each plugin what was shed last was always taken back first, and
// the way it was shed.
func (w *life) stack() {
	on := map[string][]Shedding{}
	for i, s := range w.world.done {
		list := on[s.Hook.Plugin]
		at := slices.IndexFunc(list, func(o Shedding) bool { return o.Hook.Name == s.Hook.Name })
		if !w.world.undo[i] {
			if at >= 0 { // again, after it could not be taken back
				require.Equal(w.t, len(list)-1, at)
				continue
			}
			on[s.Hook.Plugin] = append(list, s)
			continue
		}
		if at < 0 {
			continue // one whose shedding failed
		}
		require.Equal(w.t, len(list)-1, at, "%s was taken back before what was shed later", s.Hook.Name)
		require.Equal(w.t, fmt.Sprint(list[at].Hook.Options), fmt.Sprint(s.Hook.Options))
		on[s.Hook.Plugin] = list[:at]
	}
	for plugin, list := range on {
		require.Empty(w.t, list, plugin)
	}
}
