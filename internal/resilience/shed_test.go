package resilience

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
)

// threeHooks are written in another order than that of their levels.
func threeHooks(b *bench) {
	b.rules.Hooks = []config.Hook{hookOf("uploads", shivx.Level3), hookOf("batch", shivx.Level1), hookOf("reports", shivx.Level1)}
}

func (b *bench) hook(name string) shivx.HookState {
	b.t.Helper()
	for _, h := range b.core.Status().Hooks {
		if h.Name == name {
			return h
		}
	}
	b.t.Fatalf("no hook %s", name)
	return shivx.HookState{}
}

// switchings reads the records of hooks, as in "shed batch done".
func (b *bench) switchings() (out []string) {
	b.t.Helper()
	for _, r := range b.records() {
		if r.EventType == shivx.EventShed || r.EventType == shivx.EventUnshed {
			d := r.Details.(map[string]any)
			out = append(out, fmt.Sprint(r.EventType, " ", d["name"], " ", d["phase"]))
		}
	}
	return out
}

func TestHooksAreShedInOrderAndTakenBackInTheOpposite(t *testing.T) {
	b := newBench(t, threeHooks)
	b.steps(2, 90)
	require.Equal(t, []string{"shed batch", "shed reports", "shed uploads"}, b.world.taken())
	require.Equal(t, shivx.HookState{Name: "batch", Level: shivx.Level1, On: true, Since: b.clock.Now(), Summary: "shed batch done"}, b.hook("batch"))
	b.steps(40, 0)
	require.Equal(t, []string{"restore uploads", "restore reports", "restore batch"}, b.world.taken())
	require.False(t, b.hook("batch").On)
	require.Empty(t, b.core.state.Hooks)
	require.Equal(t, []string{
		"shed batch started", "shed batch done", "shed reports started", "shed reports done", "shed uploads started", "shed uploads done",
		"unshed uploads started", "unshed uploads done", "unshed reports started", "unshed reports done", "unshed batch started", "unshed batch done",
	}, b.switchings())
	got := b.world.got
	require.Equal(t, got[0].Key, got[5].Key, "shedding and taking back have one key")
	require.NotEqual(t, got[0].Key, got[1].Key)
	b.steps(2, 30)
	require.NotEqual(t, got[0].Key, b.world.got[6].Key, "another time has another key")
	require.Contains(t, b.world.got[6].Reason, "score below")
}

func TestOptionsSurviveTheLedgerUnchanged(t *testing.T) {
	b := newBench(t, threeHooks)
	b.steps(2, 90)
	b.rules.Hooks = nil
	b.restart()
	require.Contains(t, b.hook("batch").Summary, "no longer in the configuration")
	b.steps(1, 90)
	require.Equal(t, []string{"shed batch", "shed reports", "shed uploads", "restore uploads", "restore reports", "restore batch"}, b.world.taken())
	was, err := json.Marshal(b.world.got[0].Hook)
	require.NoError(t, err)
	is, err := json.Marshal(b.world.got[5].Hook)
	require.NoError(t, err)
	require.Equal(t, string(was), string(is))
	require.Contains(t, string(is), "1152921504606846976")
	require.Empty(t, b.core.Status().Hooks)
}

func TestHookWhoseOptionsChangedIsTakenBackTheOldWay(t *testing.T) {
	b := newBench(t, threeHooks, func(b *bench) { b.rules.Hooks[2].Plugin = "http" })
	b.steps(2, 30)
	b.rules.Hooks[1].Options = map[string]any{"cmd": "other"}
	b.rules.Hooks[2].Timeout = time.Minute // no reason to do anything
	b.restart()
	b.world.fail["restore batch"] = errors.New("busy")
	b.steps(1, 30)
	require.Equal(t, []string{"shed batch", "shed reports", "restore batch"}, b.world.taken())
	require.Equal(t, "busy", b.hook("batch").Error)
	b.world.fail = map[string]error{}
	b.steps(3, 30)
	require.Equal(t, []string{"restore batch", "shed batch"}, b.world.taken())
	require.Equal(t, "other", b.world.got[4].Hook.Options["cmd"])
	require.NotEqual(t, "other", b.world.got[3].Hook.Options["cmd"])
	require.True(t, b.hook("batch").On)
}

