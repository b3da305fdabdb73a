package enforce

import "net/netip"

// Subtract returns the networks that together are p without whoever is allowed, for enforcers that know
// of no allow list. It returns at most as many as p has bits for each entry of the list.
func Subtract(p netip.Prefix, allow []netip.Prefix) []netip.Prefix {
	p = p.Masked()
	inside := allow[:0:0]
	for _, a := range allow {
		switch {
		case !a.Overlaps(p):
		case a.Bits() <= p.Bits():
			return nil
		default:
			inside = append(inside, a)
		}
	}
	if len(inside) == 0 {
		return []netip.Prefix{p}
	}
	low, high := halves(p)
	return append(Subtract(low, inside), Subtract(high, inside)...)
}

// halves splits a network that is larger than one address.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	bits := p.Bits() + 1
	raw := p.Addr().AsSlice()
	raw[(bits-1)/8] |= 1 << (7 - (bits-1)%8)
	upper, _ := netip.AddrFromSlice(raw)
	return netip.PrefixFrom(p.Addr(), bits), netip.PrefixFrom(upper, bits)
}

// Everybody returns all addresses without whoever is allowed.
func Everybody(allow []netip.Prefix) []netip.Prefix {
	return append(Subtract(netip.MustParsePrefix("0.0.0.0/0"), allow), Subtract(netip.MustParsePrefix("::/0"), allow)...)
}
