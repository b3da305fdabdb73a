package enforce

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// puller is a bouncer as the common ones are: it drops first, and does not change the term of what it holds.
type puller struct {
	name  string
	holds map[netip.Prefix]time.Time
}

func (b *puller) pull(s *Stream, startup bool, now time.Time) (put, dropped int) {
	add, drop, _ := s.Since(b.name, startup, now)
	if startup {
		b.holds = map[netip.Prefix]time.Time{}
	}
	for _, p := range drop {
		delete(b.holds, p)
	}
	for _, i := range add {
		p := prefixes(i.Source)[0]
		if _, there := b.holds[p]; !there {
			b.holds[p] = i.Until
		}
	}
	return len(add), len(drop)
}

func TestStreamTellsWhatChanged(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := NewStream(100)
	at := func(source string, term time.Duration) shivx.Isolation {
		return shivx.Isolation{Source: source, Until: now.Add(term)}
	}
	a, b := &puller{name: "a"}, &puller{name: "b"}
	s.Note(Delta{Put: []shivx.Isolation{at("192.0.2.1", time.Hour), at("192.0.2.2", time.Minute), {Source: "192.0.2.3"}}}, now)
	put, dropped := a.pull(s, true, now)
	require.Equal(t, []int{3, 0}, []int{put, dropped})
	put, dropped = a.pull(s, false, now)
	require.Equal(t, []int{0, 0}, []int{put, dropped}, "nothing twice")

	s.Note(Delta{Put: []shivx.Isolation{at("192.0.2.1", 2*time.Hour), at("192.0.2.4", time.Hour)}, Drop: prefixes("192.0.2.3", "198.51.100.9")}, now)
	s.Note(Delta{Put: []shivx.Isolation{at("192.0.2.1", 2*time.Hour)}}, now) // the same term
	put, dropped = a.pull(s, false, now)
	require.Equal(t, []int{2, 3}, []int{put, dropped}, "a changed term is dropped and put")
	require.Equal(t, now.Add(2*time.Hour), a.holds[prefixes("192.0.2.1")[0]])
	put, dropped = b.pull(s, true, now)
	require.Equal(t, []int{3, 2}, []int{put, dropped})

	later := now.Add(time.Minute)
	put, dropped = a.pull(s, false, later)
	require.Equal(t, []int{0, 1}, []int{put, dropped}, "what has ended is dropped")
	require.NotContains(t, a.holds, prefixes("192.0.2.2")[0])

	on := Lockdown{On: true, Until: later.Add(time.Minute)}
	s.Note(Delta{Lockdown: &on}, later)
	require.Equal(t, on, s.Lockdown(later))
	require.Equal(t, Lockdown{}, s.Lockdown(on.Until), "it has ended, whether or not somebody has noted that")
	_, _, lockdown := s.Since("a", false, later)
	require.True(t, lockdown)

	// After a restart of ours the bouncer is not known and may hold another term.
	s = NewStream(100)
	s.Note(Delta{Put: []shivx.Isolation{at("192.0.2.1", 9*time.Hour)}, Drop: prefixes("192.0.2.4")}, later)
	a.pull(s, false, later)
	require.Equal(t, map[netip.Prefix]time.Time{prefixes("192.0.2.1")[0]: now.Add(9 * time.Hour)}, a.holds)
	s.Forget("a")
	put, _ = a.pull(s, false, later)
	require.Equal(t, 1, put, "one whose answer was lost is told again")
}

