package detect

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// whole checks that lists, index and blocks agree.
func whole(t *testing.T, d *Detector) {
	t.Helper()
	n, blocks := 0, 0
	for r := range d.lists {
		prev, len := uint32(0), 0
		for i := d.lists[r].front; i != 0; i = d.table.at(i).next {
			e := d.table.at(i)
			require.Equal(t, prev, e.prev)
			require.Equal(t, rank(r), e.list)
			require.Equal(t, i, d.table.find(e.key, e.kind))
			for _, chain := range []uint32{e.ring, e.records, e.names, e.paths, e.marks} {
				for ; chain != 0; chain = d.blocks.at(chain).next {
					blocks++
				}
			}
			prev = i
			len++
		}
		require.Equal(t, prev, d.lists[r].back)
		require.Equal(t, len, d.lists[r].n)
		n += len
	}
	require.Equal(t, n, d.table.used)
	require.Equal(t, blocks, d.blocks.used)
	require.LessOrEqual(t, n, d.table.limit)
	require.LessOrEqual(t, blocks, d.blocks.limit)
	filled := 0
	for _, slot := range d.table.index {
		if slot != 0 {
			filled++
		}
	}
	require.Equal(t, n, filled)
}

// anything is a random event of one of n sources.
func anything(rnd *rand.Rand, n int, now int64) *logs.Event {
	e := &logs.Event{At: now, Kind: logs.Request + logs.Kind(rnd.IntN(5)), Count: 1, Path: fmt.Append(nil, "/", rnd.IntN(100))}
	e.Status = []int{200, 404, 0, 301, 500, 403}[rnd.IntN(6)]
	if rnd.IntN(2) == 0 {
		e.Kind = logs.Request
	}
	if rnd.IntN(10) == 0 {
		e.Path = fmt.Append(nil, "/.", rnd.IntN(9))
	}
	if rnd.IntN(3) > 0 {
		e.User = fmt.Append(nil, "user", rnd.IntN(9))
	}
	if rnd.IntN(15) == 0 {
		e.Count = rnd.IntN(80)
	}
	var b [16]byte
	source := uint32(rnd.IntN(n))
	if source%2 == 0 {
		binary.BigEndian.PutUint32(b[:], 0xcb007100+source)
		e.Addr = netip.AddrFrom4([4]byte(b[:4]))
	} else {
		copy(b[:], []byte{0x20, 1, 0xd, 0xb8})
		binary.BigEndian.PutUint32(b[4:], source)
		b[15] = byte(rnd.IntN(200))
		e.Addr = netip.AddrFrom16(b)
	}
	return e
}

func TestTheTableStaysWholeAndWithinItsLimits(t *testing.T) {
	for _, size := range []int{1, 2, 3, 10, 300} {
		rnd := rand.New(rand.NewPCG(uint64(size), 3))
		d := detector(t, func(r *config.ThreatRules) { r.MaxSources = size })
		d.blocks.limit = 2 * size
		now := at(0)
		for i := range 30_000 {
			now += rnd.Int64N(int64(2 * time.Second))
			e := anything(rnd, 1000, now)
			if rnd.IntN(20) == 0 {
				e.At -= rnd.Int64N(int64(5 * time.Minute))
			}
			if rnd.IntN(2000) == 0 {
				e.At += rnd.Int64N(int64(10000 * time.Hour))
			}
			d.Observe(e, nil)
			key, k := keyOf(e.Addr)
			p := (&entry{key: key, kind: k}).prefix()
			switch rnd.IntN(300) {
			case 0:
				d.Pin(p)
			case 1:
				d.Unpin(p)
			}
			if i%1000 == 0 {
				whole(t, d)
				d.Top(10)
			}
		}
		whole(t, d)
		if size > 10 {
			require.Positive(t, d.Stats().Evicted)
		}
	}
}

// flood gives n spoofed sources an event each, from a network of their own.
func flood(d *Detector, from, n int, now int64, k logs.Kind) {
	e := logs.Event{Kind: k, Count: 1, Status: 200, Path: []byte("/"), User: []byte("root")}
	for i := range n {
		v := uint32(from + i)
		e.Addr = netip.AddrFrom4([4]byte{byte(v>>24) + 20, byte(v >> 16), byte(v >> 8), byte(v)})
		e.At = now + int64(i)*100
		d.Observe(&e, nil)
	}
}

