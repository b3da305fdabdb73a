package restore

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"
)

// name is a name or path in a journal. Those that are not UTF-8 are written as base64.
type name string

const base64Mark = "base64:"

// MarshalText returns the text that stands for the name in JSON.
func (n name) MarshalText() ([]byte, error) {
	if utf8.ValidString(string(n)) && !strings.HasPrefix(string(n), base64Mark) {
		return []byte(n), nil
	}
	return base64.StdEncoding.AppendEncode([]byte(base64Mark), []byte(n)), nil
}

// UnmarshalText reads what MarshalText wrote.
func (n *name) UnmarshalText(text []byte) error {
	coded, ok := strings.CutPrefix(string(text), base64Mark)
	if !ok {
		*n = name(text)
		return nil
	}
	plain, err := base64.StdEncoding.DecodeString(coded)
	if err != nil {
		return fmt.Errorf("name %q: %w", text, err)
	}
	*n = name(plain)
	return nil
}
