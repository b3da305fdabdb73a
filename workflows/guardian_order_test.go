package workflows_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// shuffled returns all of the list, some of it up to three times, in any order.
func shuffled[T any](rng *rand.Rand, list []T) []T {
	out := slices.Clone(list)
	for range len(list) {
		out = append(out, list[rng.IntN(len(list))])
	}
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// orders is in how many orders the same is told.
const orders = 4

func TestIsolationDoesNotDependOnTheOrderInWhichItIsTold(t *testing.T) {
	outcomes := map[string]int{}
	for seed := range 150 {
		rng := rand.New(rand.NewPCG(uint64(seed), 1))
		r := newIsolating(t)
		var said []shivx.Isolation
		for range 1 + rng.IntN(8) {
			// Few different times, so that statements are made at the same one.
			made, term := -time.Duration(rng.IntN(6))*time.Minute, time.Duration(rng.IntN(4))*10*time.Minute
			i := r.begun(fmt.Sprint("h", rng.IntN(3)), made, term)
			i.Offence = rng.IntN(4)
			if term == 0 {
				i.Until = time.Time{}
			}
			switch rng.IntN(4) {
			case 0:
				i = r.lifted(i, made)
			case 1:
				i.Since, i.By = i.Since.Add(-time.Hour), "ana"
			}
			said = append(said, i)
		}
		var first shivx.Isolation
		for order := range orders {
			r := newIsolating(t)
			told := shuffled(rng, said)
			r.at(0, func() {
				for _, i := range told {
					if i.Lifted && rng.IntN(2) == 0 {
						r.env.SignalWorkflow(shivx.SignalRestore, i)
						continue
					}
					r.isolate(i)
				}
			})
			r.at(366*24*time.Hour, func() { r.env.CancelWorkflow() }) // of what has no end
			var got shivx.Isolation
			r.at(time.Second, func() { got = r.last() })
			res := r.told()
			if got.Source == "" {
				got = r.last()
			}
			if order == 0 {
				first = got
				outcomes[fmt.Sprint(res.Outcome, first.Until.IsZero())]++
			}
			require.Equal(t, first, got, "seed %d: %+v", seed, told)
		}
	}
	require.Len(t, outcomes, 3, "every end is among the cases: %v", outcomes)
}

func TestDefenseDoesNotDependOnTheOrderInWhichItIsTold(t *testing.T) {
	type word struct {
		threat *shivx.Threat
		mode   *shivx.ModeChange
	}
	modes := map[shivx.DefenseMode]int{}
	for seed := range 200 {
		rng := rand.New(rand.NewPCG(uint64(seed), 2))
		r := newDefending(t)
		var said []word
		for n := range 4 + rng.IntN(12) {
			host, at := fmt.Sprint("h", rng.IntN(3)), -time.Duration(rng.IntN(40))*time.Minute/2
			if rng.IntN(4) > 0 {
				said = append(said, word{threat: &shivx.Threat{ID: fmt.Sprint(n), Host: host, Level: shivx.ThreatHigh, At: r.began.Add(at)}})
				continue
			}
			c := r.locked(host, at, time.Duration(rng.IntN(3))*10*time.Minute)
			switch rng.IntN(5) {
			case 0, 1:
				c = r.ended(host, "ana", at)
			case 2:
				c = r.ended(host, "ana", at)
				c.From = shivx.DefenseElevated
			case 3:
				c = r.ended(host, shivx.Guardian, at)
			}
			said = append(said, word{mode: &c})
		}
		var first, firstEnd shivx.FleetMode
		for order := range orders {
			r := newDefending(t)
			told := shuffled(rng, said)
			r.at(time.Second, func() {
				for _, w := range told {
					if w.threat != nil {
						r.env.SignalWorkflow(shivx.SignalThreat, *w.threat)
						continue
					}
					r.mode(*w.mode)
				}
			})
			var got shivx.FleetMode
			r.at(time.Minute, func() { got = r.status().Shown })
			end := r.run(2 * time.Hour).Shown
			if order == 0 {
				first, firstEnd = got, end
				modes[got.To]++
				continue
			}
			require.Equal(t, first.To, got.To, "seed %d", seed)
			require.Equal(t, first.RestoredAt, got.RestoredAt, "seed %d", seed)
			require.Equal(t, firstEnd.To, end.To, "seed %d", seed)
			switch got.To {
			case shivx.DefenseLockdown:
				first.From, first.Number, got.From, got.Number = "", 0, "", 0 // say what was shown before
				require.Equal(t, first, got, "seed %d", seed)
			case shivx.DefenseElevated:
				require.Equal(t, firstEnd.At, end.At, "seed %d: the end", seed)
			case shivx.DefenseNormal:
			}
		}
	}
	for _, m := range shivx.DefenseModes() {
		require.Greater(t, modes[m], 10, "%s is among the cases: %v", m, modes)
	}
}
