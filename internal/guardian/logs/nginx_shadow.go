package logs

// nginxShadow holds the records that are within the length of one record behind a path.
type nginxShadow struct {
	// pos is where in the log the next line begins, in bytes since the parser began.
	pos  int64
	text []byte
	held []heldRecord
	// read counts the records at the beginning of held that have been given out.
	read int
}

// heldRecord is a record that begins at start of the log, and ends at end of the text held. It has no
// text when it has been discarded.
type heldRecord struct {
	start int64
	end   int
	// path is not pathNone when lines to come may turn out to belong to it.
	path nginxPath
}

// advance goes to the next line of n bytes, and forgets what has been given out.
func (s *nginxShadow) advance(n int) {
	s.compact()
	s.pos += int64(n)
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
	s.held = append(s.held, heldRecord{start: s.pos - int64(len(line)) - 1, end: len(s.text), path: path})
}

// discard drops the text of all that is held, as the last line, of n bytes, shows that it may be forged.
// That line may be forged, too, and the true end yet to come: the doubt goes on, from each place where
// the record may have begun.
func (s *nginxShadow) discard(n int) {
	path, kept := s.deepest(), s.held[:0]
	for _, r := range s.held[s.read:] {
		if r.end = 0; r.path != pathNone {
			kept = append(kept, r)
		}
	}
	s.text, s.read = s.text[:0], 0
	s.held = append(kept, heldRecord{start: s.pos - int64(n), path: path})
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
	for _, r := range s.held[s.read:] {
		if n := s.pos - r.start; r.path != pathNone && (n == maxNginxRecord || n == maxNginxRecord/2) {
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
	if r := s.held[s.read]; r.path != pathNone && r.start+maxNginxRecord > s.pos {
		return nil, false
	}
	return s.next()
}

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
