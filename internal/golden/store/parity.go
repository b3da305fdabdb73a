// Parity lets damaged objects be repaired. The sidecar of an object has this form; numbers are
// little-endian:
//
//	header
//	  8 bytes    ParityMagic
//	  32 bytes   the SHA-256 of the object's name in the store
//	  8 bytes    the object's length
//	  2 bytes    the number of data shards, D
//	  2 bytes    the number of parity shards, P; D + P is at most 256
//	  4 bytes    the number of rows, R
//	  4 bytes    the length of a chunk, C
//	  32 bytes   for each chunk: its SHA-256; first the chunks of data shard 0, row after row, then of
//	             data shard 1, and so on; those of the parity shards at last
//	  32 bytes   the SHA-256 of all before it
//	P·R·C bytes  the parity shards, one after another
//	the header again
//	12 bytes     the length of the header, 4 bytes, and ParityEnd, 8 bytes
//
// The object, followed by zeros up to D·R·C bytes, is cut into D data shards of R chunks of C bytes.
// Row r, that is chunk r of each shard, is a code word of the Reed-Solomon code over GF(2^8) with the
// polynomial x^8+x^4+x^3+x^2+1 (0x11d): parity byte i is the sum of the data bytes j at the same place
// multiplied by M[D+i][j], where M is the Vandermonde matrix V[r][c] = r^c of D+P rows and D columns
// (0^0 is 1), multiplied by the inverse of its first D rows. So of each row any D of its D+P chunks
// give back the others: P damaged chunks can be repaired in each row, wherever they are, and of
// damage in one piece as much as P shards hold.
//
// The header stands at both ends, so that one of them may be damaged. The sidecar of
// packs/ab/abcd….pack is parity/ab/abcd….par; that of any other object NAME is parity/NAME.par.
package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/shivx/shivx/internal/golden/format"
)

// What a sidecar begins and ends with.
const (
	ParityMagic = "shivxpr1"
	ParityEnd   = "1rpxvihs"
)

const (
	parityDir    = "parity/"
	paritySuffix = ".par"
	// parityChunk is the most bytes of a chunk: small, so that scattered damage costs little of the
	// parity each time, and the hashes are still less than a thousandth of the object.
	parityChunk = 64 << 10
	// parityLeast is the least bytes of a shard: an object that is shorter than all its shards together
	// would be has fewer of them, down to one, whose parity is a copy.
	parityLeast = 4 << 10
	// parityAlign keeps chunks at the width of the processor's registers.
	parityAlign   = 64
	parityFixed   = len(ParityMagic) + sha256.Size + 8 + 2 + 2 + 4 + 4
	parityTrailer = 4 + len(ParityEnd)
	parityMost    = 256
	// paritySums is the most chunks of an object and its parity together: enough for 50 GB.
	paritySums = 1 << 20
)

// parityName is the name of the object's sidecar.
func parityName(name string) string {
	if h, ok := parsePackName(name); ok {
		text := h.String()
		return parityDir + text[:2] + "/" + text + paritySuffix
	}
	return parityDir + name + paritySuffix
}

// parityOf is the name of the object that a sidecar is for.
func parityOf(name string) (string, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(name, paritySuffix), parityDir)
	if !ok || !strings.HasSuffix(name, paritySuffix) {
		return "", false
	}
	if text := rest[strings.LastIndexByte(rest, '/')+1:]; len(text) == 2*sha256.Size {
		if h, err := format.ParseHash(text); err == nil && parityName(packName(h)) == name {
			return packName(h), true
		}
	}
	return rest, true
}

// protectable says whether an object is part of the store and gets parity.
func protectable(name string) bool {
	_, pack := parsePackName(name)
	_, _, golden := parseGoldenName(name)
	return pack || golden || name == identityName || name == keyName
}

// parityHead is the header of a sidecar.
type parityHead struct {
	subject      format.Hash
	size         int64
	data, parity int
	rows         int
	chunk        int
	// sums are those of all chunks.
	sums []format.Hash
}

// planParity divides an object of that length, which is not 0.
func planParity(name string, size int64, o ParityOptions) *parityHead {
	h := &parityHead{subject: format.Sum([]byte(name)), size: size, parity: o.Parity}
	h.data = int(min(int64(o.Data), (size+parityLeast-1)/parityLeast))
	shard := (size + int64(h.data) - 1) / int64(h.data)
	rows := (shard + parityChunk - 1) / parityChunk
	h.rows = int(rows)
	h.chunk = int((shard+rows-1)/rows+parityAlign-1) / parityAlign * parityAlign
	h.sums = make([]format.Hash, (h.data+h.parity)*h.rows)
	return h
}

func (h *parityHead) sum(shard, row int) *format.Hash { return &h.sums[shard*h.rows+row] }

// at is where a chunk is: in the object, or for parity behind the first header.
func (h *parityHead) at(shard, row int) int64 {
	if shard >= h.data {
		shard -= h.data
	}
	return int64(shard*h.rows+row) * int64(h.chunk)
}

func (h *parityHead) length() int { return parityFixed + len(h.sums)*sha256.Size + sha256.Size }

