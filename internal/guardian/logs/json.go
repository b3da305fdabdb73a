package logs

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// jsonWalk walks over the members of JSON objects, in one pass. It looks only at as much as it must to
// know where a value ends: a key within a string or within an inner object is never taken for a member
// of the outer one.
type jsonWalk struct {
	b   []byte
	pos int
	bad bool
}

// jsonValue is a value as it is written: with its quotes, braces or brackets.
type jsonValue []byte

// key goes to the value of the next member and returns its key; false after the last one. Where an
// object begins it goes to its first member. Keys with escapes are returned as they are written, as no
// server writes such.
func (w *jsonWalk) key() ([]byte, bool) {
	switch w.char() {
	case '{':
		w.pos++
		if w.char() == '}' {
			w.pos++
			return nil, false
		}
	case ',':
		w.pos++
	case '}':
		w.pos++
		return nil, false
	default:
		w.bad = true
		return nil, false
	}
	w.char()
	start := w.pos + 1
	w.text()
	end := w.pos - 1
	if w.char() != ':' || w.bad {
		w.bad = true
		return nil, false
	}
	w.pos++
	return w.b[start:end], true
}

// char is the next byte that is no space; 0 at the end.
func (w *jsonWalk) char() byte {
	for ; w.pos < len(w.b); w.pos++ {
		if c := w.b[w.pos]; c != ' ' && c != '\t' {
			return c
		}
	}
	return 0
}

// value passes over the value of a member and returns it.
func (w *jsonWalk) value() jsonValue {
	c := w.char()
	start := w.pos
	switch c {
	case '"':
		w.text()
	case '{', '[':
		w.nested()
	default:
		w.plain()
	}
	if w.bad {
		return nil
	}
	return jsonValue(w.b[start:w.pos])
}

// plain passes over a number, true, false or null.
func (w *jsonWalk) plain() {
	start := w.pos
	for ; w.pos < len(w.b); w.pos++ {
		switch w.b[w.pos] {
		case ',', '}', ']', ' ', '\t':
			w.bad = w.bad || w.pos == start
			return
		}
	}
	w.bad = true
}

// text passes over a string.
func (w *jsonWalk) text() {
	if w.pos >= len(w.b) || w.b[w.pos] != '"' {
		w.bad = true
		return
	}
	b := w.b
	for i := w.pos + 1; i < len(b); {
		if i+8 <= len(b) {
			n := plainBytes(binary.LittleEndian.Uint64(b[i:]))
			if i += n; n == 8 {
				continue
			}
		}
		switch b[i] {
		case '"':
			w.pos = i + 1
			return
		case '\\':
			i++
		}
		i++
	}
	w.bad, w.pos = true, len(b)
}

// plainBytes counts the bytes of a word, from its low end, before the first quote or backslash. A byte
// that is zero borrows from its highest bit when one is taken away from it.
func plainBytes(x uint64) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	quote, slash := x^ones*'"', x^ones*'\\'
	return bits.TrailingZeros64(((quote-ones)&^quote|(slash-ones)&^slash)&tops) / 8
}

// nested passes over an object or an array with all that is in it.
func (w *jsonWalk) nested() {
	depth := 0
	for w.pos < len(w.b) {
		switch w.b[w.pos] {
		case '"':
			w.text()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				w.pos++
				return
			}
		}
		w.pos++
	}
	w.bad = true
}

// jsonText decodes strings into memory of its own, for those that have escapes.
type jsonText struct{ buf []byte }

// reset makes room for the strings of the next line.
func (t *jsonText) reset() { t.buf = t.buf[:0] }

// decode returns the text of a string, nil for other values. It stays valid until reset.
func (t *jsonText) decode(v jsonValue) []byte {
	if len(v) < 2 || v[0] != '"' {
		return nil
	}
	raw := v[1 : len(v)-1]
	i := bytes.IndexByte(raw, '\\')
	if i < 0 {
		return raw
	}
	start := len(t.buf)
	for i >= 0 {
		t.buf = append(t.buf, raw[:i]...)
		raw = t.escape(raw[i+1:])
		i = bytes.IndexByte(raw, '\\')
	}
	t.buf = append(t.buf, raw...)
	return t.buf[start:len(t.buf):len(t.buf)]
}

// escape decodes what follows a backslash and returns what follows that.
func (t *jsonText) escape(b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	c, rest := b[0], b[1:]
	switch c {
	case 'n':
		c = '\n'
	case 't':
		c = '\t'
	case 'r':
		c = '\r'
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'u':
		if len(rest) < 4 {
			break
		}
		value := 0
		for _, x := range rest[:4] {
			d := hexDigit(x)
			if d < 0 {
				return rest
			}
			value = value<<4 | d
		}
		// A surrogate alone becomes the sign for what cannot be told, as it does everywhere in Go.
		t.buf = utf8.AppendRune(t.buf, rune(value))
		return rest[4:]
	}
	t.buf = append(t.buf, c)
	return rest
}
