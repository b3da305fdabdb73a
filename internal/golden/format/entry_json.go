package format

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// MaxMode is the greatest mode of an entry.
const MaxMode = 0o7777

func appendUint(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) }

// AppendEntry appends the entry's line with its newline to dst. An entry that no reader would accept
// is an error, and dst is returned as it was.
func AppendEntry(dst []byte, e *Entry) ([]byte, error) {
	if err := e.check(); err != nil {
		return dst, fmt.Errorf("entry %q: %w", e.Path, err)
	}
	dst = appendBytes(append(dst, '{'), "path", e.Path)
	dst = append(dst, `,"type":"`...)
	dst = append(dst, e.Type...)
	dst = append(dst, '"')
	if e.Type != TypeHardlink {
		m := e.Mode
		dst = append(dst, `,"mode":"`...)
		dst = append(dst, byte('0'+m>>9), byte('0'+m>>6&7), byte('0'+m>>3&7), byte('0'+m&7))
		dst = append(dst, `","uid":`...)
		dst = appendUint(dst, uint64(e.UID))
		dst = append(dst, `,"gid":`...)
		dst = appendUint(dst, uint64(e.GID))
		dst = append(dst, `,"mtime":`...)
		dst = appendTime(dst, e.ModTime)
	}
	if e.Type == TypeFile {
		dst = appendContent(dst, e)
	}
	if e.Link != "" {
		dst = appendBytes(append(dst, ','), "link", e.Link)
	}
	dst = appendXattrs(dst, e.Xattrs)
	if e.Hint != (Hint{}) {
		dst = append(dst, `,"hint":[`...)
		dst = append(appendUint(dst, e.Hint.Device), ',')
		dst = append(appendUint(dst, e.Hint.Inode), ',')
		dst = append(strconv.AppendInt(dst, e.Hint.Changed, 10), ']')
	}
	return append(dst, '}', '\n'), nil
}