func TestFailingHooksDoNotStopOthers(t *testing.T) {
	b := newBench(t, threeHooks, func(b *bench) { b.rules.Hooks[2].Plugin = "http" })
	b.world.fail["shed batch"] = shivx.Hint(errors.New("no such unit"), "install it")
	b.steps(2, 30)
	require.Equal(t, []string{"shed batch", "shed reports"}, b.world.taken())
	require.Equal(t, shivx.HookState{
		Name: "batch", Level: shivx.Level1, Error: "no such unit (install it)", Since: b.clock.Now(),
	}, b.hook("batch"))
	b.steps(1, 30)
	require.Empty(t, b.world.taken(), "it is given a pause")
	b.steps(1, 30)
	require.Equal(t, []string{"shed batch"}, b.world.taken())
	b.steps(3, 30)
	require.Empty(t, b.world.taken(), "which grows")
	states, err := b.core.Reconcile(t.Context())
	require.ErrorContains(t, err, "hook batch: no such unit")
	require.Len(t, states, 3)
	require.Equal(t, []string{"shed batch"}, b.world.taken(), "but who asks does not wait")
	b.world.fail = map[string]error{"restore batch": errors.New("stuck")}
	_, err = b.core.Reconcile(t.Context())
	require.NoError(t, err)
	b.world.taken()

	b.steps(3, 0) // back to NORMAL
	require.Equal(t, shivx.LevelNormal, b.level())
	require.Equal(t, []string{"restore batch", "restore reports"}, b.world.taken(), "batch was shed last")
	require.True(t, b.hook("batch").On)
	require.Equal(t, "stuck", b.hook("batch").Error)
	b.restart()
	require.Equal(t, "stuck", b.hook("batch").Error)
	b.steps(1, 0)
	require.Equal(t, []string{"restore batch"}, b.world.taken())
	b.world.fail = map[string]error{}
	b.steps(3, 0)
	require.Equal(t, []string{"restore batch"}, b.world.taken())
	require.Equal(t, shivx.HookState{Name: "batch", Level: shivx.Level1, Since: b.clock.Now().Add(-every), Summary: "restore batch done"}, b.hook("batch"))
}

func TestLevelThatChangesMeanwhileIsFollowed(t *testing.T) {
	b := newBench(t, threeHooks)
	b.world.during = func(_ context.Context, what string, _ Shedding) {
		if what == "shed batch" { // while it is under way an operator says that all is well
			require.Equal(t, "is being switched on", b.hook("batch").Summary)
			b.override("", askFor(shivx.LevelNormal, time.Hour))
		}
	}
	b.steps(2, 90)
	require.Equal(t, []string{"shed batch", "restore batch"}, b.world.taken())
}

func TestSlowHookDelaysNothingElse(t *testing.T) {
	b := newBench(t, threeHooks)
	under, release := make(chan struct{}), make(chan struct{})
	b.world.during = func(_ context.Context, what string, _ Shedding) {
		if what == "shed batch" {
			close(under)
			<-release
		}
	}
	snapshots := make(chan *Snapshot, 10)
	b.core.OnFeatures(func(s *Snapshot) { snapshots <- s })
	b.run()
	b.clock.idle()
	b.set(30)
	b.clock.beat()
	b.clock.beat()
	<-under
	require.Equal(t, shivx.Level1, (<-snapshots).Level)
	b.set(90)
	b.clock.beat()
	b.clock.beat()
	require.Equal(t, shivx.LevelEmergency, (<-snapshots).Level, "while the hook is under way")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.core.Reconcile(ctx)
	require.ErrorIs(t, err, context.Canceled)
	close(release)
	states, err := b.core.Reconcile(t.Context())
	require.NoError(t, err)
	for _, h := range states {
		require.True(t, h.On)
	}
}

func TestHookIsBoundByItsTimeout(t *testing.T) {
	b := newBench(t, threeHooks, func(b *bench) { b.rules.Hooks[1].Timeout = 10 * time.Millisecond })
	release := make(chan struct{})
	b.world.during = func(_ context.Context, what string, _ Shedding) {
		if what == "shed batch" {
			<-release // heeds no context
		}
		if what == "shed reports" {
			panic("nil map")
		}
	}
	b.steps(2, 30)
	require.Equal(t, "it did not end within 10ms", b.hook("batch").Error)
	require.Equal(t, "the hook panicked: nil map", b.hook("reports").Error)
	_, err := b.core.Reconcile(t.Context())
	require.ErrorContains(t, err, "an earlier attempt has not ended yet")
	busy := b.core.hooks.tries["batch"].busy
	close(release)
	<-busy
	b.world.during = nil
	_, err = b.core.Reconcile(t.Context())
	require.NoError(t, err)
}

