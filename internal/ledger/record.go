package ledger

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// MaxRecord is the largest size of one stored line in bytes, its newline not counted.
const MaxRecord = 1 << 20

// Parts of a stored line. All sizes follow from them.
const (
	seqMark  = `{"seq":`
	prevMark = `,"prev":"`
	keyMark  = `,"key":`
	hashMark = `,"hash":"`
	lineEnd  = `"}`

	hashHex   = 64
	maxDigits = 20
	// frontSize is the longest front of a line: from its first byte to the quote after prev.
	frontSize = len(seqMark) + maxDigits + len(prevMark) + hashHex + 1
	// backSize is what follows the hashed bytes, newline included.
	backSize = len(hashMark) + hashHex + len(lineEnd) + 1
)

// digest is a SHA-256 in binary.
type digest [32]byte

func (d digest) String() string { return hex.EncodeToString(d[:]) }

// Record is one stored line.
type Record struct {
	// Seq counts from 1 without a gap.
	Seq uint64
	// Prev is the hash of the record before, Hash the record's own; 64 lower-case hexadecimal digits.
	Prev, Hash string
	// Key is the idempotency key, "" when the record has none.
	Key string
	// Raw is the whole stored line without its newline.
	Raw json.RawMessage
}

// Decode reads the record's fields, the caller's and the ledger's, into v.
func (r Record) Decode(v any) error {
	if err := json.Unmarshal(r.Raw, v); err != nil {
		return fmt.Errorf("decode ledger record %d: %w", r.Seq, err)
	}
	return nil
}

// view is what a line says of itself; hashed is the number of its bytes under the hash.
type view struct {
	seq        uint64
	prev, hash digest
	front      int
	hashed     int
}

// parseLine finds the fixed parts of a line (no newline) without decoding it. It does not look
// at the caller's fields between them.
func parseLine(line []byte) (view, bool) {
	var v view
	if len(line) < len(seqMark)+1 || string(line[:len(seqMark)]) != seqMark {
		return v, false
	}
	i := len(seqMark)
	for ; i < len(line) && line[i] >= '0' && line[i] <= '9'; i++ {
		d := uint64(line[i] - '0')
		if v.seq > (math.MaxUint64-d)/10 {
			return v, false
		}
		v.seq = v.seq*10 + d
	}
	if i == len(seqMark) || line[len(seqMark)] == '0' {
		return v, false
	}
	front := i + len(prevMark) + hashHex + 1
	v.front, v.hashed = front, len(line)-(backSize-1)
	if v.hashed < front || string(line[i:i+len(prevMark)]) != prevMark || line[front-1] != '"' {
		return v, false
	}
	back := line[v.hashed:]
	if string(back[:len(hashMark)]) != hashMark || string(back[len(back)-len(lineEnd):]) != lineEnd {
		return v, false
	}
	ok := unhex(&v.prev, line[i+len(prevMark):front-1]) && unhex(&v.hash, back[len(hashMark):len(hashMark)+hashHex])
	return v, ok
}

// unhex reads 64 lower-case hexadecimal digits.
func unhex(d *digest, s []byte) bool {
	if len(s) != hashHex {
		return false
	}
	var bad byte
	for i := range d {
		hi, lo := hexValue[s[2*i]], hexValue[s[2*i+1]]
		bad |= hi | lo
		d[i] = hi<<4 | lo&0x0f
	}
	return bad&0x80 == 0
}

// hexValue maps a digit to its value, and everything else to 0x80.
var hexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 0x80
	}
	for i, c := range "0123456789abcdef" {
		t[c] = byte(i)
	}
	return t
}()

// storedKey returns the idempotency key in the hashed part of a line. A string holds no bare
// quote, so the last quoted string of the line is found by going backwards.
func storedKey(hashed []byte) string {
	n := len(hashed)
	if n < len(keyMark)+2 || hashed[n-1] != '"' {
		return ""
	}
	for i := n - 2; i >= len(keyMark); i-- {
		if hashed[i] != '"' || escaped(hashed, i) {
			continue
		}
		if string(hashed[i-len(keyMark):i]) != keyMark {
			return ""
		}
		quoted := hashed[i:n]
		if bytes.IndexByte(quoted, '\\') < 0 {
			return string(quoted[1 : len(quoted)-1])
		}
		var key string
		if json.Unmarshal(quoted, &key) != nil {
			return ""
		}
		return key
	}
	return ""
}

// escaped says whether an odd number of backslashes stands before b[i].
func escaped(b []byte, i int) bool {
	odd := false
	for i--; i >= 0 && b[i] == '\\'; i-- {
		odd = !odd
	}
	return odd
}

// toRecord makes a Record that shares line's memory.
func toRecord(line []byte, v view) Record {
	h := v.hashed + len(hashMark)
	return Record{
		Seq:  v.seq,
		Prev: string(line[v.front-1-hashHex : v.front-1]),
		Hash: string(line[h : h+hashHex]),
		Key:  storedKey(line[:v.hashed]),
		Raw:  json.RawMessage(line),
	}
}

// putFront writes the front of a record so that it ends at buf[frontSize], and returns where the
// line starts. buf has frontSize bytes of room before the caller's fields.
func putFront(buf []byte, seq uint64, prev *[hashHex]byte) int {
	var digits [maxDigits]byte
	num := strconv.AppendUint(digits[:0], seq, 10)
	start := maxDigits - len(num)
	i := start + copy(buf[start:], seqMark)
	i += copy(buf[i:], num)
	i += copy(buf[i:], prevMark)
	i += copy(buf[i:], prev[:])
	buf[i] = '"'
	return start
}
