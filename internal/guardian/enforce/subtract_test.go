package enforce

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func nets(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func TestSubtract(t *testing.T) {
	p := netip.MustParsePrefix("192.0.2.0/30")
	require.Equal(t, nets("192.0.2.0/30"), Subtract(p, nets("198.51.100.0/24", "2001:db8::/32")))
	require.Equal(t, nets("192.0.2.0/32", "192.0.2.2/31"), Subtract(p, nets("192.0.2.1/32")))
	require.Empty(t, Subtract(p, nets("192.0.2.0/24")))
	require.Empty(t, Subtract(p, nets("192.0.2.0/31", "192.0.2.2/31")))
	require.Len(t, Subtract(netip.MustParsePrefix("::/0"), nets("::1/128")), 128)
}

// TestEverybody asks for random addresses, and for those at the edges of the allow list.
func TestEverybody(t *testing.T) {
	allow := nets("127.0.0.0/8", "::1/128", "203.0.113.7/32", "10.1.0.0/16", "2001:db8:1::/48")
	all := Everybody(allow)
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var raw [16]byte
		for i := range raw {
			raw[i] = byte(r.Uint32())
		}
		a := netip.AddrFrom16(raw)
		if r.IntN(2) == 0 {
			a = netip.AddrFrom4([4]byte(raw[:4]))
		}
		p := allow[r.IntN(len(allow))]
		switch r.IntN(4) {
		case 0:
			a = p.Addr()
		case 1:
			a = p.Addr().Prev()
		case 2:
			a = p.Addr().Next()
		}
		if a.IsValid() {
			require.Equal(t, !in(allow, a), in(all, a), "%s", a)
		}
	}
}

func in(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
