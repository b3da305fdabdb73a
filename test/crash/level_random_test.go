package crash_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/test/stand"
)

// TestLevelKilledAtRandom fills and empties a disk again and again and kills agent, server or both
// in the middle.
func TestLevelKilledAtRandom(t *testing.T) {
	kills := 21
	if short() {
		kills = 3
	}
	rnd := rand.New(rand.NewPCG(seed, seed))
	v := newHouse(t).vital(t, "tides", "")
	changes := 0
	for n := range kills {
		who := []string{worker, both, server}[n%3]
		v.tide(rnd, func(wait time.Duration) {
			time.Sleep(wait) // the random moment itself
			v.kill(who)
			time.Sleep(wait)
		})
		level := shivx.Levels()[rnd.IntN(5)]
		stand.Fill(t, v.disk, fillFor[level])
		before, began := changes, time.Now()
		changes = len(v.settle(level))
		t.Logf("%2d: %-6s killed, %2d changes, at %s after %s", n+1, who, changes-before, level, time.Since(began).Round(10*time.Millisecond))
	}
	require.Greater(t, changes, 2*kills)
	t.Logf("%d changes and %d hooks cut off", changes, v.cutOff)
}

// kill kills at once, as in a loss of power for both.
func (v *vitalHost) kill(who string) {
	var all sync.WaitGroup
	if who != worker {
		all.Go(v.server.Kill)
	}
	if who != server {
		all.Go(v.agent.Kill)
	}
	all.Wait()
}

// tide lets the disk fill up and empty at random while during runs.
func (v *vitalHost) tide(rnd *rand.Rand, during func(wait time.Duration)) {
	wait := time.Duration(300+rnd.IntN(1200)) * time.Millisecond
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			stand.Fill(v.t, v.disk, fillFor[shivx.Levels()[rnd.IntN(5)]])
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(150+rnd.IntN(400)) * time.Millisecond):
			}
		}
	}()
	during(wait)
	close(stop)
	<-ended
}

// TestKilledWithAnOverrideRecorded kills when an override is in the audit and whoever asked for it
// has no answer yet. The answer comes, and there is one override.
func TestKilledWithAnOverrideRecorded(t *testing.T) {
	h := newHouse(t)
	for _, who := range []string{both, worker} {
		if short() && who != both {
			continue
		}
		t.Run(who, func(t *testing.T) {
			v := h.vital(t, "asked-"+who, "level:after")
			v.settle(shivx.LevelNormal)
			v.arm(who)
			out, code := v.shivx("level", "set", "LEVEL_3", "--for", "1h", "--why", "cut off", "--by", "ana")
			v.awaitBlast()
			v.checkDeaths(who)
			if who == worker {
				require.Zero(t, code, out) // a server that dies may take the question with it
			}
			changes := v.settle(shivx.Level3)
			require.Len(t, changes, 1)
			out, code = v.shivx("level", "clear", "--by", "ana")
			require.Zero(t, code, out)
			require.Len(t, v.settle(shivx.LevelNormal), 2)
		})
	}
}

// TestOverridesKilledAtRandom kills at any time while overrides are set and ended, through Temporal
// and on the host. Each has at most one change, and one that was acknowledged has it.
func TestOverridesKilledAtRandom(t *testing.T) {
	kills := 15
	if short() {
		kills = 2
	}
	rnd := rand.New(rand.NewPCG(seed, seed+1))
	v := newHouse(t).vital(t, "asked", "")
	v.settle(shivx.LevelNormal)
	var acknowledged []string
	for n := range kills {
		why, who := fmt.Sprintf("round %d", n), []string{worker, both, server}[n%3]
		args := []string{"level", "set", string(shivx.Levels()[1+rnd.IntN(4)]), "--for", "1h", "--why", why, "--by", "ana"}
		if rnd.IntN(3) == 0 {
			args = append(args, "--local")
		}
		if rnd.IntN(3) == 0 {
			args = []string{"level", "clear", "--why", why, "--by", "ana"}
		}
		wait := time.Duration(rnd.IntN(400)) * time.Millisecond
		var out string
		code := -1
		var asked sync.WaitGroup
		asked.Go(func() { out, code = v.shivx(args...) })
		time.Sleep(wait) // the random moment itself
		v.kill(who)
		asked.Wait()
		t.Logf("%2d: %v, %s killed after %s: exit %d %.150s", n+1, args[1:], who, wait, code, out)
		if code == 0 {
			acknowledged = append(acknowledged, why)
		}
		v.server.Await()
	}
	// The runbook takes one request after the other: what came before this one is done or never will be.
	stand.Await(t, patience, "the last override", func(context.Context) bool {
		_, code := v.shivx("level", "set", "LEVEL_1", "--for", "1h", "--why", "the last", "--by", "ana")
		return code == 0
	})
	changes := v.settle(shivx.Level1)
	for n := range kills {
		why, found := fmt.Sprintf("round %d", n), 0
		for _, c := range changes {
			if c.Cause == shivx.CauseOverride && c.Override.Why == why || c.Cause == shivx.CauseOverrideEnd && strings.Contains(c.Reason, "("+why+")") {
				found++
			}
		}
		require.LessOrEqual(t, found, 1, "changes of %s", why)
		if slices.Contains(acknowledged, why) {
			require.Equal(t, 1, found, "%s was acknowledged", why)
		}
	}
	out, code := v.shivx("level", "clear", "--local", "--by", "ana")
	require.Zero(t, code, out)
	v.settle(shivx.LevelNormal)
}

// shivx runs the command on the host, for this host, and returns what it said with its exit code.
func (v *vitalHost) shivx(args ...string) (string, int) {
	if !slices.Contains(args, "--local") {
		args = append(args, "--host", v.name)
	}
	return v.agent.Shivx(v.server, args...)
}