func TestShutdownLeavesTheHookToTheNextStart(t *testing.T) {
	b := newBench(t, threeHooks)
	under := make(chan struct{})
	b.world.during = func(ctx context.Context, what string, _ Shedding) {
		if what == "shed reports" {
			close(under)
			<-ctx.Done()
		}
	}
	stop := b.run()
	b.clock.idle()
	b.set(30)
	b.clock.beat()
	b.clock.beat()
	<-under
	stop()
	require.Equal(t, []string{"shed batch started", "shed batch done", "shed reports started"}, b.switchings())
	b.world.during = nil
	b.restart()
	require.Equal(t, "its last switching was cut off; it is done again", b.hook("reports").Error)
	key := b.core.state.Hooks[1].Key
	b.steps(1, 30)
	require.Equal(t, []string{"shed batch", "shed reports"}, b.world.taken())
	require.Equal(t, key, b.world.got[1].Key, "the same effect, done again")
}

// TestKilledAtEveryRecord goes on from a copy of the ledger taken at each append, with the host as
// it was before and after the effect under way: all load must be given back in the end.
func TestKilledAtEveryRecord(t *testing.T) {
	b := newBench(t, threeHooks)
	type point struct {
		dir    string
		worlds []map[string]bool // as the host may be
		last   string
	}
	var points []point
	b.ledger.after = func(r ledger.Record) {
		p := point{dir: copyLedger(t, b.dir), worlds: []map[string]bool{cloneOf(b.world)}}
		var rec struct {
			EventType string `json:"event_type"`
			Details   switched
		}
		if json.Unmarshal(r.Raw, &rec) == nil && rec.Details.Phase == phaseStarted {
			done := cloneOf(b.world)
			if delete(done, rec.Details.Name); !rec.Details.Undo {
				done[rec.Details.Name] = true
			}
			p.worlds = append(p.worlds, done)
		}
		p.last = rec.EventType + " " + rec.Details.Name + " " + rec.Details.Phase
		points = append(points, p)
	}
	b.steps(3, 30)
	b.steps(2, 90)
	b.override("k", askFor(shivx.Level1, time.Hour))
	b.steps(2, 90)
	b.override("l", shivx.OverrideRequest{End: true, By: "ann"})
	b.steps(2, 90)
	b.steps(30, 0)
	require.Greater(t, len(points), 25)
	for i, p := range points {
		for variant, on := range p.worlds {
			for _, gone := range []bool{false, true} {
				name := fmt.Sprintf("%d %s/%d/gone=%v", i, p.last, variant, gone)
				after := newBench(t, threeHooks, func(a *bench) {
					a.dir = p.dir
					if variant+1 < len(p.worlds) || !gone {
						a.dir = copyLedger(t, p.dir)
					}
					a.clock.pass(time.Hour / 2)
					for hook := range on {
						a.world.on[hook] = true
					}
					if gone {
						a.rules.Hooks = nil
					}
				})
				for hook := range on {
					require.True(t, slices.ContainsFunc(after.core.state.Hooks, func(d switched) bool { return d.Name == hook }),
						"%s: %s is on and nothing says so", name, hook)
				}
				after.steps(30, 0)
				if o := after.core.Status().Override; o != nil {
					after.override("", shivx.OverrideRequest{End: true, By: "ann"})
					after.steps(1, 0)
				}
				require.Equal(t, shivx.LevelNormal, after.level(), name)
				require.Empty(t, after.world.on, name)
				require.Empty(t, after.core.state.Hooks, name)
				after.changes()
				require.NoError(t, after.ledger.Close())
			}
		}
	}
}

func cloneOf(w *world) map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.on)
}

func TestUnrecordableDetailsBlockNothing(t *testing.T) {
	b := newBench(t, threeHooks)
	b.rules.Hooks[1].Options["cmd"] = strings.Repeat("x", 2<<20)
	b.restart()
	b.steps(2, 90)
	require.Equal(t, []string{"shed batch", "shed reports", "shed uploads"}, b.world.taken())
	require.Empty(t, b.core.Status().Notices)
	require.Len(t, b.changes(), 1)
}
