package capture

import (
	"fmt"
	"sync"

	"github.com/shivx/shivx/internal/golden/format"
)

// links knows the files, symbolic links and pipes with several names, as long as not all of these were met.
type links struct {
	mu    sync.Mutex
	known map[inode]link
}

// link is such a file: the path under which it was stored, "" before that, and how many of its names
// have come by.
type link struct {
	path string
	seen uint64
}

func newLinks() *links { return &links{known: map[inode]link{}} }

// claim says whether the caller is the first to meet a file and has to read it.
func (l *links) claim(i inode) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, taken := l.known[i]; taken {
		return false
	}
	l.known[i] = link{}
	return true
}

// stored returns the path that a file is stored under; "" if it is not.
func (l *links) stored(i inode) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[i].path
}

// met counts a name of a file that is stored under path now, and forgets the file after the last of
// its names.
func (l *links) met(i inode, path string, names uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.known[i]
	k.path, k.seen = path, k.seen+1
	if k.seen >= names {
		delete(l.known, i)
		return
	}
	l.known[i] = k
}

// link decides, in the order of the entries, under which of its names a file is stored: the first
// one. The others become hard links to it, even one that was read because a worker met it earlier.
func (r *run) link(it *item) error {
	if it.out == nil && !it.deferred {
		return nil
	}
	path := r.links.stored(it.inode)
	if path != "" {
		it.entry = format.Entry{Path: it.logical(), Type: format.TypeHardlink, Link: path}
		it.out = &it.entry
		r.links.met(it.inode, path, it.links)
		return nil
	}
	if it.deferred {
		if r.last == nil {
			r.last = newWorker(r)
		}
		if err := r.last.do(it, true); err != nil {
			return fmt.Errorf("read %s: %w", it.logical(), err)
		}
	}
	if it.out != nil && it.links > 1 {
		r.links.met(it.inode, it.logical(), it.links)
	}
	return nil
}

// note puts a word about an item in the result.
func (r *run) note(it *item) {
	switch {
	case it.fault != nil:
		why := word(it.fault)
		if r.result.Unreadable++; r.result.Unreadable <= MaxNotes {
			r.result.Faults = append(r.result.Faults, format.Note{Path: it.logical(), Why: why})
		}
		r.skip(it, why)
	case it.note != "":
		r.skip(it, it.note)
	}
	if it.unstable == 0 || it.out == nil || it.out.Type != format.TypeFile {
		return
	}
	if r.result.UnstableCount++; r.result.UnstableCount <= MaxNotes {
		why := fmt.Sprintf("changed during each of %d readings", it.unstable)
		r.result.Unstable = append(r.result.Unstable, format.Note{Path: it.logical(), Why: why})
	}
}

func (r *run) skip(it *item, why string) {
	if r.result.SkippedCount++; r.result.SkippedCount <= MaxNotes {
		r.result.Skipped = append(r.result.Skipped, format.Note{Path: it.logical(), Why: why})
	}
}
