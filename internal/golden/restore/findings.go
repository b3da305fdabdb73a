package restore

import (
	"slices"
	"sync"

	"github.com/shivx/shivx/internal/golden/format"
)

// mostCloned is up to how many entries that are to be staged are kept in memory. When there are more
// only their paths are, and the golden is read once more.
const mostCloned = 20_000

// findings are what is to be staged.
type findings struct {
	r  *run
	mu sync.Mutex
	// tops are the paths that are staged and put into place each by itself.
	tops []string
	// entries are those of tops and all below them, unless there are too many.
	entries []*format.Entry
	over    bool
	// bytes are those of all of them without their holes.
	bytes int64
	// current is the change of the top that the walk is in.
	current *Change
	site    *site
}

// top notes an entry that is to be replaced.
func (f *findings) top(e *format.Entry, change Change) {
	s, _ := f.r.places.at(e.Path)
	f.r.places.use(s)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tops = append(f.tops, e.Path)
	f.add(s, e)
	if change.Type != format.TypeDir {
		f.r.changes.add(change)
		return
	}
	f.flush()
	f.current, f.site = &change, s
}

// below notes an entry below the folder that was noted last.
func (f *findings) below(it item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current.Entries++
	f.current.Bytes += it.Size
	f.add(f.site, it.Entry)
}

func (f *findings) add(s *site, e *format.Entry) {
	s.need(e)
	f.bytes += e.Stored()
	if len(f.entries) >= f.r.o.cloned {
		f.over, f.entries = true, nil
	}
	if !f.over {
		f.entries = append(f.entries, cloneEntry(&format.Entry{}, e))
	}
}

// need adds what an entry takes on the site's file system.
func (s *site) need(e *format.Entry) {
	s.inodes++
	const page = 4096
	s.bytes += (e.Stored() + page - 1) / page * page
	if e.Type == format.TypeDir {
		s.bytes += page
	}
}

// replaces says whether another file is put at a path, by itself; only once all was compared.
func (f *findings) replaces(path string) bool { return slices.Contains(f.tops, path) }

func (f *findings) flush() {
	if f.current != nil {
		f.r.changes.add(*f.current)
		f.current = nil
	}
}

func (f *findings) finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flush()
}

// hashes lists the blocks that are needed; nil when that are too many to list.
func (f *findings) hashes() []format.Hash {
	if f.over {
		return nil
	}
	need := []format.Hash{}
	for _, e := range f.entries {
		for i := range e.BlockCount() {
			need = append(need, e.Block(i))
		}
	}
	return need
}