func TestStreamIsBounded(t *testing.T) {
	now := time.Now()
	s := NewStream(10)
	behind := &puller{name: "behind"}
	s.Note(Delta{Put: []shivx.Isolation{{Source: "192.0.2.1"}}}, now)
	behind.pull(s, true, now)
	for i := range 5000 {
		source := fmt.Sprintf("10.0.%d.%d", i/256, i%256)
		s.Note(Delta{Put: []shivx.Isolation{{Source: source}}}, now)
		s.Note(Delta{Drop: prefixes(source)}, now)
		s.Since(source, false, now.Add(time.Duration(i)))
	}
	require.Len(t, s.changes, 11)
	require.Len(t, s.bouncers, maxBouncers)
	require.NotContains(t, s.bouncers, "behind", "the one that has not asked for longest is forgotten")
	for i := range 20 {
		s.Note(Delta{Drop: prefixes(fmt.Sprintf("10.9.0.%d", i))}, now)
	}
	late := &puller{name: "10.0.19.135", holds: map[netip.Prefix]time.Time{}} // it has asked last
	put, _ := late.pull(s, false, now)
	require.Equal(t, 1, put, "one that has missed drops is told everything")
	put, dropped := behind.pull(s, false, now)
	require.Equal(t, []int{1, 11}, []int{put, dropped}, "what is known")
	require.Len(t, behind.holds, 1)
}

// TestStreamKeepsBouncersInStep compares bouncers that pull now and then with the truth.
func TestStreamKeepsBouncersInStep(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s, truth := NewStream(1000), map[netip.Prefix]time.Time{}
	bouncers := []*puller{{name: "often"}, {name: "seldom"}}
	for _, b := range bouncers {
		b.pull(s, true, now)
	}
	for step := range 20_000 {
		now = now.Add(time.Duration(random.IntN(1000)) * time.Millisecond)
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(100))}), 32)
		if random.IntN(3) == 0 {
			s.Note(Delta{Drop: []netip.Prefix{p}}, now)
			delete(truth, p)
		} else {
			i := shivx.Isolation{Source: shivx.SourceString(p), Until: now.Add(time.Duration(random.IntN(100)-10) * time.Second)}
			s.Note(Delta{Put: []shivx.Isolation{i}}, now)
			truth[p] = i.Until
		}
		for n, b := range bouncers {
			if step%[]int{3, 97}[n] != 0 {
				continue
			}
			b.pull(s, random.IntN(20) == 0, now)
			for p, until := range truth {
				if !now.Before(until) {
					delete(truth, p)
				}
			}
			require.True(t, maps.EqualFunc(truth, b.holds, time.Time.Equal), "step %d, %s", step, b.name)
		}
	}
}

// TestStreamRepeats: an answer that may be lost is told once more, and only that one.
func TestStreamRepeats(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := NewStream(100)
	put := func(source string) { s.Note(Delta{Put: []shivx.Isolation{{Source: source}}}, now) }
	told := func(name string) (sources []string) {
		list, _, _ := s.Since(name, false, now)
		for _, i := range list {
			sources = append(sources, i.Source)
		}
		return sources
	}
	s.Repeat("nobody")
	for _, name := range []string{"a", "b"} {
		_, dropped, _ := s.Since(name, true, now)
		require.Empty(t, dropped)
	}
	put("192.0.2.1")
	require.Equal(t, []string{"192.0.2.1"}, told("a"))
	put("192.0.2.2")
	s.Repeat("a")
	require.Equal(t, []string{"192.0.2.2", "192.0.2.1"}, told("a"))
	s.Repeat("a")
	require.Equal(t, []string{"192.0.2.2"}, told("a"))
	s.Repeat("a")
	require.Empty(t, told("a"))
	put("192.0.2.3")
	require.Equal(t, []string{"192.0.2.3"}, told("a"))
	s.Since("a", true, now)
	s.Repeat("a")
	require.Len(t, told("a"), 3, "after a start all is repeated")
	require.Len(t, told("b"), 3)
}

// TestStreamRepeatsNewTerms: the bouncer may have got what is told once more, and holds it to the old term.
func TestStreamRepeatsNewTerms(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := NewStream(100)
	put := func(term time.Duration) {
		s.Note(Delta{Put: []shivx.Isolation{{Source: "192.0.2.1", Until: now.Add(term)}}}, now)
	}
	s.Since("a", true, now)
	put(time.Minute)
	got, dropped, _ := s.Since("a", false, now)
	require.Len(t, got, 1)
	require.Empty(t, dropped)
	put(time.Hour)
	s.Repeat("a")
	got, dropped, _ = s.Since("a", false, now)
	require.Len(t, got, 1)
	require.Equal(t, prefixes("192.0.2.1"), dropped)
}
