package enforce

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// manySources returns n isolations: nine of ten are IPv4 addresses, the others IPv6 /64s.
func manySources(n int) []shivx.Isolation {
	random := rand.New(rand.NewPCG(1, 2))
	list := make([]shivx.Isolation, n)
	for i := range list {
		p := netip.PrefixFrom(randomV4(random), 32)
		if i%10 == 9 {
			a := [16]byte{0x20, 0x01}
			binary.BigEndian.PutUint32(a[4:], random.Uint32())
			p = netip.PrefixFrom(netip.AddrFrom16(a), 64).Masked()
		}
		list[i] = block(shivx.SourceString(p), time.Hour+time.Duration(i)*time.Millisecond)
	}
	return list
}

func randomV4(random *rand.Rand) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], random.Uint32())
	b[0] = b[0]%100 + 11 // not the loopback
	return netip.AddrFrom4(b)
}

func BenchmarkSetLook(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		s := NewSet(prefixes("192.0.2.0/24"))
		s.Replace(State{Isolations: manySources(n)})
		random := rand.New(rand.NewPCG(3, 4))
		addrs := make([]netip.Addr, 4096)
		all := s.All()
		for i := range addrs { // half of them isolated
			addrs[i] = randomV4(random)
			if i%2 == 0 {
				p, _ := shivx.ParseSource(all[random.IntN(len(all))].Source)
				addrs[i] = p.Addr()
			}
		}
		now := time.Now()
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				s.Look(addrs[i&4095], now)
			}
		})
	}
}

func BenchmarkSetPut(b *testing.B) {
	s := NewSet(nil)
	s.Replace(State{Isolations: manySources(100_000)})
	more := manySources(200_000)[100_000:]
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Put(more[i%len(more)])
	}
}

func BenchmarkSetReplace(b *testing.B) {
	s, st := NewSet(nil), State{Isolations: manySources(100_000)}
	for b.Loop() {
		s.Replace(st)
	}
}

func BenchmarkNftablesReplace(b *testing.B) {
	server, _ := link(b)
	for _, n := range []int{100_000, 1_000_000} {
		st := State{Isolations: manySources(n)}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			nft := newNft(b, server, false)
			for b.Loop() {
				require.NoError(b, nft.Replace(context.Background(), st))
			}
			require.NoError(b, nft.Verify(context.Background()))
		})
	}
}

func BenchmarkNftablesVerify(b *testing.B) {
	server, _ := link(b)
	nft := newNft(b, server, false)
	require.NoError(b, nft.Replace(context.Background(), State{Isolations: manySources(100_000)}))
	for b.Loop() {
		nft.verified = 0
		require.NoError(b, nft.Verify(context.Background()))
	}
}

func BenchmarkNftablesApply(b *testing.B) {
	server, _ := link(b)
	nft := newNft(b, server, false)
	require.NoError(b, nft.Replace(context.Background(), State{Isolations: manySources(100_000)}))
	more := manySources(120_000)[100_000:]
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		require.NoError(b, nft.Apply(context.Background(), Delta{Put: more[i%len(more) : i%len(more)+1]}))
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
