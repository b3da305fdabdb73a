package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxHeader is the greatest length of the header's line in bytes: enough for the packs of 30 TB.
const MaxHeader = 64 << 20

// AppendHeader appends the header's line with its newline to dst. A header that no reader would
// accept is an error, and dst is returned as it was.
func AppendHeader(dst []byte, h *Header) ([]byte, error) {
	if err := h.check(); err != nil {
		return dst, fmt.Errorf("header of golden %q: %w", h.ID, err)
	}
	out := appendHeader(dst, h)
	if len(out)-len(dst) > MaxHeader {
		return dst, fmt.Errorf("header of golden %q: %d bytes are more than %d", h.ID, len(out)-len(dst), MaxHeader)
	}
	return out, nil
}

func appendHeader(dst []byte, h *Header) []byte {
	dst = strconv.AppendInt(append(dst, `{"shivx_golden":`...), int64(h.Format), 10)
	str := func(key, value string) { dst = appendString(appendKey(dst, key), value) }
	str("store", h.Store)
	str("id", h.ID)
	str("set", h.Set)
	str("host", h.Host)
	if h.Name != "" {
		str("name", h.Name)
	}
	if h.Run != "" {
		str("run", h.Run)
	}
	str("kind", string(h.Kind))
	str("created", h.Created.UTC().Format(time.RFC3339Nano))
	dst = strconv.AppendFloat(appendKey(dst, "taken_seconds"), h.Taken, 'f', -1, 64)
	if !h.Until.IsZero() {
		str("keep_until", h.Until.UTC().Format(time.RFC3339Nano))
	}
	dst = appendList(appendKey(dst, "roots"), h.Roots, appendString)
	if len(h.Missing) > 0 {
		dst = appendList(appendKey(dst, "missing"), h.Missing, appendString)
	}
	if len(h.Exclude) > 0 {
		dst = appendList(appendKey(dst, "exclude"), h.Exclude, appendString)
	}
	if len(h.Unstable) > 0 {
		dst = appendList(appendKey(dst, "unstable"), h.Unstable, appendNote)
	}
	if len(h.Skipped) > 0 {
		dst = appendList(appendKey(dst, "skipped"), h.Skipped, appendNote)
	}
	if len(h.Sources) > 0 {
		dst = appendList(appendKey(dst, "sources"), h.Sources, appendSource)
	}
	dst = strconv.AppendInt(appendKey(dst, "entries"), h.Entries, 10)
	dst = strconv.AppendInt(appendKey(dst, "files"), h.Files, 10)
	dst = strconv.AppendInt(appendKey(dst, "bytes"), h.Bytes, 10)
	dst = appendList(appendKey(dst, "segments"), h.Segments, appendSegment)
	dst = appendList(appendKey(dst, "packs"), h.Packs, func(dst []byte, p Hash) []byte { return appendHash(dst, &p) })
	return append(dst, '}', '\n')
}

func appendKey(dst []byte, key string) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, key...)
	return append(dst, '"', ':')
}

func appendList[T any](dst []byte, list []T, one func([]byte, T) []byte) []byte {
	dst = append(dst, '[')
	for i, x := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = one(dst, x)
	}
	return append(dst, ']')
}

func appendNote(dst []byte, n Note) []byte {
	dst = appendBytes(append(dst, '{'), "path", n.Path)
	dst = appendString(appendKey(dst, "why"), strings.ToValidUTF8(n.Why, "\uFFFD"))
	return append(dst, '}')
}

func appendSource(dst []byte, s Source) []byte {
	dst = appendString(append(dst, `{"name":`...), s.Name)
	dst = appendString(appendKey(dst, "type"), s.Type)
	dst = appendString(appendKey(dst, "path"), s.Path)
	return append(dst, '}')
}

func appendSegment(dst []byte, s Segment) []byte {
	dst = strconv.AppendInt(append(dst, `{"stored":`...), s.Stored, 10)
	dst = strconv.AppendInt(appendKey(dst, "plain"), s.Plain, 10)
	dst = appendHash(appendKey(dst, "sha256"), &s.Sum)
	return append(dst, '}')
}

// MarshalJSON writes the note as it stands in a header.
func (n Note) MarshalJSON() ([]byte, error) { return appendNote(nil, n), nil }

// UnmarshalJSON reads what MarshalJSON wrote.
func (n *Note) UnmarshalJSON(b []byte) error {
	var raw struct {
		Path  string `json:"path"`
		Coded []byte `json:"path_base64"`
		Why   string `json:"why"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*n = Note{Path: raw.Path + string(raw.Coded), Why: raw.Why}
	return nil
}

// CheckVersion is ErrVersion for the header's line of a later format, and ErrDamaged for what is no header.
// It reads the first field alone, so that it may be asked before the signature was checked.
func CheckVersion(line []byte) error {
	c := cursor{rest: line}
	if !c.eat(`{"shivx_golden":`) {
		return fmt.Errorf("%w: not the header of a golden", ErrDamaged)
	}
	version, ok := c.uint(math.MaxInt32)
	switch {
	case !ok || version < 1 || !c.eat(","):
		return fmt.Errorf("%w: the header of a golden of no format", ErrDamaged)
	case version > Version:
		return fmt.Errorf("%w: format %d, and this program knows %d", ErrVersion, version, Version)
	}
	return nil
}

// ParseHeader reads the first line of a golden file, with or without its newline. It accepts what
// AppendHeader writes and nothing else; the error is ErrDamaged, or ErrVersion where the header is of
// a later format. That it is signed by a trusted key is the caller's to check, before.
func ParseHeader(line []byte) (*Header, error) {
	if len(line) > MaxHeader {
		return nil, fmt.Errorf("%w: a header of %d bytes", ErrDamaged, len(line))
	}
	line = bytes.TrimSuffix(line, []byte{'\n'})
	var fields map[string]json.RawMessage
	if err := CheckVersion(line); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(line, &fields); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	h := new(Header)
	if err := json.Unmarshal(line, h); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("%w: header of golden %.100q: %w", ErrDamaged, h.ID, err)
	}
	if again := appendHeader(nil, h); !bytes.Equal(bytes.TrimSuffix(again, []byte{'\n'}), line) {
		return nil, h.differs(fields)
	}
	return h, nil
}

// differs says why a header is not in its one form.
func (h *Header) differs(fields map[string]json.RawMessage) error {
	known := []string{
		"shivx_golden", "store", "id", "set", "host", "name", "run", "kind", "created", "taken_seconds", "keep_until", "roots",
		"missing", "exclude", "unstable", "skipped", "sources", "entries", "files", "bytes", "segments", "packs",
	}
	for name := range fields {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%w: header of golden %q has a field %.100q", ErrVersion, h.ID, name)
		}
	}
	return fmt.Errorf("%w: header of golden %q: %w", ErrDamaged, h.ID, errors.New("fields are not as they are written"))
}
