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

// sum returns a hash of accounts and paths that is the same in each run, because it is saved and
// decides what is the same account. Its lack of a secret gains nobody anything: an attacker who chose
// names with the same hash would have his own guesses counted as one.
func sum(b []byte, salt uint64) uint32 {
	h := mix(uint64(len(b))^salt, hashA)
	for len(b) >= 8 {
		h = mix(h^binary.LittleEndian.Uint64(b), hashB)
		b = b[8:]
	}
	var rest uint64
	for i, c := range b {
		rest |= uint64(c) << (8 * i)
	}
	h = mix(h^rest^hashC, hashA)
	return max(uint32(h>>32), 1) // 0 stands for none
}
