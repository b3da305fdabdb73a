package capture

import (
	"context"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
)

// previousBatch is how many entries of the golden before are passed on at a time, and
// previousAhead how many times that.
const (
	previousBatch = 64
	previousAhead = 8
)

// previous passes on the entries of the golden before, which a goroutine of its own reads.
type previous struct {
	full, free chan []format.Entry
	// err is why the entries ended early; it is set before full is closed.
	err error

	batch []format.Entry
	at    int
}

func newPrevious() *previous {
	p := &previous{full: make(chan []format.Entry, previousAhead), free: make(chan []format.Entry, previousAhead)}
	for range previousAhead {
		p.free <- make([]format.Entry, 0, previousBatch)
	}
	return p
}

// feed reads the entries until they end or ctx does.
func (p *previous) feed(ctx context.Context, entries iter.Seq2[*format.Entry, error]) {
	defer close(p.full)
	if entries == nil {
		return
	}
	var batch []format.Entry
	for e, err := range entries {
		if err != nil {
			p.err = err
			break
		}
		if batch == nil {
			select {
			case batch = <-p.free:
			case <-ctx.Done():
				return
			}
		}
		batch = append(batch, clone(e))
		if len(batch) == previousBatch {
			p.full <- batch // never waits: there are no more batches than fit
			batch = nil
		}
	}
	if batch != nil {
		p.full <- batch
	}
}

func clone(e *format.Entry) format.Entry {
	c := *e
	// An entry that is used again may have empty slices where it has none; of Data alone that says something.
	c.Blocks, c.Xattrs = append([]format.Hash(nil), e.Blocks...), append([]format.Xattr(nil), e.Xattrs...)
	c.Data = slices.Clone(e.Data)
	for i := range c.Xattrs {
		c.Xattrs[i].Value = slices.Clone(c.Xattrs[i].Value)
	}
	return c
}

// find moves on to the entry of a name in the folder of a prefix and returns it, or nil. Calls come
// in order. The entry is valid until the next call.
func (p *previous) find(prefix, name string) *format.Entry {
	for {
		if p.at == len(p.batch) && !p.next() {
			return nil
		}
		e := &p.batch[p.at]
		switch c := compare(e.Path, prefix, name); {
		case c == 0:
			p.at++
			return e
		case c > 0:
			return nil
		}
		p.at++
	}
}

func (p *previous) next() bool {
	if p.batch != nil {
		clear(p.batch)
		p.free <- p.batch[:0]
		p.batch = nil
	}
	p.batch, p.at = <-p.full, 0
	return p.batch != nil
}

// compare is format.ComparePaths(path, prefix+name).
func compare(path, prefix, name string) int {
	rest, below := strings.CutPrefix(path, prefix)
	switch {
	case !below:
		return format.ComparePaths(path, prefix)
	case rest == name:
		return 0
	}
	return format.ComparePaths(rest, name)
}

// unchanged says whether nothing was done to what e stands for since then.
func unchanged(e *format.Entry, st *unix.Stat_t) bool {
	return e.Hint.Changed != 0 && e.Hint.Changed == st.Ctim.Nano() &&
		e.Hint.Inode == st.Ino && e.Hint.Device == st.Dev &&
		e.Mode == st.Mode&0o7777 && e.UID == st.Uid && e.GID == st.Gid &&
		e.ModTime.Unix() == st.Mtim.Sec && int64(e.ModTime.Nanosecond()) == st.Mtim.Nsec &&
		(e.Type != format.TypeFile || e.Size == st.Size) && e.Type == typeOf(st.Mode)
}

// typeOf is the type of what is stored; "" is not.
func typeOf(mode uint32) format.Type {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return format.TypeFile
	case unix.S_IFDIR:
		return format.TypeDir
	case unix.S_IFLNK:
		return format.TypeSymlink
	case unix.S_IFIFO:
		return format.TypeFIFO
	default:
		return ""
	}
}
