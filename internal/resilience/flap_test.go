package resilience

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// transitions counts the changes of the level in a day of a square wave that begins bad.
func transitions(good, bad float64, goodSamples, badSamples int) (n int) {
	m := NewMachine(defaultLevels(), 0.5, shivx.LevelNormal)
	s := Score{Confidence: 1}
	for i := range int(24 * time.Hour / dayStep) {
		if s.Value = good; i%(goodSamples+badSamples) < badSamples {
			s.Value = bad
		}
		if _, changed, _ := m.Observe(time.Duration(i)*dayStep, s); changed {
			n++
		}
	}
	return n
}

// TestNoSquareWaveFlaps holds waves of many periods and duty cycles over a day against the bounds of
// docs/RESILIENCE.md.
func TestNoSquareWaveFlaps(t *testing.T) {
	const doublings = 5
	levels := []struct{ good, bad float64 }{{90, 10}, {60, 45}}
	most := map[bool]int{}
	for _, period := range []int{2, 4, 7, 13, 14, 26, 45, 90, 180, 300, 360, 362, 375, 400, 720, 1440, 8640} {
		for _, percent := range []int{1, 10, 50, 95} {
			badSamples := max(1, period*percent/100)
			for _, l := range levels {
				n := transitions(l.good, l.bad, period-badSamples, badSamples)
				span := shivx.LevelOf(l.bad).Rank() - shivx.LevelOf(l.good).Rank()
				good, whole := time.Duration(period-badSamples)*dayStep, time.Duration(period)*dayStep
				long := good >= 30*time.Minute
				bound := 1 + doublings*(span+1)
				if long {
					bound = (int(24*time.Hour/whole) + 2) * (span + 1)
				}
				require.LessOrEqual(t, n, bound, "%v for %s, then %v, every %s", l.good, good, l.bad, whole)
				most[long] = max(most[long], n)
			}
		}
	}
	t.Logf("at most %d transitions a day; %d with good times of half an hour and more", most[false], most[true])
}

// TestNoSignalFlaps: flaps, which are falls after a rise, of any signal over a day.
func TestNoSignalFlaps(t *testing.T) {
	const doublings, halfHours = 5, 48
	most := 0
	for seed := range uint64(18) {
		r := rand.New(rand.NewPCG(seed, 3))
		w := newWalk(t, defaultLevels(), shivx.LevelNormal)
		for w.at < 24*time.Hour {
			switch seed % 3 {
			case 0: // random lengths
				w.during(time.Duration(r.ExpFloat64()*float64(20*time.Minute)), 100)
				w.during(10*time.Second, r.Float64()*80)
			case 1: // an adversary that strikes as soon as the host has recovered
				w.during(5*time.Second, 100)
				if w.m.Level() == shivx.LevelNormal && r.IntN(1+int(seed)) == 0 {
					w.during(10*time.Second, 70)
				}
			case 2: // one that waits until the wait has been halved
				w.during(5*time.Second, 100)
				if w.m.Level() == shivx.LevelNormal && (w.m.wait < time.Duration(seed/3+1)*time.Minute) {
					w.during(10*time.Second, 70)
				}
			}
		}
		flaps := strings.Count(directions(w.changes), "ud")
		require.LessOrEqual(t, flaps, doublings+2*halfHours, "seed %d", seed)
		most = max(most, flaps)
	}
	t.Logf("at most %d flaps a day", most)
}

// directions writes changes from NORMAL on as u (rise) and d (fall).
func directions(changes []shivx.Level) string {
	var s strings.Builder
	for from := shivx.LevelNormal; len(changes) > 0; from, changes = changes[0], changes[1:] {
		if changes[0].WorseThan(from) {
			s.WriteByte('d')
		} else {
			s.WriteByte('u')
		}
	}
	return s.String()
}
