// Package format is what a golden store holds, in bytes: golden files, entries and packs. It does no
// input or output. docs/GOLDEN-FORMAT.md describes the same for those who read a store without this
// program; every version of it reads what earlier ones wrote.
package format

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// Version is the version of the format that is written.
const Version = 1

// BlockSize is the length of the blocks of a file's data in bytes; the last one may be shorter.
const BlockSize = 1 << 20

// ErrDamaged is what a byte that is not as it was written leads to.
var ErrDamaged = errors.New("damaged")

// ErrVersion is what a file of a later format leads to.
var ErrVersion = errors.New("written by a later version")

// Hash is a SHA-256. In JSON it is 64 lower-case hexadecimal digits.
type Hash [sha256.Size]byte

// Sum returns the hash of data.
func Sum(data []byte) Hash { return sha256.Sum256(data) }

// String returns the hash as hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText returns the hash as hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads what MarshalText wrote, and nothing else.
func (h *Hash) UnmarshalText(text []byte) error {
	p, err := ParseHash(string(text))
	if err != nil {
		return err
	}
	*h = p
	return nil
}

// ParseHash reads 64 lower-case hexadecimal digits.
func ParseHash(text string) (Hash, error) {
	var h Hash
	if len(text) != 2*len(h) {
		return Hash{}, fmt.Errorf("%w: a hash of %d digits", ErrDamaged, len(text))
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return Hash{}, fmt.Errorf("%w: %q in a hash", ErrDamaged, c)
		}
	}
	_, err := hex.Decode(h[:], []byte(text))
	return h, err
}
