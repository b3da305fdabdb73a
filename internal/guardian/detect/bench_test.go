package detect

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
)

const million = 1_000_000

// spread returns the address of the i-th source, each in another network.
func spread(i int) netip.Addr {
	if i%4 == 3 {
		var b [16]byte
		b[0], b[1] = 0x20, 1
		binary.BigEndian.PutUint32(b[2:], uint32(i))
		return netip.AddrFrom16(b)
	}
	v := uint32(i)*256 + 7
	return netip.AddrFrom4([4]byte{byte(v>>24) + 1, byte(v >> 16), byte(v >> 8), byte(v)})
}

// TestAMillionSourcesTakeNoMoreThan256BytesEach holds for sources that ask, for those that fail, and
// when all the room there is is taken.
func TestAMillionSourcesTakeNoMoreThan256BytesEach(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a quarter of a gigabyte")
	}
	for name, fill := range map[string]func(d *Detector, i int){
		"who ask": func(d *Detector, i int) {
			e := logs.Event{Kind: logs.Request, Addr: spread(i), Path: []byte("/"), Status: 200, Count: 1, At: at(0) + int64(i)*1000}
			d.Observe(&e, nil)
		},
		"who fail": func(d *Detector, i int) {
			e := logs.Event{Kind: logs.Failure, Addr: spread(i), User: []byte("root"), Count: 1, At: at(0) + int64(i)*1000}
			d.Observe(&e, nil)
		},
		"who do everything": func(d *Detector, i int) {
			addr, path := spread(i), []byte("/0123")
			for k := range 12 {
				e := logs.Event{Kind: logs.Request, Addr: addr, Path: path, Status: 404, Count: 1, At: at(time.Duration(k) * time.Second)}
				path[1] = byte('a' + k)
				d.Observe(&e, nil)
			}
			e := logs.Event{Kind: logs.Failure, Addr: addr, User: []byte("root"), Count: 1, At: at(time.Minute)}
			d.Observe(&e, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			d := detector(t, func(r *config.ThreatRules) { r.MaxSources = million })
			for i := range million {
				fill(d, i)
			}
			each := float64(heap()-before) / million
			require.True(t, d.Stats().Sources == million || d.blocks.used > d.blocks.limit-6, "%d", d.Stats().Sources)
			t.Logf("%d sources, %.1f bytes for each of a million, by Stats %.1f", d.Stats().Sources, each, float64(d.Stats().Bytes)/million)
			require.LessOrEqual(t, each, 256.0)
			require.InDelta(t, float64(d.Stats().Bytes)/million, each, 4)
			runtime.KeepAlive(d)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestObserveAllocatesNothing(t *testing.T) {
	d := detector(t, func(r *config.ThreatRules) {
		r.RequestsWarning, r.RequestsCritical = 1<<20, 1<<20
		r.FailuresWarning, r.FailuresCritical, r.SlowFailures, r.SprayedAccounts = 1000, 1000, 1000, 1000
		r.ScannerWarning, r.ScannerCritical, r.NetworkSources = pointMax, pointMax, 1000
	})
	rnd := rand.New(rand.NewPCG(1, 1))
	var all []*logs.Event
	for i := range 5000 {
		e := anything(rnd, 50, at(time.Duration(i)*time.Second))
		if e.Kind == logs.Probe || e.Kind == logs.Denied {
			e.Kind = logs.Request
		}
		all = append(all, e)
	}
	out := make([]Decision, 0, 1000)
	for _, e := range all {
		out = d.Observe(e, out[:0])
	}
	i := 0
	require.Zero(t, testing.AllocsPerRun(4000, func() {
		e := *all[i%len(all)]
		e.At += int64(5000 * time.Second)
		out = d.Observe(&e, out[:0])
		i++
	}))
}

// BenchmarkObserve is the cost of one event of a source that is known.
func BenchmarkObserve(b *testing.B) {
	agent := []byte("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36")
	for _, c := range []struct {
		name    string
		sources int
		kind    logs.Kind
		status  int
		agent   []byte
	}{
		{"request/1000", 1000, logs.Request, 200, nil},
		{"request/1000/agent", 1000, logs.Request, 200, agent},
		{"request/100000", 100_000, logs.Request, 200, nil},
		{"request/1000000", million, logs.Request, 200, nil},
		{"notfound/1000", 1000, logs.Request, 404, nil},
		{"success/1000", 1000, logs.Success, 0, nil},
		{"failure/1000", 1000, logs.Failure, 0, nil},
		{"failure/100000", 100_000, logs.Failure, 0, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := rules()
			r.MaxSources = 2*c.sources + 200_000
			d, err := New(Options{Rules: r, Host: "web1"})
			require.NoError(b, err)
			rnd := rand.New(rand.NewPCG(1, 1))
			addrs := make([]netip.Addr, 1<<20)
			for i := range addrs {
				addrs[i] = spread(rnd.IntN(c.sources))
			}
			var paths [64][]byte
			for i := range paths {
				paths[i] = fmt.Append(nil, "/articles/2024/some-title-", i)
			}
			e := logs.Event{Kind: c.kind, Status: c.status, Agent: c.agent, Count: 1}
			if c.kind != logs.Request {
				e.User = []byte("root")
			}
			out := make([]Decision, 0, 100)
			now := at(0)
			for i := range c.sources { // all are known
				e.Addr, e.At, e.Path = spread(i), now, paths[i%64]
				d.Observe(&e, out[:0])
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				now += 10_000_000
				e.Addr, e.At, e.Path = addrs[i&(1<<20-1)], now, paths[i>>3&63]
				out = d.Observe(&e, out[:0])
			}
		})
	}
}

// BenchmarkFlood is the cost of an event of a source never seen, in a table that is full.
func BenchmarkFlood(b *testing.B) {
	for _, k := range []logs.Kind{logs.Request, logs.Failure} {
		b.Run(k.String(), func(b *testing.B) {
			d := detector(b)
			flood(d, 0, 200_000, at(0), k)
			b.ReportAllocs()
			b.ResetTimer()
			flood(d, 200_000, b.N, at(time.Second), k)
		})
	}
}

// BenchmarkSave is how long the guardian stands still for a snapshot of as many sources as it may have.
func BenchmarkSave(b *testing.B) {
	d := detector(b)
	flood(d, 0, 100_000, at(0), logs.Failure)
	w := new(counter)
	b.ResetTimer()
	for range b.N {
		w.n = 0
		require.NoError(b, d.Save(w))
	}
	b.ReportMetric(float64(w.n), "bytes")
}

type counter struct{ n int }

func (c *counter) Write(p []byte) (int, error) { c.n += len(p); return len(p), nil }
