package logs

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/shivx/shivx"
)

// modeAggressive is the value of Options.Mode that also takes protocol errors and connections given up
// for probes.
const modeAggressive = "aggressive"

// maxPath is how much of a path is looked at; longer ones are judged by their beginning.
const maxPath = 512

// Signatures knows the paths that scanners ask for, and the names by which their tools present
// themselves. It is safe for concurrent use.
type Signatures struct {
	paths *automaton
	tools *automaton
	globs []string
}

// NewSignatures adds paths and tools to those that are built in. A path is matched whole, in any case,
// without its query; "*" stands for any text. A tool is a word of a user agent, in any case. It fails,
// with a hint, for what would match everybody or nobody.
func NewSignatures(paths, tools []string) (*Signatures, error) {
	s := new(Signatures)
	for _, p := range paths {
		switch {
		case p == "" || p[0] != '/' && p[0] != '*':
			return nil, shivx.Hint(fmt.Errorf("the path %q begins neither with / nor with *", p), "write it as /old-admin/* or *.bak")
		case strings.Trim(p, "/*") == "":
			return nil, shivx.Hint(fmt.Errorf("the path %q is that of every request", p), "name a path that nobody but a scanner asks for")
		case strings.ContainsAny(p, "?#"):
			return nil, shivx.Hint(fmt.Errorf("the path %q has a query, which is not looked at", p), "leave out what begins with ? or #")
		}
		var room [maxPath]byte
		s.globs = append(s.globs, string(plainPath(&room, []byte(p))))
	}
	var words []string
	for _, w := range tools {
		if w = strings.ToLower(strings.TrimSpace(w)); len(w) < 3 || len(w) > 100 || strings.ContainsRune(w, 0) {
			return nil, shivx.Hint(fmt.Errorf("the tool %q is no word of 3 to 100 characters", w), "write a word of its user agent, such as sqlmap")
		} else if w == "mozilla" {
			return nil, shivx.Hint(fmt.Errorf("the tool %q is in the user agent of every browser", w), "write a word that browsers do not have")
		}
		words = append(words, w)
	}
	var err error
	if s.paths, err = newAutomaton(probePaths()); err != nil {
		return nil, err
	}
	if s.tools, err = newAutomaton(append(scannerTools(), words...)); err != nil {
		return nil, fmt.Errorf("the list of tools: %w", err)
	}
	return s, nil
}

// ProbePath says whether only scanners ask for the path where it is not there. Somebody's phpMyAdmin is
// at such a path, too: a request that was served is no probe, so look at its status as well.
func (s *Signatures) ProbePath(path []byte) bool {
	if len(path) < 2 {
		return false
	}
	var room [maxPath]byte
	plain := plainPath(&room, path)
	if s.paths.matches(plain) {
		return true
	}
	for _, g := range s.globs {
		if globMatch(g, plain) {
			return true
		}
	}
	return false
}

// Tool says whether the user agent names a scanner, or has the code of an attack in it. Crawlers, curl,
// libraries and monitors are none.
func (s *Signatures) Tool(agent []byte) bool { return s.tools.word(agent) }

// plainPath writes a path as a server understands it: letters in lower case, percent signs decoded
// (twice, as scanners do it twice), backslashes as slashes, without doubled slashes and "/./". An
// attempt to climb ("/../") stays in it.
func plainPath(room *[maxPath]byte, path []byte) []byte {
	n := 0
	for i := 0; i < len(path) && n < maxPath; i++ {
		c := path[i]
		if c == '%' {
			c, i = percent(path, i)
		}
		switch {
		case c >= 'A' && c <= 'Z':
			c |= 0x20
		case c == '\\':
			c = '/'
		case c == 0:
			c = 1
		}
		if c == '/' && n > 0 {
			if room[n-1] == '/' {
				continue
			}
			if n > 1 && room[n-1] == '.' && room[n-2] == '/' {
				n--
				continue
			}
		}
		room[n] = c
		n++
	}
	return room[:n]
}

// percent decodes what begins with the percent sign at path[i], and returns where its last byte is.
func percent(path []byte, i int) (byte, int) {
	for range 2 {
		if i+2 >= len(path) {
			break
		}
		high, low := hexDigit(path[i+1]), hexDigit(path[i+2])
		if high < 0 || low < 0 {
			break
		}
		i += 2
		if c := byte(high<<4 | low); c != '%' {
			return c, i
		}
	}
	return '%', i
}

// globMatch says whether the whole text matches the pattern, in which "*" stands for any text.
func globMatch(pattern string, text []byte) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return string(text) == pattern
	}
	if !begins(text, head) {
		return false
	}
	text = text[len(head):]
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return ends(text, part)
		}
		i := bytes.Index(text, []byte(part))
		if i < 0 {
			return false
		}
		text, rest = text[i+len(part):], next
	}
}
