package crash_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestGolden cuts off backups, restores and prunes of the real program at random moments, by SIGKILL and by a
// disk that is full. Afterwards all files are of the old state or of the new one, the service runs with
// them, ledger and store verify, and the command can be repeated.
//
// CRASH_SEED repeats the random choices of another run, as far as the clock does.
func TestGolden(t *testing.T) {
	s := &ordeal{estate: newEstate(t, crashSeed(t)), count: map[string]map[string]int{}}
	s.plant(t, "good a")
	for _, part := range []struct {
		name string
		full int
		run  func(t *testing.T, points int)
		come []string // what must have come of some point
	}{
		{"backup killed", 50, s.killBackups, []string{"old", "new"}}, {"backup on a full disk", 20, s.fillBackups, []string{"old", "new"}},
		{"restore killed", 60, s.killRestores, []string{"old", "new"}}, {"restore on a full disk", 25, s.fillRestores, []string{"old", "new"}},
		{"prune killed", 30, s.killPrunes, []string{"old", "new"}}, {"prune on a full disk", 15, s.fillPrunes, []string{"between", "new"}},
	} {
		points := part.full
		if short() {
			points = (points + 6) / 7
		}
		if !t.Run(part.name, func(t *testing.T) { s.part = part.name; part.run(t, points) }) {
			t.FailNow()
		}
		if came := s.count[part.name]; !short() && came != nil {
			require.Subset(t, slices.Collect(maps.Keys(came)), part.come, part.name)
		}
	}
	t.Log(s.summary())
}

// crashSeed is the seed of the random choices, which is printed.
func crashSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("CRASH_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("CRASH_SEED=%d", seed)
	return seed
}

// ordeal is the estate with what came of the points so far.
type ordeal struct {
	*estate
	part  string
	count map[string]map[string]int
	// states are the pictures of all states, by the word of their state files.
	states map[string]picture
	// last is the state that was in place when it was looked at last.
	last string
}

// point counts what came of one point.
func (s *ordeal) point(t *testing.T, n int, what, outcome string) {
	t.Helper()
	t.Logf("%2d: %-60s %s", n, what, outcome)
	if s.count[s.part] == nil {
		s.count[s.part] = map[string]int{}
	}
	s.count[s.part][outcome]++
}

func (s *ordeal) summary() string {
	var parts []string
	all := 0
	for _, part := range slices.Sorted(maps.Keys(s.count)) {
		var outcomes []string
		for _, o := range slices.Sorted(maps.Keys(s.count[part])) {
			outcomes = append(outcomes, fmt.Sprintf("%d %s", s.count[part][o], o))
			all += s.count[part][o]
		}
		parts = append(parts, part+": "+strings.Join(outcomes, ", "))
	}
	return fmt.Sprintf("%d points, none a mixture: %s", all, strings.Join(parts, "; "))
}

// spread are n moments, one at random in each n-th part of a whole, in no order.
func spread(r *rand.Rand, n int, whole int64) []int64 {
	at := make([]int64, n)
	for i := range at {
		at[i] = (int64(i)*whole + r.Int64N(whole)) / int64(n)
	}
	r.Shuffle(n, func(i, j int) { at[i], at[j] = at[j], at[i] })
	return at
}

// took is how long a command takes that nobody disturbs: the median of some.
func took(rounds int, run func()) time.Duration {
	var all []time.Duration
	for range rounds {
		began := time.Now()
		run()
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[rounds/2]
}
