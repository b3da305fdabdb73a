package restore

import (
	"path"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// inode identifies a file by its device and number.
type inode struct{ dev, ino uint64 }

// inodes notes which file of several names was met under which first.
type inodes struct {
	mu    *sync.Mutex
	first map[inode]string
}

func newInodes() inodes { return inodes{mu: &sync.Mutex{}, first: map[inode]string{}} }

// claim notes a file under a path; when it is noted under another one already that is returned.
func (i inodes) claim(st *unix.Stat_t, path string) (first string) {
	if st.Nlink < 2 {
		return ""
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	key := inode{uint64(st.Dev), st.Ino}
	if first = i.first[key]; first == "" {
		i.first[key] = path
	}
	return first
}

// link is a hard link that is looked at when the file it is another name of has been.
type link struct {
	dir   *folder
	name  string
	entry *format.Entry
}

// mostLinksWaiting bounds the folders that are kept open for links.
const mostLinksWaiting = 1000

func (c *comparer) addLink(d *liveDir, it item, base string) error {
	d.hold()
	c.links = append(c.links, link{dir: d.folder, name: base, entry: cloneEntry(&format.Entry{}, it.Entry)})
	if len(c.links) < mostLinksWaiting {
		return nil
	}
	return c.settleLinks()
}

// settleLinks compares the links that wait.
func (c *comparer) settleLinks() error {
	if len(c.links) == 0 {
		return nil
	}
	if err := c.crew.drain(); err != nil {
		return err
	}
	staged := c.found.index()
	for _, l := range c.links {
		st, ok, err := statAt(l.dir.fd, l.name)
		if err != nil || !ok {
			return busy(l.entry.Path, join(err, unix.ENOENT))
		}
		c.inode.mu.Lock()
		first := c.inode.first[inode{uint64(st.Dev), st.Ino}]
		c.inode.mu.Unlock()
		if first == l.entry.Link && !staged.holds(l.entry.Link) {
			c.r.changes.same(0)
			continue
		}
		c.content(l.dir, l.entry, "it is not, or will no longer be, one file with "+l.entry.Link)
	}
	return c.dropLinks()
}

func (c *comparer) dropLinks() error {
	var err error
	for _, l := range c.links {
		err = join(err, l.dir.release())
	}
	c.links = c.links[:0]
	return err
}

// pathSet tells paths that are in it or below one that is.
type pathSet map[string]int

// index returns the tops noted so far with their numbers.
func (f *findings) index() pathSet {
	f.mu.Lock()
	defer f.mu.Unlock()
	set := make(pathSet, len(f.tops))
	for i, p := range f.tops {
		set[p] = i
	}
	return set
}

// find returns the path in the set that p is or lies below.
func (s pathSet) find(p string) (string, bool) {
	for ; p != "/" && p != "."; p = path.Dir(p) {
		if _, ok := s[p]; ok {
			return p, true
		}
	}
	return "", false
}

func (s pathSet) holds(p string) bool {
	_, ok := s.find(p)
	return ok
}
