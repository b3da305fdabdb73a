package detect

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/guardian/logs"
)

// The values are those of another implementation (CPython's hash of bytes with PYTHONHASHSEED=0).
func TestSumIsSipHash13(t *testing.T) {
	for text, want := range map[string]uint32{
		"a":                0xb89b1813,
		"root":             0x8b129247,
		"12345678":         0x30560a87,
		"ceo@corp.example": 0x8b9a0d5a,
	} {
		require.Equal(t, want, secret{}.sum([]byte(text), 0), text)
	}
	other := newSecret(1)
	require.NotEqual(t, newSecret(2), other)
	require.NotEqual(t, other.sum([]byte("/x"), saltPath), other.sum([]byte("/x"), saltDenied))
}

// Who may choose the name of an account of his own cannot choose one that is taken for another's, also
// after a restart. These two names collide in a hash without a secret.
func TestSuccessesOfAChosenAccountPayForNoGuesses(t *testing.T) {
	d := detector(t)
	victim := d.account([]byte("ceo@corp.example"))
	var got []Decision
	for m := range 60 {
		now := time.Duration(m) * time.Minute
		for i := range 4 {
			got = d.Observe(failure("203.0.113.7", "ceo@corp.example", now+time.Duration(i)*time.Second), got)
		}
		ok := failure("203.0.113.7", "1a022h2g0", now+5*time.Second)
		ok.Kind = logs.Success
		got = d.Observe(ok, got)
		if m%10 == 0 {
			d = reloaded(t, d)
			require.Equal(t, victim, d.account([]byte("ceo@corp.example")), "the secret is saved")
		}
	}
	require.Contains(t, types(got), "brute_force_critical@2m1s")
	require.Contains(t, types(got), "slow_brute_force@4m3s")
}

// Requests are logged when they end, with the time of their beginning: those held open for long take
// nothing back.
func TestRequestsHeldOpenResetNeitherRateNorScore(t *testing.T) {
	p := netip.MustParsePrefix("203.0.113.7/32")
	for held, counted := range map[time.Duration]int{61 * time.Second: lateMany, 59 * time.Minute: lateMany, 3 * time.Hour: 0} {
		d := detector(t)
		var got []Decision
		for s := 7200; s < 7260; s++ {
			now := time.Duration(s) * time.Second
			for i := range 9 {
				got = d.Observe(request("203.0.113.7", "/", 200, now+time.Duration(i)*time.Millisecond), got)
			}
			for range lateMany {
				got = d.Observe(request("203.0.113.7", "/slow", 200, now-held), got)
			}
		}
		seen, ok := d.Look(p)
		require.True(t, ok)
		require.Equal(t, 60*(9+counted), seen.Requests, "late ones count when they come, held for %s", held)
		require.Contains(t, types(got), "rate_limit_critical", "held for %s", held)
		for i := 1; i < len(got); i++ {
			require.True(t, got[i-1].At.Before(got[i].At), "told once, and when it was: %s", types(got))
		}

		plain, cheat := detector(t), detector(t)
		for i := range 400 {
			now := 2*time.Hour + time.Duration(i)*time.Second
			e := request("203.0.113.7", fmt.Sprint("/x", i), 404, now)
			plain.Observe(e, nil)
			cheat.Observe(e, nil)
			if i%15 == 14 {
				for range lateMany {
					cheat.Observe(request("203.0.113.7", "/slow", 301, now-held), nil)
				}
			}
		}
		want, _ := plain.Look(p)
		have, _ := cheat.Look(p)
		require.Positive(t, want.Score)
		require.InDelta(t, want.Score, have.Score, 0, "held for %s", held)
	}
}

// One time in the future: the stream does not follow it, and the source's clock comes back.
func TestAClockAheadOfTheStreamIsSetBack(t *testing.T) {
	d := detector(t)
	for i := range 40 {
		now := time.Duration(i) * time.Second
		if i == 5 {
			d.Observe(request("203.0.113.7", "/", 200, 48*time.Hour), nil)
		}
		d.Observe(request("203.0.113.7", "/", 200, now), nil)
		d.Observe(request("198.51.100.1", "/", 200, now), nil)
	}
	seen, ok := d.Look(netip.MustParsePrefix("203.0.113.7/32"))
	require.True(t, ok)
	require.Equal(t, day.Add(39*time.Second), seen.Last)
	require.Equal(t, 40-5-lateMany+1, seen.Requests)
}

// A second log that is read later than the first, as after a pause of the agent, is no flood: a client that
// asks every second is in both.
func TestALogThatIsReadLaterIsNoFlood(t *testing.T) {
	for _, chunk := range []int{500, 1000, 3000} {
		d := detector(t)
		var got []Decision
		const span = 50 * 60
		for from := 0; from < span; from += chunk {
			// The first log is ahead by all of it.
			got = d.Observe(request("203.0.113.7", "/health", 200, span*time.Second), got)
			for s := from; s < min(from+chunk, span); s++ {
				got = d.Observe(request("203.0.113.7", "/health", 200, time.Duration(s)*time.Second), got)
			}
		}
		require.NotContains(t, types(got), "rate_limit_critical", "read in pieces of %d", chunk)
	}
}

// Who is isolated starts afresh when he is let go: of him a snapshot has least to keep.
func TestManyIsolatedPressNobodyOutOfTheSnapshot(t *testing.T) {
	d := detector(t)
	for range 9 {
		d.Observe(failure("198.51.100.1", "root", 0), nil)
	}
	for i := range snapshotEntries + 100 {
		require.True(t, d.Pin(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)))
	}
	next := reloaded(t, d)
	require.Equal(t, snapshotEntries, next.Stats().Sources)
	require.Equal(t, "brute_force_critical@1s", types(next.Observe(failure("198.51.100.1", "root", time.Second), nil)))
}
