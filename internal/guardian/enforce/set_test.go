package enforce

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func TestSetDecides(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	until := func(source string, end time.Time) shivx.Isolation {
		return shivx.Isolation{Source: source, Until: end}
	}
	s := NewSet(prefixes("192.0.2.5", "198.51.100.0/24", "2001:db8:a::/48"))
	past, future := now.Add(-time.Second), now.Add(time.Hour)
	for _, i := range []shivx.Isolation{
		until("192.0.2.0/24", future), until("192.0.2.7", past), until("192.0.2.8", future),
		until("198.51.0.0/16", time.Time{}), until("203.0.113.9", now), until("0.0.0.0", future),
		until("255.255.255.255", future), until("2001:db8::/32", future), until("2001:db8:b:c::/64", future),
		until("2001:db8:b:c::7/128", future), until("2001:db8:b:d::/64", past), until("2001:db8:b:d::7/128", past),
		until("::5", future), until("::ffff:203.0.113.77", future), until("process:1", future),
	} {
		s.Put(i)
	}
	require.Equal(t, 14, s.Len())
	require.Len(t, s.All(), 14)
	for addr, want := range map[string]string{
		"192.0.2.5": "allowed", "192.0.2.6": "192.0.2.0/24", "192.0.2.7": "192.0.2.0/24", "192.0.2.8": "192.0.2.8",
		"198.51.100.9": "allowed", "198.51.101.9": "198.51.0.0/16", "203.0.113.9": "", "0.0.0.0": "0.0.0.0",
		"0.0.0.1": "", "255.255.255.255": "255.255.255.255", "127.0.0.1": "allowed", "::1": "allowed",
		"2001:db8:a::1": "allowed", "2001:db8:b::1": "2001:db8::/32", "2001:db8:b:c::1": "2001:db8:b:c::/64",
		"2001:db8:b:c::7": "2001:db8:b:c::7/128", "2001:db8:b:d::7": "2001:db8::/32", "::2": "::5",
		"::ffff:203.0.113.77": "203.0.113.77", "2001:db8:b:c::7%eth0": "2001:db8:b:c::7/128", "fe80::1": "",
	} {
		v := s.Look(netip.MustParseAddr(addr), now)
		switch want {
		case "":
			require.Equal(t, Verdict{}, v, addr)
		case "allowed":
			require.Equal(t, Verdict{Allowed: true}, v, addr)
		case "::5":
			require.Equal(t, want, v.Isolation.Source, addr)
		default:
			require.True(t, v.Refused && !v.Lockdown, addr)
			require.Equal(t, prefixes(want)[0], prefixes(v.Isolation.Source)[0], addr)
		}
	}
	require.Equal(t, Verdict{}, s.Look(netip.Addr{}, now))

	s.SetLockdown(Lockdown{On: true})
	require.Equal(t, Verdict{Allowed: true}, s.Look(netip.MustParseAddr("192.0.2.5"), now))
	require.Equal(t, Verdict{Refused: true, Lockdown: true}, s.Look(netip.MustParseAddr("9.9.9.9"), now))
	require.True(t, s.Look(netip.Addr{}, now).Refused)
	s.SetLockdown(Lockdown{On: true, Until: now.Add(time.Minute)})
	require.True(t, s.Look(netip.MustParseAddr("9.9.9.9"), now.Add(time.Minute-1)).Lockdown)
	require.Equal(t, Verdict{}, s.Look(netip.MustParseAddr("9.9.9.9"), now.Add(time.Minute)), "it ends by itself")
	s.SetLockdown(Lockdown{})

	for _, source := range []string{"192.0.2.8", "2001:db8:b:c::/64", "198.51.0.0/16"} {
		p := prefixes(source)[0]
		got, ok := s.Get(p)
		require.True(t, ok)
		require.Equal(t, source, got.Source)
		got.Lifted = true
		s.Put(got)
		_, ok = s.Get(p)
		require.False(t, ok, "what is lifted is let go")
		s.Drop(p)
	}
	require.Equal(t, 11, s.Len())
	require.True(t, s.Allows(prefixes("198.51.100.0/25")[0]))
	require.False(t, s.Allows(prefixes("198.51.0.0/16")[0]))
}

// TestSetAgainstList compares the tables with a plain list over random changes.
func TestSetAgainstList(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	s, list := NewSet(nil), map[netip.Prefix]shivx.Isolation{}
	now := time.Now()
	some := func() netip.Prefix {
		b := [16]byte{0x20, 1, byte(random.IntN(2)), byte(random.IntN(2)), 0, 0, 0, byte(random.IntN(4)), 15: byte(random.IntN(2))}
		if random.IntN(2) == 0 {
			a := netip.AddrFrom4([4]byte{10, byte(random.IntN(2)), byte(random.IntN(2)), byte(random.IntN(8))})
			return netip.PrefixFrom(a, []int{8, 16, 24, 31, 32, 32, 32}[random.IntN(7)]).Masked()
		}
		return netip.PrefixFrom(netip.AddrFrom16(b), []int{32, 48, 64, 64, 64, 127, 128}[random.IntN(7)]).Masked()
	}
	for step := range 20_000 {
		p := some()
		switch random.IntN(3) {
		case 0:
			s.Drop(p)
			delete(list, p)
		default:
			i := shivx.Isolation{Source: p.String(), Until: now.Add(time.Duration(random.IntN(3)-1) * time.Minute)}
			s.Put(i)
			list[p] = i
		}
		if step%5000 == 2500 {
			s.Replace(State{Isolations: s.All()})
		}
		require.Equal(t, len(list), s.Len())
		a := some().Addr()
		var want netip.Prefix
		for q, i := range list {
			if q.Contains(a) && i.InForce(now) && (!want.IsValid() || q.Bits() > want.Bits()) {
				want = q
			}
		}
		v := s.Look(a, now)
		require.Equal(t, want.IsValid(), v.Refused)
		if v.Refused {
			require.Equal(t, want.String(), v.Isolation.Source)
		}
	}
}

func TestSetGrowsAndIsReadMeanwhile(t *testing.T) {
	s, now := NewSet(nil), time.Now()
	fixed := netip.MustParseAddr("10.0.0.1")
	s.Put(block("10.0.0.1", time.Hour))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var missed error
	wg.Go(func() {
		for missed == nil {
			select {
			case <-stop:
				return
			default:
				if !s.Look(fixed, now).Refused {
					missed = fmt.Errorf("an isolation was not found while others changed")
				}
			}
		}
	})
	for i := range 20_000 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 11<<24+uint32(i))
		p := netip.PrefixFrom(netip.AddrFrom4(b), 32)
		s.Put(block(shivx.SourceString(p), time.Hour))
		if i%2 == 1 {
			s.Drop(p)
		}
	}
	close(stop)
	wg.Wait()
	require.NoError(t, missed)
	require.Equal(t, 10_001, s.Len())
}

func TestSetHoldsAMillion(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 1 s and 400 MB")
	}
	list := manySources(1_000_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := NewSet(nil)
	s.Replace(State{Isolations: list})
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := (after.HeapAlloc - before.HeapAlloc) / uint64(s.Len())
	t.Logf("%d isolations, %d bytes each without their texts", s.Len(), per)
	require.Less(t, per, uint64(300))
	runtime.KeepAlive(list)
}
