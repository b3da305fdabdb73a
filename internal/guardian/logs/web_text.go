package logs

import "bytes"

// field takes what is before the first space off b.
func field(b []byte) (f, rest []byte, found bool) { return cutAt(b, ' ') }

func cutAt(b []byte, c byte) (before, after []byte, found bool) {
	if i := bytes.IndexByte(b, c); i >= 0 {
		return b[:i], b[i+1:], true
	}
	return b, nil, false
}

func begins(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }

func ends(b []byte, s string) bool { return len(b) >= len(s) && string(b[len(b)-len(s):]) == s }

// beginsAny says whether b begins with one of the texts.
func beginsAny(b []byte, texts []string) bool {
	for _, s := range texts {
		if begins(b, s) {
			return true
		}
	}
	return false
}

// upTo returns b before the first mark; all of it when there is none.
func upTo(b []byte, mark string) []byte {
	before, _, _ := bytes.Cut(b, []byte(mark))
	return before
}
