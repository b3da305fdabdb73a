package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/shivx/shivx"
)

// maxKey is the longest idempotency key in bytes.
const maxKey = 1024

// reservedNames are the ledger's own fields. They are compared without regard to case, since
// Go's decoder would otherwise let a caller's "Hash" overwrite "hash".
var reservedNames = [][]byte{[]byte("seq"), []byte("prev"), []byte("key"), []byte("hash")}

// encoder is a reusable JSON encoder with its buffer.
type encoder struct {
	buf bytes.Buffer
	enc *json.Encoder
}

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.enc = json.NewEncoder(&e.buf)
	e.enc.SetEscapeHTML(false)
	return e
}}

func (e *encoder) encode(v any) ([]byte, error) {
	e.buf.Reset()
	if err := e.enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(e.buf.Bytes(), []byte("\n")), nil
}

// release gives the encoder back, unless a huge record has made it too big to keep.
func (e *encoder) release() {
	if e.buf.Cap() <= 64<<10 {
		encoders.Put(e)
	}
}

// layOut encodes fields and key into a buffer that has room for the front and the back of the
// record, so that the committer only fills in seq, prev and hash.
func layOut(key string, fields any) ([]byte, error) {
	if len(key) > maxKey || !utf8.ValidString(key) {
		return nil, fmt.Errorf("append to ledger: key is not UTF-8 or longer than %d bytes", maxKey)
	}
	e := encoders.Get().(*encoder)
	defer e.release()
	object, err := e.encode(fields)
	if err != nil {
		return nil, fmt.Errorf("append to ledger: encode fields: %w", err)
	}
	if err := checkObject(object); err != nil {
		return nil, fmt.Errorf("append to ledger: %w", err)
	}
	inner := object[1 : len(object)-1]
	var quoted []byte
	if key != "" {
		if quoted, err = quoteKey(key); err != nil {
			return nil, err
		}
	}
	if n := frontSize + len(inner) + len(keyMark) + len(quoted) + backSize; n > MaxRecord {
		return nil, shivx.Hint(fmt.Errorf("append to ledger: record of about %d bytes is over the limit of %d", n, MaxRecord),
			"write the bulk data to a file and record its path and SHA-256")
	}
	buf := make([]byte, frontSize, frontSize+1+len(inner)+len(keyMark)+len(quoted)+backSize)
	if len(inner) > 0 {
		buf = append(buf, ',')
		buf = append(buf, inner...)
	}
	if key != "" {
		buf = append(buf, keyMark...)
		buf = append(buf, quoted...)
	}
	return buf, nil
}

func quoteKey(key string) ([]byte, error) {
	e := encoders.Get().(*encoder)
	defer e.release()
	quoted, err := e.encode(key)
	if err != nil {
		return nil, fmt.Errorf("append to ledger: encode key: %w", err)
	}
	return bytes.Clone(quoted), nil
}

// checkObject refuses what is no JSON object or uses a name of the ledger. object is compact,
// valid JSON, as the encoder writes it.
func checkObject(object []byte) error {
	if len(object) < 2 || object[0] != '{' {
		return errors.New("fields must encode to a JSON object")
	}
	if !utf8.Valid(object) {
		return errors.New("fields hold text that is not UTF-8")
	}
	depth, nameNext := 0, false
	for i := 0; i < len(object); i++ {
		switch object[i] {
		case '{', '[':
			depth++
			nameNext = depth == 1
		case '}', ']':
			depth--
		case ',':
			nameNext = depth == 1
		case '"':
			end := stringEnd(object, i)
			if nameNext {
				if name, ok := reserved(object[i:end]); ok {
					return fmt.Errorf("field %q is the ledger's own; give it another name", name)
				}
				nameNext = false
			}
			i = end - 1
		}
	}
	return nil
}

// stringEnd returns the index after the string that starts at b[i].
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// reserved says whether a quoted name is one of the ledger's own.
func reserved(quoted []byte) (string, bool) {
	name := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		var plain string
		if json.Unmarshal(quoted, &plain) != nil {
			return "", false
		}
		name = []byte(plain)
	}
	for _, r := range reservedNames {
		if bytes.EqualFold(name, r) {
			return string(name), true
		}
	}
	return "", false
}
