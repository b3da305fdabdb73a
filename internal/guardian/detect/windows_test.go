package detect

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// Requests up to a minute late are counted in their second, few or many.
func TestRequestsOutOfOrderAreCountedInTheirSecond(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 11))
		d := detector(t)
		seconds := map[int64]int{}
		now, newest := at(0), int64(0)
		for range 800 {
			now += rnd.Int64N(int64(1+seed) * int64(time.Second))
			e := request("203.0.113.7", "/", 200, 0)
			e.At = now - rnd.Int64N(int64(58*time.Second))
			if rnd.IntN(50) == 0 {
				e.Count = rnd.IntN(3000)
			}
			newest = max(newest, e.At)
			if second(newest)-second(e.At) < 60 {
				seconds[second(e.At)] += max(e.Count, 1)
			}
			d.Observe(e, nil)
			want := 0
			for s, n := range seconds {
				if second(newest)-s < 60 {
					want += n
				}
			}
			seen, ok := d.Look(netip.MustParsePrefix("203.0.113.7/32"))
			require.True(t, ok)
			require.Equal(t, want, seen.Requests)
		}
	}
}

// In whatever order failures are told, they isolate if and only if some window holds enough of them.
func TestTheOrderOfFailuresDecidesNothing(t *testing.T) {
	isolated := 0
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 13))
		d := detector(t, func(r *config.ThreatRules) { r.MaxSources = 100 })
		var times []time.Duration
		for range 8 + rnd.IntN(12) {
			times = append(times, time.Duration(rnd.IntN(26))*time.Minute)
		}
		want := false
		for _, end := range times {
			n := 0
			for _, other := range times {
				if other <= end && other > end-d.rules.FailureWindow {
					n++
				}
			}
			want = want || n >= d.rules.FailuresCritical
		}
		var got []Decision
		for _, i := range rnd.Perm(len(times)) {
			got = d.Observe(failure("203.0.113.7", "root", times[i]), got)
		}
		require.Equal(t, want, strings.Contains(types(got), "brute_force_critical"), "seed %d", seed)
		if want {
			isolated++
		}
	}
	require.Greater(t, isolated, 50)
	require.Less(t, isolated, 350)
}

// A clock that is set back for good: the windows go on at the new time when the whole stream has.
func TestAClockSetBackIsFollowed(t *testing.T) {
	d := detector(t)
	for i := range 100 {
		d.Observe(request("203.0.113.7", "/", 200, 3*time.Hour+time.Duration(i)*time.Minute), nil)
	}
	for i := range 300 {
		d.Observe(request("203.0.113.7", "/", 200, time.Duration(i)*time.Second), nil)
	}
	seen, ok := d.Look(netip.MustParsePrefix("203.0.113.7/32"))
	require.True(t, ok)
	require.Equal(t, day.Add(299*time.Second), seen.Last)
	require.Equal(t, 300-behindAll+1, seen.Requests)
}

func TestAccountsAreShownAsFarAsTheyFit(t *testing.T) {
	d := detector(t)
	long := strings.Repeat("é", 60)
	var got []Decision
	for i, user := range []string{long, "bad\xff\x00name", "a", "b", "c", "d", ""} {
		e := failure("203.0.113.7", user, time.Duration(i)*time.Second)
		e.Kind = logs.Failure
		got = d.Observe(e, got)
	}
	require.Equal(t, "brute_force_warning@4s", types(got))
	require.Equal(t, []string{strings.Repeat("é", 27), "bad\x00name", "a", "b", "c"}, got[0].Evidence["accounts"])
}

// A success that is told late takes back what was before it, and not what came after.
func TestALateSuccessTakesBackWhatWasBefore(t *testing.T) {
	d := detector(t)
	for i := range 8 {
		d.Observe(failure("203.0.113.7", "ann", time.Duration(i)*time.Minute), nil)
	}
	e := failure("203.0.113.7", "ann", 210*time.Second)
	e.Kind = logs.Success
	d.Observe(e, nil)
	seen, ok := d.Look(netip.MustParsePrefix("203.0.113.7/32"))
	require.True(t, ok)
	require.Equal(t, 4, seen.Failures)
}