func appendContent(dst []byte, e *Entry) []byte {
	dst = append(dst, `,"size":`...)
	dst = appendUint(dst, uint64(e.Size))
	dst = append(dst, `,"sha256":`...)
	dst = appendHash(dst, &e.Sum)
	for i := range e.Blocks {
		if i == 0 {
			dst = append(dst, `,"blocks":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendHash(dst, &e.Blocks[i])
	}
	if len(e.Blocks) > 0 {
		dst = append(dst, ']')
	}
	if e.Data == nil {
		return dst
	}
	dst = append(dst, `,"data":[`...)
	for i, x := range e.Data {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendUint(append(dst, '['), uint64(x.Offset)), ',')
		dst = append(appendUint(dst, uint64(x.Length)), ']')
	}
	return append(dst, ']')
}

// appendXattrs writes names as they are, or all of them in base64 if one is not valid UTF-8.
func appendXattrs(dst []byte, xattrs []Xattr) []byte {
	if len(xattrs) == 0 {
		return dst
	}
	coded := slices.ContainsFunc(xattrs, func(x Xattr) bool { return !utf8.ValidString(x.Name) })
	if coded {
		dst = append(dst, `,"xattrs_base64":{`...)
	} else {
		dst = append(dst, `,"xattrs":{`...)
	}
	for i, x := range xattrs {
		if i > 0 {
			dst = append(dst, ',')
		}
		if coded {
			dst = appendBase64(dst, []byte(x.Name))
		} else {
			dst = appendString(dst, x.Name)
		}
		dst = appendBase64(append(dst, ':'), x.Value)
	}
	return append(dst, '}')
}

// ParseEntry reads a line, with or without its newline, into e, whose slices it uses again. It
// accepts what AppendEntry writes and nothing else; the error is ErrDamaged, or ErrVersion where the
// line has what this version does not know. After an error e means nothing.
func ParseEntry(e *Entry, line []byte) error {
	c := cursor{rest: bytes.TrimSuffix(line, []byte{'\n'})}
	*e = Entry{Blocks: e.Blocks[:0], Xattrs: e.Xattrs[:0]}
	if field := c.entry(e); field != "" {
		return c.unread(e, field, len(line))
	}
	if err := e.check(); err != nil {
		return fmt.Errorf("%w: entry %q: %w", ErrDamaged, e.Path, err)
	}
	return nil
}

// entry returns the name of the field where it failed, or nothing.
func (c *cursor) entry(e *Entry) string {
	var ok bool
	if !c.eat("{") {
		return "{"
	}
	if e.Path, ok = c.bytes(`"path":"`, `"path_base64":"`); !ok {
		return "path"
	}
	if !c.eat(`,"type":"`) || !c.kind(&e.Type) {
		return "type"
	}
	if e.Type != TypeHardlink {
		if field := c.inode(e); field != "" {
			return field
		}
	}
	if e.Type == TypeFile {
		if field := c.content(e); field != "" {
			return field
		}
	}
	if e.Type == TypeSymlink || e.Type == TypeHardlink {
		if e.Link, ok = c.bytes(`,"link":"`, `,"link_base64":"`); !ok {
			return "link"
		}
	}
	if string(c.rest) == "}" {
		return ""
	}
	return c.tail(e)
}

func (c *cursor) kind(t *Type) bool {
	s, ok := c.text()
	for _, known := range [...]Type{TypeFile, TypeDir, TypeSymlink, TypeHardlink, TypeFIFO} {
		if string(s) == string(known) {
			*t = known
			return ok
		}
	}
	*t = Type(s)
	return false
}

func (c *cursor) inode(e *Entry) string {
	if !c.eat(`,"mode":"`) || len(c.rest) < 5 || c.rest[4] != '"' {
		return "mode"
	}
	for _, b := range c.rest[:4] {
		if b-'0' > 7 {
			return "mode"
		}
		e.Mode = e.Mode<<3 | uint32(b-'0')
	}
	c.rest = c.rest[5:]
	if !c.eat(`,"uid":`) {
		return "uid"
	}
	uid, ok := c.uint(math.MaxUint32)
	if !ok {
		return "uid"
	}
	if !c.eat(`,"gid":`) {
		return "gid"
	}
	gid, ok := c.uint(math.MaxUint32)
	if !ok {
		return "gid"
	}
	e.UID, e.GID = uint32(uid), uint32(gid)
	if !c.eat(`,"mtime":"`) {
		return "mtime"
	}
	if e.ModTime, ok = c.time(); !ok {
		return "mtime"
	}
	return ""
}

func (c *cursor) content(e *Entry) string {
	if !c.eat(`,"size":`) {
		return "size"
	}
	size, ok := c.uint(math.MaxInt64)
	if e.Size = int64(size); !ok {
		return "size"
	}
	if !c.eat(`,"sha256":"`) || !c.hash(&e.Sum) {
		return "sha256"
	}
	for more := c.eat(`,"blocks":["`); more; {
		e.Blocks = append(e.Blocks, Hash{})
		if !c.hash(&e.Blocks[len(e.Blocks)-1]) {
			return "blocks"
		}
		if more = c.eat(`,"`); !more && !c.eat(`]`) {
			return "blocks"
		}
	}
	if c.eat(`,"data":[`) && !c.extents(e) {
		return "data"
	}
	return ""
}

func (c *cursor) extents(e *Entry) bool {
	e.Data = []Extent{}
	if c.eat("]") {
		return true
	}
	for {
		if !c.eat("[") {
			return false
		}
		from, ok := c.uint(math.MaxInt64)
		if !ok || !c.eat(",") {
			return false
		}
		length, ok := c.uint(math.MaxInt64)
		if !ok || !c.eat("]") {
			return false
		}
		e.Data = append(e.Data, Extent{Offset: int64(from), Length: int64(length)})
		if !c.eat(",") {
			return c.eat("]")
		}
	}
}
