package main

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"
)

// textOrBase64 returns a name as JSON can hold it: as text, or, where it is no UTF-8, in base64.
func textOrBase64(name string) (plain, coded string) {
	if utf8.ValidString(name) {
		return name, ""
	}
	return "", base64.StdEncoding.EncodeToString([]byte(name))
}

// shellName writes a name so that it can be read, and given to a shell where it has what does not show.
func shellName(name string) string {
	if clean(name) == name {
		return name
	}
	return dollarQuoted(name)
}

// dollarQuoted is a word as bash and zsh read it, in ASCII.
func dollarQuoted(s string) string {
	var b strings.Builder
	b.WriteString("$'")
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String() + "'"
}
