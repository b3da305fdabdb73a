package logs

// nginxShadow holds the records that are within the length of one record behind a path.
type nginxShadow struct {
	// pos is where the next line begins, last where the last one did, which has a tag or not; lines counts
	// those before pos.
	pos, last logPlace
	tagged    bool
	lines     int
	text      []byte
	held      []heldRecord
	// read counts the records at the beginning of held that have been given out.
	read int
}

// logPlace is a place in the log, in bytes since the parser began, and how many of them are what syslog put
// before lines.
type logPlace struct{ bytes, tags int64 }

// heldRecord is a record that begins at start of the log, and ends at end of the text held. It has no
// text when it has been discarded.
type heldRecord struct {
	start logPlace
	// tagged is true when syslog wrote before the record.
	tagged bool
	end    int
	// path is not pathNone when lines to come may turn out to belong to it.
	path nginxPath
	line int
}

// advance goes to the next line of n bytes, the first of which are its tag, and forgets what has been given
// out.
func (s *nginxShadow) advance(n, tag int) {
	s.compact()
	s.last, s.tagged = s.pos, tag > 0
	s.pos.bytes += int64(n)
	s.pos.tags += int64(tag)
	s.lines++
}

// length is how long the record would be if the last line were its end. What looks like a tag counts
// where the record itself has none: then it is a client who wrote it.
func (s *nginxShadow) length(r *heldRecord) int64 {
	n := s.pos.bytes - r.start.bytes
	if r.tagged {
		n -= s.pos.tags - r.start.tags
	}
	return n
}

func (s *nginxShadow) compact() {
	if s.read == 0 {
		return
	}
	cut := s.held[s.read-1].end
	s.text = s.text[:copy(s.text, s.text[cut:])]
	s.held = s.held[:copy(s.held, s.held[s.read:])]
	for i := range s.held {
		s.held[i].end -= cut
	}
	s.read = 0
}

// dark says whether anything is held.
func (s *nginxShadow) dark() bool { return s.read < len(s.held) }

func (s *nginxShadow) hold(line []byte, path nginxPath) {
	s.text = append(s.text, line...)
	s.held = append(s.held, heldRecord{start: s.last, tagged: s.tagged, end: len(s.text), path: path, line: s.lines})
}

// discard drops the text of all that is held, as the last line shows that it may be forged.
// That line may be forged, too, and the true end yet to come: the doubt goes on, from each place where
// the record may have begun.
func (s *nginxShadow) discard() {
	path, kept := s.deepest(), s.held[:0]
	for _, r := range s.held[s.read:] {
		if r.end = 0; r.path != pathNone {
			kept = append(kept, r)
		}
	}
	s.text, s.read = s.text[:0], 0
	s.held = append(kept, heldRecord{start: s.last, tagged: s.tagged, path: path})
}

// deepest returns what the records held may have in them at most.
func (s *nginxShadow) deepest() nginxPath {
	deepest := pathNone
	for _, r := range s.held[s.read:] {
		deepest = max(deepest, r.path)
	}
	return deepest
}

// cut says whether the last line ends where nginx or OpenResty would have cut a held record off.
func (s *nginxShadow) cut() bool {
	for i := range s.held[s.read:] {
		r := &s.held[s.read+i]
		if n := s.length(r); r.path != pathNone && (n == maxNginxRecord || n == maxNginxRecord/2) {
			return true
		}
	}
	return false
}

// beyondDoubt returns the next held record, if no path before it reaches as far as the log has been
// read.
func (s *nginxShadow) beyondDoubt() ([]byte, bool) {
	if !s.dark() {
		return nil, false
	}
	if r := &s.held[s.read]; r.path != pathNone && s.length(r) < maxNginxRecord {
		return nil, false
	}
	return s.next()
}

// back is how many lines ago the record was that next has returned.
func (s *nginxShadow) back() int { return s.lines - s.held[s.read-1].line }

// next returns the next held record. It is valid until the next call of advance or compact.
func (s *nginxShadow) next() ([]byte, bool) {
	if !s.dark() {
		return nil, false
	}
	start := 0
	if s.read > 0 {
		start = s.held[s.read-1].end
	}
	s.read++
	return s.text[start:s.held[s.read-1].end], true
}
