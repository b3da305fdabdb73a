package logs

import "fmt"

// automaton finds any of many texts in one pass, in any case (A. V. Aho, M. J. Corasick, "Efficient
// string matching", 1975). The byte 0 in a pattern is the end of the text.
type automaton struct {
	// class numbers the bytes that occur in patterns; all others are 0.
	class   [256]uint8
	classes int
	// next has the state that follows, by state and class.
	next []uint16
	// length of the pattern that ends at a state, 0 for none; more is the next shorter state at which one
	// ends.
	length []uint8
	more   []uint16
}

func newAutomaton(patterns []string) (*automaton, error) {
	a := new(automaton)
	states := 1
	for _, p := range patterns {
		if len(p) == 0 || len(p) > 255 {
			return nil, fmt.Errorf("a signature has %d bytes, not 1 to 255", len(p))
		}
		states += len(p)
		for _, c := range []byte(p) {
			if a.class[c] == 0 {
				a.classes++
				a.class[c] = uint8(a.classes)
			}
		}
	}
	if states > 1<<16 || a.classes > 254 {
		return nil, fmt.Errorf("the signatures have %d bytes, more than %d", states, 1<<16)
	}
	a.classes++
	for c := byte('a'); c <= 'z'; c++ {
		a.class[c-'a'+'A'] = a.class[c]
	}
	a.grow()
	for _, p := range patterns {
		a.insert(p)
	}
	a.link()
	return a, nil
}

func (a *automaton) grow() {
	a.next = append(a.next, make([]uint16, a.classes)...)
	a.length = append(a.length, 0)
	a.more = append(a.more, 0)
}

func (a *automaton) insert(pattern string) {
	state := 0
	for _, c := range []byte(pattern) {
		at := state*a.classes + int(a.class[c])
		if a.next[at] == 0 {
			a.next[at] = uint16(len(a.length))
			a.grow()
		}
		state = int(a.next[at])
	}
	a.length[state] = uint8(len(pattern))
}

// link turns the tree of patterns into an automaton that never steps back.
func (a *automaton) link() {
	fail := make([]uint16, len(a.length))
	queue := make([]uint16, 0, len(a.length))
	for _, s := range a.next[:a.classes] {
		if s != 0 {
			queue = append(queue, s)
		}
	}
	for i := 0; i < len(queue); i++ {
		s := int(queue[i])
		f := int(fail[s])
		if a.more[s] = uint16(f); a.length[f] == 0 {
			a.more[s] = a.more[f]
		}
		for c := range a.classes {
			to := a.next[s*a.classes+c]
			if to == 0 {
				a.next[s*a.classes+c] = a.next[f*a.classes+c]
				continue
			}
			fail[to] = a.next[f*a.classes+c]
			queue = append(queue, to)
		}
	}
}

// matches says whether a pattern is in b.
func (a *automaton) matches(b []byte) bool {
	state := 0
	for _, c := range b {
		state = int(a.next[state*a.classes+int(a.class[c])])
		if a.length[state] != 0 || a.more[state] != 0 {
			return true
		}
	}
	state = int(a.next[state*a.classes+int(a.class[0])])
	return a.length[state] != 0 || a.more[state] != 0
}

// word says whether a pattern is in b with no letter before or after it, where it begins or ends with
// one itself.
func (a *automaton) word(b []byte) bool {
	state := 0
	for i, c := range b {
		state = int(a.next[state*a.classes+int(a.class[c])])
		for s := state; s != 0; s = int(a.more[s]) {
			if n := int(a.length[s]); n > 0 && bounded(b, i+1-n, i+1) {
				return true
			}
		}
	}
	return false
}

func bounded(b []byte, from, to int) bool {
	return (from == 0 || !letter(b[from-1]) || !letter(b[from])) && (to == len(b) || !letter(b[to]) || !letter(b[to-1]))
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
