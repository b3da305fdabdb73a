package format

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math"
	"time"
	"unicode/utf8"
)

// The JSON of this format has one form only, so that a line can be read without a general parser and
// equal values are equal bytes: no white space, fields in a fixed order, strings with the escapes \",
// \\ and \u00xx for control characters only, integers without leading zeros.

// appendString appends s as a JSON string; s must be valid UTF-8.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		if c < 0x20 {
			dst = append(dst, '\\', 'u', '0', '0', '0'+c>>4, "0123456789abcdef"[c&15])
		} else {
			dst = append(dst, '\\', c)
		}
		from = i + 1
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// appendBytes appends s below the key, or below the key with _base64 if it is not valid UTF-8.
func appendBytes(dst []byte, key, s string) []byte {
	dst = append(dst, '"')
	dst = append(dst, key...)
	if utf8.ValidString(s) {
		return appendString(append(dst, `":`...), s)
	}
	return appendBase64(append(dst, `_base64":`...), []byte(s))
}

func appendBase64(dst, b []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

func appendHash(dst []byte, h *Hash) []byte {
	dst = append(dst, '"')
	dst = hex.AppendEncode(dst, h[:])
	return append(dst, '"')
}

// appendTime appends seconds since 1970 as a decimal number with nine places, in quotes.
func appendTime(dst []byte, t time.Time) []byte {
	sec, nano := t.Unix(), int64(t.Nanosecond())
	dst = append(dst, '"')
	whole := uint64(sec)
	if sec < 0 {
		dst = append(dst, '-')
		if nano != 0 {
			sec, nano = sec+1, 1e9-nano
		}
		whole = -uint64(sec)
	}
	dst = appendUint(dst, whole)
	dst = append(dst, '.')
	for unit := int64(1e8); unit > 0; unit /= 10 {
		dst = append(dst, byte('0'+nano/unit%10))
	}
	return append(dst, '"')
}

// A cursor reads the one form of JSON. Each method eats what it names, or eats anything and says no.
type cursor struct{ rest []byte }

func (c *cursor) eat(s string) bool {
	if len(c.rest) < len(s) || string(c.rest[:len(s)]) != s {
		return false
	}
	c.rest = c.rest[len(s):]
	return true
}

// text eats a string after its first quote. The result may be a part of the line.
func (c *cursor) text() ([]byte, bool) {
	var all byte
	for i, b := range c.rest {
		switch {
		case b == '"':
			s := c.rest[:i]
			c.rest = c.rest[i+1:]
			return s, all < utf8.RuneSelf || utf8.Valid(s)
		case b == '\\':
			return c.escaped(i)
		case b < 0x20:
			return nil, false
		}
		all |= b
	}
	return nil, false
}

// escaped is text for a string whose first escape is at i.
func (c *cursor) escaped(i int) ([]byte, bool) {
	s := append(make([]byte, 0, len(c.rest)), c.rest[:i]...)
	for c.rest = c.rest[i:]; len(c.rest) > 0; {
		b := c.rest[0]
		c.rest = c.rest[1:]
		switch {
		case b == '"':
			return s, utf8.Valid(s)
		case b < 0x20:
			return nil, false
		case b != '\\':
			s = append(s, b)
		case c.eat(`"`):
			s = append(s, '"')
		case c.eat(`\`):
			s = append(s, '\\')
		case len(c.rest) >= 5 && c.eat("u00"):
			var low [1]byte
			_, err := hex.Decode(low[:], c.rest[:2])
			if err != nil || low[0] >= 0x20 || c.rest[1]-'A' < 6 {
				return nil, false
			}
			s = append(s, low[0])
			c.rest = c.rest[2:]
		default:
			return nil, false
		}
	}
	return nil, false
}

// base64 eats a base64 string after its first quote and appends what it stands for to dst.
func (c *cursor) base64(dst []byte) ([]byte, bool) {
	s, ok := c.text()
	if !ok {
		return dst, false
	}
	dst, err := base64.StdEncoding.Strict().AppendDecode(dst, s)
	return dst, err == nil
}

// bytes eats a string below either key; each is given with the marks around it.
func (c *cursor) bytes(key, coded string) (string, bool) {
	if c.eat(key) {
		s, ok := c.text()
		return string(s), ok
	}
	if !c.eat(coded) {
		return "", false
	}
	b, ok := c.base64(nil)
	return string(b), ok && !utf8.Valid(b)
}

// uint eats a number up to most.
func (c *cursor) uint(most uint64) (uint64, bool) {
	var n uint64
	i := 0
	for ; i < len(c.rest) && c.rest[i]-'0' <= 9; i++ {
		d := uint64(c.rest[i] - '0')
		if n > (math.MaxUint64-d)/10 {
			return 0, false
		}
		n = 10*n + d
	}
	if i == 0 || (i > 1 && c.rest[0] == '0') {
		return 0, false
	}
	c.rest = c.rest[i:]
	return n, n <= most
}

// int eats a number that may be negative.
func (c *cursor) int() (int64, bool) {
	if !c.eat("-") {
		n, ok := c.uint(math.MaxInt64)
		return int64(n), ok
	}
	n, ok := c.uint(1 << 63)
	return -int64(n), ok && n != 0
}

// hash eats a hash after its first quote, and its last one.
func (c *cursor) hash(h *Hash) bool {
	if len(c.rest) <= 2*len(h) || c.rest[2*len(h)] != '"' {
		return false
	}
	// Of the hexadecimal digits, only the upper-case letters lack this bit.
	lower := uint64(0x2020202020202020)
	for i := 0; i < 2*len(h); i += 8 {
		lower &= binary.LittleEndian.Uint64(c.rest[i:])
	}
	_, err := hex.Decode(h[:], c.rest[:2*len(h)])
	c.rest = c.rest[2*len(h)+1:]
	return err == nil && lower == 0x2020202020202020
}

// time eats what appendTime wrote, after its first quote.
func (c *cursor) time() (time.Time, bool) {
	minus := c.eat("-")
	whole, ok := c.uint(1 << 63)
	if !ok || !c.eat(".") || len(c.rest) < 10 || c.rest[9] != '"' {
		return time.Time{}, false
	}
	var nano int64
	for _, b := range c.rest[:9] {
		if b-'0' > 9 {
			return time.Time{}, false
		}
		nano = 10*nano + int64(b-'0')
	}
	c.rest = c.rest[10:]
	sec := int64(whole)
	switch {
	case !minus:
		ok = sec >= 0
	case nano == 0:
		sec, ok = -sec, whole != 0
	default:
		sec, nano, ok = -sec-1, 1e9-nano, sec >= 0
	}
	return time.Unix(sec, nano).UTC(), ok
}
