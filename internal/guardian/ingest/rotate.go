package ingest

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"time"
)

// mark tells of a file that was read: what was written after it is newer.
type mark struct {
	age age
	// modified in nanoseconds since 1970; 0: nothing was read yet.
	modified int64
	// head is the hash of the first headLen bytes.
	head    string
	headLen int64
}

func (p *Position) mark() mark {
	return mark{modified: p.Modified, head: p.Head, headLen: min(p.Offset, headSize)}
}

// heads says whether a file that begins with these bytes is the marked one, or a copy of it.
func (m mark) heads(b []byte) bool {
	return m.headLen > 0 && int64(len(b)) >= m.headLen && digest(b[:m.headLen]) == m.head
}

// resume opens what was being read when the position was saved.
func (f *follower) resume() {
	f.opened = true
	var chain []*Position
	for p := &f.at; p != nil; p = p.Older {
		chain = append(chain, p)
	}
	for i, p := range slices.Backward(chain) {
		f.before = p.mark()
		if t := f.find(p); t != nil {
			t.held, t.unsettled = p.Held, time.Now()
			f.push(t)
			continue
		}
		if p.Offset == 0 {
			continue
		}
		lost, known := f.packed(p)
		if known && lost == 0 {
			f.out.hold(p.Held)
			f.out.settle()
		}
		if known && lost > 0 || !known && i == 0 {
			f.lost("the file that was read last is gone, was compressed, or was truncated without a copy", lost)
		}
	}
}

// truncated goes on in the copy that was made of t, when there is one, and then with what stands in t now.
func (f *follower) truncated(t *tail) {
	i := slices.Index(f.files, t)
	p, unread, held := t.position(), t.sure-t.off, f.leave(t)
	if head, err := t.beginning(headSize); i < len(f.files)-1 && (err != nil || f.known(head)) {
		// A rotated file was written over with a copy of a newer one.
		f.remove(i)
	} else {
		f.before = p.mark()
		t.reset()
	}
	if c := f.find(p); c != nil {
		f.watchFile(c)
		f.files = slices.Insert(f.files, i, c)
		c.held, c.unsettled = held, time.Now()
	} else if unread > 0 {
		f.lost("the file was truncated before it was read to its end", unread)
	} else {
		f.out.hold(held)
		f.out.settle()
	}
	if t.off == 0 {
		f.insertMissed(t)
	}
}

func (f *follower) lost(reason string, bytes int64) {
	details := map[string]any{"path": f.path, "reason": reason}
	if bytes > 0 {
		details["bytes"] = bytes
	}
	f.out.o.Logger.Warn("lines of a log are lost", "log", f.out.log.Name, "reason", reason, "bytes", bytes)
	f.out.o.Trouble(f.out.log.Name, TroubleLost, details)
}

// holds says whether the file is being read.
func (f *follower) holds(id identity) bool {
	return slices.ContainsFunc(f.files, func(t *tail) bool { return t.id == id })
}

// between opens the files that were written after the newest of older and before the one at the path,
// oldest first: when the log was rotated more than once since the last look.
func (f *follower) between(older []*tail, path *tail) []*tail {
	var missed []*tail
	err := f.settled(true, func(all []sibling) (err error) {
		missed, err = f.openAll(f.unread(all, f.newest(older, all), path), path)
		return err
	})
	if err != nil {
		f.lost("the rotated files are renamed all the time", 0)
	}
	return missed
}

// unread are the rotated files that are newer than last, oldest first.
func (f *follower) unread(all []sibling, last mark, path *tail) []sibling {
	if last.modified == 0 {
		return nil
	}
	var limit age
	for _, s := range all {
		if s.id == path.id {
			limit = s.age // it has been rotated as well by now
		}
	}
	seen := map[identity]bool{path.id: true}
	all = slices.DeleteFunc(all, func(s sibling) bool {
		twice := seen[s.id]
		seen[s.id] = true
		order, ok := s.age.compare(limit)
		return twice || ok && order > 0 || s.age == (age{}) || f.holds(s.id) || !s.newer(last)
	})
	slices.SortFunc(all, func(a, b sibling) int {
		if order, ok := a.age.compare(b.age); ok {
			return order
		}
		return cmp.Compare(a.modified, b.modified)
	})
	return all
}

// openAll opens those that can be read and were not.
func (f *follower) openAll(all []sibling, path *tail) ([]*tail, error) {
	var missed []*tail
	for _, s := range all {
		if s.packed {
			continue
		}
		t, err := f.openMissed(s, path)
		if err != nil {
			for _, t := range missed {
				t.close()
			}
			return nil, err
		}
		if t != nil {
			missed = append(missed, t)
		}
	}
	for _, s := range all {
		if s.packed {
			f.missedPacked(s)
		}
	}
	return missed, nil
}

// newest is the mark of the newest of the files that are read, or of the one that was.
func (f *follower) newest(files []*tail, all []sibling) mark {
	if len(files) == 0 {
		return f.before
	}
	t := files[len(files)-1]
	m := t.mark()
	for _, s := range all {
		if s.id == t.id {
			m.age = s.age
		}
	}
	return m
}

func (s sibling) newer(m mark) bool {
	if order, ok := s.age.compare(m.age); ok {
		return order > 0
	}
	return s.modified > m.modified
}

// openMissed opens s unless it is a copy of what was read or of the file at path.
func (f *follower) openMissed(s sibling, path *tail) (*tail, error) {
	t, err := s.open()
	if errors.Is(err, errMoved) {
		return nil, err
	}
	if err != nil {
		f.lostFile(s, "a rotated file cannot be read: "+failure(err), 0)
		return nil, nil //nolint:nilnil // that was told
	}
	head, err := t.beginning(headSize)
	copied := err != nil || len(head) == 0 || f.known(head)
	if now, err := path.beginning(int64(len(head))); err == nil && len(now) > 0 {
		copied = copied || bytes.HasPrefix(head, now)
	}
	if copied {
		t.close()
		return nil, nil //nolint:nilnil // it need not be read
	}
	return t, nil
}

func (f *follower) missedPacked(s sibling) {
	size, head, err := unpacked(s.path)
	if err != nil || size > 0 && !f.known(head) {
		f.lostFile(s, "a rotated file was compressed before it was read: "+s.path, size)
	}
}

// lostFile tells of a file once.
func (f *follower) lostFile(s sibling, reason string, bytes int64) {
	if !slices.Contains(f.told, s.id) {
		f.told = append(f.told, s.id)
		f.lost(reason, bytes)
	}
}

// known says whether a file that begins like this is one that is read, or was, or a copy of it.
func (f *follower) known(head []byte) bool {
	return f.before.heads(head) || slices.ContainsFunc(f.files, func(t *tail) bool { return t.mark().heads(head) })
}
