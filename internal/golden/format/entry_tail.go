package format

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// tail eats the fields that most entries do not have.
func (c *cursor) tail(e *Entry) string {
	if e.Type != TypeHardlink {
		switch {
		case c.eat(`,"xattrs":{`):
			if !c.xattrs(e, false) {
				return "xattrs"
			}
		case c.eat(`,"xattrs_base64":{`):
			if !c.xattrs(e, true) {
				return "xattrs_base64"
			}
		}
	}
	if c.eat(`,"hint":[`) && !c.hint(&e.Hint) {
		return "hint"
	}
	if !c.eat("}") || len(c.rest) > 0 {
		return "}"
	}
	return ""
}

func (c *cursor) hint(h *Hint) bool {
	var ok bool
	if h.Device, ok = c.uint(math.MaxUint64); !ok || !c.eat(",") {
		return false
	}
	if h.Inode, ok = c.uint(math.MaxUint64); !ok || !c.eat(",") {
		return false
	}
	h.Changed, ok = c.int()
	return ok && c.eat("]") && *h != Hint{}
}

func (c *cursor) xattrs(e *Entry, coded bool) bool {
	var valid = true
	for {
		if !c.eat(`"`) {
			return false
		}
		// The last entry's attributes lie beyond the length: most files have the same names.
		n := len(e.Xattrs)
		e.Xattrs = slices.Grow(e.Xattrs, 1)[:n+1]
		x := &e.Xattrs[n]
		var name []byte
		var ok bool
		if coded {
			name, ok = c.base64(nil)
			valid = valid && utf8.Valid(name)
		} else {
			name, ok = c.text()
		}
		if string(name) != x.Name {
			x.Name = string(name)
		}
		if !ok || !c.eat(`:"`) {
			return false
		}
		if x.Value, ok = c.base64(x.Value[:0]); !ok {
			return false
		}
		if !c.eat(",") {
			return c.eat("}") && valid != coded
		}
	}
}

// unread says what is wrong at the place where reading ended.
func (c *cursor) unread(e *Entry, field string, length int) error {
	if field == "type" && e.Type != "" && strings.Trim(string(e.Type), "abcdefghijklmnopqrstuvwxyz") == "" {
		return fmt.Errorf("%w: entry %q is of type %q", ErrVersion, e.Path, e.Type)
	}
	if name, ok := c.stranger(); ok && field == "}" {
		return fmt.Errorf("%w: entry %q has a field %q", ErrVersion, e.Path, name)
	}
	return fmt.Errorf("%w: entry %q: %s is missing or not as it is written, near byte %d", ErrDamaged, e.Path, field, length-len(c.rest))
}

// stranger returns the name of the next field if this version does not know it.
func (c *cursor) stranger() (string, bool) {
	if !c.eat(`,"`) {
		return "", false
	}
	name, ok := c.text()
	known := []string{
		"path", "path_base64", "type", "mode", "uid", "gid", "mtime", "size", "sha256", "blocks", "data", "link",
		"link_base64", "xattrs", "xattrs_base64", "hint",
	}
	return string(name), ok && c.eat(":") && !slices.Contains(known, string(name))
}
