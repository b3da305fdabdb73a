package restore

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// unit is one change of the live tree: a rename, or other metadata of a file that stays.
type unit struct {
	Site int `json:"site"`
	// Target is the path below the site's base.
	Target name `json:"target"`
	// Staged is where below the staging folder the new content lies before and the old one after.
	Staged name `json:"staged,omitempty"`
	// New and Old are the inode numbers of both; 0: there is none.
	New uint64 `json:"new,omitempty"`
	Old uint64 `json:"old,omitempty"`
	// Carry are paths below Target that are renamed from the tree that goes to the one that comes.
	Carry []name `json:"carry,omitempty"`
	// Touch are folders whose times the carrying changes.
	Touch []touched `json:"touch,omitempty"`
	// Meta is set when nothing is renamed.
	Meta *metaChange `json:"meta,omitempty"`
}

// touched is a folder below a unit's target, "." for itself, and its time in both trees.
type touched struct {
	Path name     `json:"path"`
	New  *instant `json:"new,omitempty"`
	Old  *instant `json:"old,omitempty"`
}

// metaChange is the metadata of the live file with the inode number Ino before and after.
type metaChange struct {
	Ino uint64 `json:"ino"`
	Old meta   `json:"old"`
	// New is nil where the golden says nothing of it: then only a way back is kept.
	New *meta `json:"new,omitempty"`
	// Changed is when a file was changed last, by the kernel's account (ctime), when its content was compared.
	Changed *instant `json:"changed,omitempty"`
}

// Folders in a staging folder: what is to come into place, and what was moved aside.
const (
	comingDir = "new"
	asideDir  = "old"
)

// serial numbers names in staging folders.
type serial struct{ n atomic.Int64 }

// next returns a name that ends in base, so that a validator that goes by the ending works.
func (s *serial) next(base string) string {
	n := strconv.FormatInt(s.n.Add(1), 10)
	if len(n)+1+len(base) > mostName {
		return n
	}
	return n + "-" + base
}

// spoolUnit writes down a unit for a path of the golden; in is the folder of the staging folder that
// it needs a name in, if any.
func (r *run) spoolUnit(u unit, path, in string) error {
	s, rel := r.places.at(path)
	r.places.use(s)
	u.Site, u.Target = s.number, name(rel)
	if in != "" {
		u.Staged = name(in + "/" + r.seq.next(filepath.Base(rel)))
	}
	if r.spool == nil {
		return nil
	}
	return r.spool.write(&u)
}

// unitWriter writes units to a file, one JSON object a line.
type unitWriter struct {
	mu  sync.Mutex
	f   *os.File
	buf *bufio.Writer
	enc *json.Encoder
	n   int
}

func createUnits(path string) (*unitWriter, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write the journal: %w", err)
	}
	w := &unitWriter{f: f, buf: bufio.NewWriterSize(f, 64<<10)}
	w.enc = json.NewEncoder(w.buf)
	w.enc.SetEscapeHTML(false)
	return w, nil
}

func (w *unitWriter) write(u *unit) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	if err := w.enc.Encode(u); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// finish makes the file durable and returns how many units it has.
func (w *unitWriter) finish() (int, error) {
	if err := errors.Join(w.buf.Flush(), w.f.Sync(), w.f.Close()); err != nil {
		return 0, fmt.Errorf("write the journal: %w", err)
	}
	return w.n, nil
}

func (w *unitWriter) abort() {
	if w != nil {
		_ = w.f.Close()
	}
}

// readUnits reads what a unitWriter wrote; fewer than want is an error.
func readUnits(path string, want int) iter.Seq2[*unit, error] {
	return func(yield func(*unit, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(nil, fmt.Errorf("read the journal: %w", err))
			return
		}
		defer f.Close()
		dec := json.NewDecoder(bufio.NewReaderSize(f, 64<<10))
		for n := 0; ; n++ {
			u := &unit{}
			err := dec.Decode(u)
			if errors.Is(err, io.EOF) && n == want {
				return
			}
			if err == nil && !u.safe() {
				err = errors.New("a path in it leads out of its folder")
			}
			if err != nil {
				yield(nil, fmt.Errorf("read the journal %s: unit %d of %d: %w", path, n, want, err))
				return
			}
			if !yield(u, nil) {
				return
			}
		}
	}
}

// safe says whether the paths of a unit stay within their folders.
func (u *unit) safe() bool {
	ok := filepath.IsLocal(string(u.Target)) && (u.Staged == "" || filepath.IsLocal(string(u.Staged)))
	for _, c := range u.Carry {
		ok = ok && filepath.IsLocal(string(c))
	}
	for _, t := range u.Touch {
		ok = ok && filepath.IsLocal(string(t.Path))
	}
	return ok
}

// split returns the folder and the last part of a path below a base.
func split(rel string) (dir, base string) {
	i := strings.LastIndexByte(rel, '/')
	if i < 0 {
		return ".", rel
	}
	return rel[:i], rel[i+1:]
}