func TestTenMillionSpoofedSourcesHideNoAttacker(t *testing.T) {
	many := 10_000_000
	if testing.Short() {
		many = 500_000
	}
	d := detector(t, func(r *config.ThreatRules) { r.MaxSources = 50_000 })
	isolated := netip.MustParsePrefix("198.51.100.99/32")
	require.True(t, d.Pin(isolated))
	var got []Decision
	part := many / 10
	for i := range 10 {
		now := time.Duration(i) * 30 * time.Second
		got = d.Observe(failure("198.51.100.1", "root", now), got)
		for range 50 { // half way to 500 by now, and then on
			got = d.Observe(request("198.51.100.2", "/", 200, 5*time.Minute+time.Duration(i)*5*time.Second), got)
		}
		if i == 4 {
			probe := failure("198.51.100.3", "", now)
			probe.Kind, probe.Count = logs.Probe, 5
			got = d.Observe(probe, got)
		}
		flood(d, i*part, part, at(now), logs.Request)
		require.LessOrEqual(t, d.Stats().Sources, 50_000)
		require.LessOrEqual(t, d.Stats().Bytes, int64(50_000*256+2<<20))
	}
	whole(t, d)
	require.GreaterOrEqual(t, d.Stats().Evicted, uint64(many-50_000))
	require.Contains(t, types(got), "brute_force_warning@2m0s")
	require.Contains(t, types(got), "brute_force_critical@4m30s")
	require.Contains(t, types(got), "rate_limit_critical@5m45s")
	_, known := d.Look(isolated)
	require.True(t, known, "the isolated stay")
	seen, known := d.Look(netip.MustParsePrefix("198.51.100.3/32"))
	require.True(t, known)
	require.InDelta(t, 30, seen.Score, 0.001)
}

// A botnet whose sources fail once each presses out neither who is half way nor newcomers.
func TestSourcesThatFailOnceDoNotPressOutWhoIsNear(t *testing.T) {
	d := detector(t, func(r *config.ThreatRules) { r.MaxSources = 20_000 })
	for range 4 {
		d.Observe(failure("198.51.100.1", "root", 0), nil)
	}
	flood(d, 0, 300_000, at(time.Second), logs.Failure)
	whole(t, d)
	var got []Decision
	for i := range 6 {
		got = d.Observe(failure("198.51.100.1", "root", 2*time.Minute), got)
		for range 2 {
			got = d.Observe(failure("198.51.100.2", "root", time.Minute+time.Duration(i)*time.Second), got)
		}
		flood(d, 300_000+i*2000, 2000, at(2*time.Minute), logs.Failure)
	}
	require.Contains(t, types(got), "brute_force_critical@2m0s")
	require.Contains(t, types(got), "brute_force_critical@1m4s")
}

// What is near a threshold and what is pinned must not fill the table for good.
func TestOldSourcesMakeRoom(t *testing.T) {
	d := detector(t, func(r *config.ThreatRules) { r.MaxSources = 1000 })
	pinned := 0
	for i := range 2000 {
		e := failure(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}).String(), "root", 0)
		e.Count = 9
		d.Observe(e, nil)
		if i%2 == 0 && d.Pin(netip.PrefixFrom(e.Addr, 32)) {
			pinned++
		}
	}
	require.Equal(t, 874, pinned)
	require.Equal(t, 1000, d.Stats().Sources)
	for i := range 1000 {
		d.Observe(request("192.0.2.1", "/", 200, 48*time.Hour+time.Duration(i)*time.Second), nil)
	}
	flood(d, 0, 120, at(49*time.Hour), logs.Request)
	require.Zero(t, d.lists[rankNear].n, "two days old")
	require.Equal(t, 874, d.lists[rankPinned].n)
	whole(t, d)
}

// However many are near a threshold, have failed, or are pinned: newcomers have room to get anywhere.
func TestNewcomersHaveRoom(t *testing.T) {
	for _, pins := range []int{0, 800} {
		d := detector(t, func(r *config.ThreatRules) { r.MaxSources = 1000 })
		for i := range pins {
			require.True(t, d.Pin(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 32)))
		}
		var got []Decision
		now := time.Duration(0)
		for i := range 120 {
			now += 200 * time.Millisecond
			if i < 12 {
				got = d.Observe(failure("198.51.100.1", "root", now), got)
			}
			got = d.Observe(request("198.51.100.2", "/", 200, now), got)
			for range 4 { // four failures each
				flood(d, i*200, 10, at(now), logs.Failure)
			}
			flood(d, 1<<20+i*200, 10, at(now), logs.Failure)
		}
		require.Contains(t, types(got), "brute_force_critical", pins)
		require.Contains(t, types(got), "rate_limit_warning", pins)
		whole(t, d)
	}
}

func TestTheIndexGrowsWithItsEntries(t *testing.T) {
	table := newTable(20_000, 7)
	require.Len(t, table.index, firstIndex)
	for key := range uint64(20_000) {
		table.add(key*256, source4)
		require.LessOrEqual(t, table.used, len(table.index)/4*3)
	}
	for key := range uint64(20_000) {
		i := table.find(key*256, source4)
		require.NotZero(t, i)
		require.Equal(t, key*256, table.at(i).key)
		require.Zero(t, table.find(key*256+1, source4))
		if key%2 == 0 {
			table.remove(i)
			require.Zero(t, table.find(key*256, source4))
		}
	}
	require.Len(t, table.index, 1<<15)
}
