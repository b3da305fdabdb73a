package api

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// model is a bouncer as the common ones are: it deletes first, and does not change the term of what it
// holds. Its answers get lost now and then.
type model struct {
	name  string
	port  int
	holds map[netip.Prefix]time.Time
	// lost is true when the last answer was.
	lost bool
}

// pull asks once; the answer arrives, is lost on its way, or cannot be written.
func (m *model) pull(s *stand, r *rand.Rand) {
	query := ""
	if m.holds == nil || r.IntN(40) == 0 {
		query, m.holds = "?startup=true", map[netip.Prefix]time.Time{}
	}
	fate := r.IntN(6)
	req := httptest.NewRequest("GET", "/v1/decisions/stream"+query, nil)
	req.Host = s.Address()
	asks(appToken, fmt.Sprintf("192.0.2.50:%d", m.port), "User-Agent", m.name)(req)
	rec := httptest.NewRecorder()
	if fate == 0 {
		s.Handler().ServeHTTP(broken{rec}, req)
		m.port++
		return
	}
	s.Handler().ServeHTTP(rec, req)
	if fate == 1 && !m.lost { // an answer and its repetition are not lost both: the line was there for each question
		m.port++
		m.lost = true
		return
	}
	m.lost = false
	if fate == 2 {
		m.port++ // the answer has arrived, and the connection was closed after it
	}
	var d decisions
	decodeAnswer(s.t, rec, &d)
	m.take(s, d)
}

func (m *model) take(s *stand, d decisions) {
	prefix := func(value string) netip.Prefix {
		p, err := netip.ParsePrefix(value)
		if err != nil {
			a := netip.MustParseAddr(value)
			p = netip.PrefixFrom(a, a.BitLen())
		}
		return p
	}
	for _, one := range d.Deleted {
		delete(m.holds, prefix(one.Value))
	}
	for _, one := range d.New {
		left, err := time.ParseDuration(one.Duration)
		require.NoError(s.t, err)
		if end, held := m.holds[prefix(one.Value)]; !held || !s.clock.Before(end) {
			m.holds[prefix(one.Value)] = s.clock.Add(left)
		}
	}
}

func (m *model) bans(a netip.Addr, now time.Time) bool {
	for p, end := range m.holds {
		if p.Contains(a) && now.Before(end) {
			return true
		}
	}
	return false
}

// TestBouncersEnforceWhatWeDo: whatever happens, and whatever answers are lost, once a bouncer has asked
// and read the answer it keeps out whom we keep out.
func TestBouncersEnforceWhatWeDo(t *testing.T) {
	sources := []string{
		"203.0.113.7", "203.0.113.0/24", "203.0.113.128/25", "198.51.100.0/24", "198.51.100.16/28", "198.51.100.16", "198.51.96.0/22",
		"2001:db8:0:1::/64", "2001:db8::/32", "70.0.0.0/16", "::8:0/109",
	}
	addrs := []string{
		"203.0.113.7", "203.0.113.8", "203.0.113.200", "198.51.100.3", "198.51.100.16", "198.51.100.17", "198.51.100.99", "198.51.97.1",
		"2001:db8:0:1::5", "2001:db8:0:2::5", "127.0.0.1", "8.8.8.8", "70.0.0.1", "::8:1", "::1",
	}
	for seed := range uint64(6) {
		s := newStand(t)
		r := rand.New(rand.NewPCG(seed, 1))
		all := []*model{{name: "a"}, {name: "b"}, {name: "c"}}
		for step := range 400 {
			s.happens(r, sources[r.IntN(len(sources))])
			m := all[r.IntN(len(all))]
			m.pull(s, r)
			if step%10 != 9 {
				continue
			}
			for _, m := range all {
				m.lost = true // so that the next answer, if it can be written, arrives
				for m.pull(s, r); m.lost; {
					m.pull(s, r)
				}
				for _, a := range addrs {
					addr := netip.MustParseAddr(a)
					require.Equal(t, s.guardian.Check(addr).Refused, m.bans(addr, s.clock), "seed %d, step %d: %s for the bouncer %s", seed, step, a, m.name)
				}
			}
		}
	}
}

// happens changes something.
func (s *stand) happens(r *rand.Rand, source string) {
	s.t.Helper()
	switch r.IntN(8) {
	case 0, 1, 2:
		s.isolates(source, time.Duration(r.IntN(3))*20*time.Minute)
	case 3, 4:
		_, _ = s.guardian.Restore(s.t.Context(), source, "test", "") // it may not be isolated
	case 5:
		s.pass(time.Duration(r.IntN(20)) * time.Minute)
	case 6:
		s.sets(shivx.DefenseLockdown)
	case 7:
		s.sets(shivx.DefenseNormal)
	}
}
