package ingest

import (
	"errors"
	"io/fs"
	"time"
)

// errMoved means that a file was renamed between being listed and being opened.
var errMoved = errors.New("a rotation is under way")

// listings is how often files that are being renamed are listed anew.
const listings = 20

// settled gives the files beside the log to do, all or the related alone, again when a rotation came between. A rotation takes
// far less time than all the listings.
func (f *follower) settled(related bool, do func(all []sibling) error) error {
	for n := 1; ; n++ {
		err := do(siblings(f.path, related))
		if !errors.Is(err, errMoved) || n == listings {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// open opens s at its start; errMoved when its name is another file's by now.
func (s sibling) open() (*tail, error) {
	t, err := openTail(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errMoved
	}
	if err == nil && t.id != s.id {
		t.close()
		return nil, errMoved
	}
	return t, err
}

// reopen opens s at p; nil when it is another file.
func (s sibling) reopen(p *Position) (*tail, error) {
	t, err := s.open()
	if errors.Is(err, errMoved) {
		return nil, err
	}
	if err != nil {
		return nil, nil //nolint:nilnil // what cannot be read is not the file
	}
	if same, err := t.seek(p); err != nil || !same {
		t.close()
		return nil, nil //nolint:nilnil // the same
	}
	return t, nil
}

// locate opens the file that p was saved of, at p: the file itself, under whatever name, or the longest
// copy of it. It returns nil when there is none.
func (f *follower) locate(p *Position, all []sibling) (*tail, error) {
	for _, s := range all {
		if s.id != (identity{p.Device, p.Inode}) {
			continue
		}
		if t, err := s.reopen(p); t != nil || err != nil {
			return t, err
		}
	}
	if p.Offset == 0 {
		return nil, nil //nolint:nilnil // nothing was read that a copy could be known by
	}
	var best *tail
	for _, s := range all {
		if !s.related || s.packed || f.holds(s.id) || best != nil && s.size <= best.size {
			continue
		}
		t, err := s.reopen(p)
		if t == nil && err == nil {
			continue
		}
		if best != nil {
			best.close()
		}
		if best = t; err != nil {
			return nil, err
		}
	}
	return best, nil
}

// find opens p where it was saved, nil when that is nowhere. It looks twice: a file that was listed may be
// truncated before it is opened, when its copy had not been there to be listed.
func (f *follower) find(p *Position) *tail {
	var t *tail
	for range 2 {
		err := f.settled(false, func(all []sibling) (err error) {
			t, err = f.locate(p, all)
			return err
		})
		if err == nil && t != nil {
			break
		}
	}
	return t
}

// packed finds the compressed file that p was saved of; it returns how many bytes of it were not read.
func (f *follower) packed(p *Position) (int64, bool) {
	for _, s := range siblings(f.path, true) {
		if !s.packed {
			continue
		}
		if size, head, err := unpacked(s.path); err == nil && p.mark().heads(head) {
			f.before.age = s.age
			return max(0, size-p.Offset), true
		}
	}
	return 0, false
}
