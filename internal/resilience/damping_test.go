package resilience

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// TestRestartsDoNotForgiveRelapses: a square wave with a restart of the agent in each period keeps
// to the bound that docs/RESILIENCE.md gives for it.
func TestRestartsDoNotForgiveRelapses(t *testing.T) {
	const doublings, levels, periods = 5, 4, 480 // 12.7 hours
	b := newBench(t, func(b *bench) { b.rules.Levels = defaultLevels() })
	for range periods {
		b.steps(int(20*time.Second/every), 90)
		b.steps(int(75*time.Second/every), 0)
		b.restart()
	}
	n := len(b.changes())
	t.Logf("%d changes", n)
	require.LessOrEqual(t, n, 1+doublings*(levels+1))
}

// TestRestartsDoNotHelpAnAdversary: who strikes as soon as the host has recovered, and has the
// agent restarted all the time, brings about no more flaps in a day than docs/RESILIENCE.md allows.
func TestRestartsDoNotHelpAnAdversary(t *testing.T) {
	const doublings, halfHours = 5, 48
	for _, samples := range []int{15, 30, 100, 700, 5000} {
		w := newWalk(t, defaultLevels(), shivx.LevelNormal)
		for n := 0; w.at < 24*time.Hour; n++ {
			if w.scores(100); w.m.Level() == shivx.LevelNormal {
				w.during(10*time.Second, 70)
			}
			if n%samples == 0 || n%3 == 0 && w.m.Level() == shivx.LevelNormal {
				before := w.m
				w.m = NewMachine(defaultLevels(), 0.5, before.Level())
				w.m.restore(before.damping())
			}
		}
		require.LessOrEqual(t, strings.Count(directions(w.changes), "ud"), doublings+2*halfHours)
	}
}

// TestDampingIsReadBack: the wait, and what forgives it, go on where they were, whatever the wall
// clock and the time away.
func TestDampingIsReadBack(t *testing.T) {
	for name, away := range map[string]func(*bench){
		"at once":            func(*bench) {},
		"two days later":     func(b *bench) { b.clock.pass(48 * time.Hour) },
		"clock jumped ahead": func(b *bench) { b.clock.jump(48 * time.Hour) },
		"clock jumped back":  func(b *bench) { b.clock.jump(-48 * time.Hour) },
		"machine restarted":  func(b *bench) { b.clock.elapsed = time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(b *bench) { b.rules.Levels = defaultLevels() })
			again := func() {
				away(b)
				b.restart()
			}
			// relapse falls to LEVEL_1 and returns how long it took to rise from there, the agent
			// being restarted before the fall and after it.
			relapse := func() time.Duration {
				again()
				b.steps(2, 30)
				require.Equal(t, shivx.Level1, b.level())
				again()
				n := 0
				for ; b.level() != shivx.LevelNormal; n++ {
					b.steps(1, 0)
				}
				return time.Duration(n-1) * every
			}
			for _, want := range []time.Duration{1, 2, 4, 8, 16} {
				require.Equal(t, want*time.Minute, relapse())
			}
			b.steps(int(20*time.Minute/every), 0)
			again()
			b.steps(int(9*time.Minute/every), 0)
			require.Equal(t, 16*time.Minute, b.core.machine.wait, "half an hour is not over")
			again()
			b.steps(int(3*time.Minute/every), 0)
			require.Equal(t, 8*time.Minute, b.core.machine.wait, "half an hour in all; at most a minute is lost at each restart")
			b.steps(int(2*time.Hour/every), 0)
			require.Nil(t, b.core.machine.damping(), "nothing is left to remember")
			require.Equal(t, time.Minute, relapse())
		})
	}
}

func TestDampingOutOfBounds(t *testing.T) {
	for _, d := range []damping{
		{WaitSeconds: -5, Recovered: true, RisenSeconds: -1e300, WellSeconds: 1e300},
		{WaitSeconds: 1e300, Recovered: true, RisenSeconds: 1e300, WellSeconds: -1e300}, {},
	} {
		w := newWalk(t, defaultLevels(), shivx.Level1)
		w.m.restore(&d)
		require.GreaterOrEqual(t, w.m.wait, time.Minute)
		require.LessOrEqual(t, w.m.wait, 30*time.Minute)
		w.during(32*time.Minute, 90)
		require.Equal(t, []shivx.Level{shivx.LevelNormal}, w.changes)
	}
}