// body is the length of the parity shards.
func (h *parityHead) body() int64 { return int64(h.parity) * int64(h.rows) * int64(h.chunk) }

func (h *parityHead) bytes() []byte {
	b := make([]byte, 0, h.length())
	b = append(b, ParityMagic...)
	b = append(b, h.subject[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.size))
	b = binary.LittleEndian.AppendUint16(b, uint16(h.data))
	b = binary.LittleEndian.AppendUint16(b, uint16(h.parity))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.rows))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.chunk))
	for i := range h.sums {
		b = append(b, h.sums[i][:]...)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// trailer is what stands behind the second header.
func (h *parityHead) trailer() []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(h.length())), ParityEnd...)
}

// parseFixed reads what stands before the sums.
func parseFixed(b []byte) (*parityHead, error) {
	if len(b) < parityFixed || string(b[:len(ParityMagic)]) != ParityMagic {
		return nil, fmt.Errorf("%w: no header of parity", format.ErrDamaged)
	}
	b = b[len(ParityMagic):]
	h := &parityHead{subject: format.Hash(b[:sha256.Size])}
	b = b[sha256.Size:]
	h.size = int64(binary.LittleEndian.Uint64(b))
	h.data, h.parity = int(binary.LittleEndian.Uint16(b[8:])), int(binary.LittleEndian.Uint16(b[10:]))
	h.rows, h.chunk = int(binary.LittleEndian.Uint32(b[12:])), int(binary.LittleEndian.Uint32(b[16:]))
	if h.size <= 0 || h.data < 1 || h.parity < 1 || h.data+h.parity > parityMost || h.rows < 1 || h.rows > paritySums/(h.data+h.parity) ||
		h.chunk < 1 || h.chunk > parityChunk || int64(h.data)*int64(h.rows)*int64(h.chunk) < h.size {
		return nil, fmt.Errorf("%w: numbers in the header of parity that do not fit", format.ErrDamaged)
	}
	return h, nil
}

// readParityHead reads the header of a sidecar at either end; it may have been cut. at is where the
// shards begin.
func readParityHead(o Object, name string) (h *parityHead, at int64, err error) {
	if h, err = readHeadAt(o, 0); err == nil {
		at = int64(h.length())
	} else {
		var last error
		if h, at, last = readLastHead(o); last != nil {
			return nil, 0, errors.Join(err, last)
		}
	}
	if h.subject != format.Sum([]byte(name)) {
		return nil, 0, fmt.Errorf("%w: the parity is that of another object", format.ErrDamaged)
	}
	return h, at, nil
}

func readHeadAt(o Object, at int64) (*parityHead, error) {
	fixed := make([]byte, parityFixed)
	if err := readAt(o, fixed, at); err != nil {
		return nil, err
	}
	h, err := parseFixed(fixed)
	if err != nil {
		return nil, err
	}
	count := int64(h.data+h.parity) * int64(h.rows)
	length := int64(parityFixed) + (count+1)*sha256.Size
	if at+length > o.Size() {
		return nil, fmt.Errorf("%w: the header of parity is cut", format.ErrDamaged)
	}
	raw := make([]byte, length)
	if err := readAt(o, raw, at); err != nil {
		return nil, err
	}
	body, sum := raw[:length-sha256.Size], raw[length-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return nil, fmt.Errorf("%w: the hash of the header of parity", format.ErrDamaged)
	}
	h.sums = make([]format.Hash, count)
	for i := range h.sums {
		h.sums[i] = format.Hash(body[parityFixed+i*sha256.Size:])
	}
	return h, nil
}

// readLastHead reads the header at the end. What is before the shards may have any length.
func readLastHead(o Object) (*parityHead, int64, error) {
	trailer := make([]byte, parityTrailer)
	if o.Size() < int64(parityTrailer) {
		return nil, 0, fmt.Errorf("%w: the parity is cut", format.ErrDamaged)
	}
	if err := readAt(o, trailer, o.Size()-int64(parityTrailer)); err != nil {
		return nil, 0, err
	}
	length := int64(binary.LittleEndian.Uint32(trailer))
	begin := o.Size() - int64(parityTrailer) - length
	if string(trailer[4:]) != ParityEnd || begin < 0 {
		return nil, 0, fmt.Errorf("%w: the parity has no end", format.ErrDamaged)
	}
	h, err := readHeadAt(o, begin)
	if err != nil {
		return nil, 0, err
	}
	if at := begin - h.body(); at >= 0 && int64(h.length()) == length {
		return h, at, nil
	}
	return nil, 0, fmt.Errorf("%w: the parity is cut", format.ErrDamaged)
}

// openParity opens the sidecar of an object.
func (s *Store) openParity(ctx context.Context, name string) (Object, *parityHead, int64, error) {
	o, err := s.backend.Open(ctx, parityName(name))
	if err != nil {
		return nil, nil, 0, err
	}
	h, at, err := readParityHead(o, name)
	if err != nil {
		_ = o.Close()
		return nil, nil, 0, fmt.Errorf("%s: %w", parityName(name), err)
	}
	return o, h, at, nil
}
