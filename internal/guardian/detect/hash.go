package detect

import (
	"encoding/binary"
	"math/bits"
)

// Odd constants with about as many ones as zeros; any such will do.
const (
	hashA = 0x9e3779b97f4a7c15
	hashB = 0xd6e8feb86659fd93
	hashC = 0xa0761d6478bd642f
)

// mix folds the product of two words.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func upper(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

// secret keys the hashes of accounts and paths. It is saved with them.
type secret [2]uint64

func newSecret(seed uint64) secret {
	return secret{mix(seed^hashB, hashC) ^ seed, mix(seed^hashC, hashA) + seed}
}

// sum returns a hash of an account or a path: SipHash-1-3 (Aumasson and Bernstein, 2012), half of it.
// Who may choose the name of an account of his own must not find one that is taken for another's: his
// successes would take back his guesses. Hashes are compared for equality and never ordered, so that
// no decision depends on the secret.
func (k secret) sum(b []byte, salt uint64) uint32 {
	k[1] ^= salt
	v := sip{k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d, k[0] ^ 0x6c7967656e657261, k[1] ^ 0x7465646279746573}
	last := uint64(len(b)) << 56
	for ; len(b) >= 8; b = b[8:] {
		v.take(binary.LittleEndian.Uint64(b))
	}
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	v.take(last)
	v.c ^= 0xff
	v.round()
	v.round()
	v.round()
	return max(uint32(v.a^v.b^v.c^v.d), 1) // 0 stands for none
}

// sip is the state of SipHash.
type sip struct{ a, b, c, d uint64 }

func (v *sip) take(word uint64) {
	v.d ^= word
	v.round()
	v.a ^= word
}

func (v *sip) round() {
	v.a += v.b
	v.c += v.d
	v.b = bits.RotateLeft64(v.b, 13) ^ v.a
	v.d = bits.RotateLeft64(v.d, 16) ^ v.c
	v.a = bits.RotateLeft64(v.a, 32)
	v.c += v.b
	v.a += v.d
	v.b = bits.RotateLeft64(v.b, 17) ^ v.c
	v.d = bits.RotateLeft64(v.d, 21) ^ v.a
	v.c = bits.RotateLeft64(v.c, 32)
}
