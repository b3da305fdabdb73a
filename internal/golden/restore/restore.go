// Package restore puts back what a golden holds.
//
// A restore has four steps. Stage builds the new state in folders of its own beside the targets, on
// the same file systems, mode 0700, and makes it durable; nothing that lives is touched. Swap brings
// it into place by renames and keeps the old state in those folders. Then Finish removes the old
// state, or Undo brings it back.
//
// A whole restore builds every root anew and exchanges it in one rename (a root that is a mount point
// cannot be renamed, so each name in it is). A restore in place compares the live tree with the
// golden by content and replaces only what differs. What a restore needs itself (Options.Protect) is
// never moved: the folders above it stay, and each name in them is exchanged instead. Before the first rename the list of all renames
// is written to a journal and synced; each of them is told done or not by the inode at its place. So
// a restore that was killed is discarded while nothing was renamed yet, and completed afterwards.
//
// What a golden leaves out and the host has (Header.Exclude, sockets, devices, folders of other
// restores) survives: in place it is not touched, and in a whole restore it is renamed into the new
// tree as part of the swap, and back again by Undo.
//
// Whoever may write to a folder of the tree may swap names in it at any moment. So paths are opened
// component by component without following links, and all work is relative to open folders.
package restore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"iter"
	"runtime"

	"github.com/shivx/shivx/internal/golden/format"
)

// Golden is the state to be restored. Entries may be ranged over more than once; an entry is only
// valid until the next. Check verifies the stored bytes of the blocks, all of the golden's when need
// is nil. Block returns a block in dst or a longer slice; it may be called by many at once.
type Golden interface {
	Header() format.Header
	Entries(ctx context.Context) iter.Seq2[*format.Entry, error]
	Check(ctx context.Context, need []format.Hash, progress func(bytes int64)) error
	Block(ctx context.Context, dst []byte, h format.Hash) ([]byte, error)
}

// Options say how to restore.
type Options struct {
	// Journal is the folder of the journal; it is made. Only one restore at a time may use it.
	Journal string
	// ID names the restore, in its journal and its folders; "": one is made up.
	ID string
	// InPlace replaces only what differs. Otherwise every root is built anew.
	InPlace bool
	// Only are files and folders of the golden, absolute; nothing else is restored, in place.
	Only []string
	// To is an absolute folder below which the state is put instead, each path as a whole; nothing
	// that exists there is replaced.
	To string
	// Protect are files and folders that stay as they are with all that is in them, whatever the golden
	// says; a restore of what lies in one is refused. Stay are folders that are not moved or removed: what
	// the golden has of their content is restored, and children that it does not have stay. What a restore
	// needs to be taken up or repeated has to be in one of them: its journal, the store, and the folders
	// by whose names they are found. All are absolute; those that do not exist do not matter.
	Protect, Stay []string
	// KeepOld is noted in the journal, for who resumes the restore and has to call Finish.
	KeepOld bool
	// Checked says that the caller has just had all of the golden checked; Stage does not do it again.
	Checked bool
	// Workers is how many files are worked on at once; 0: as many as there are processors.
	Workers int
	// Progress is called ten times a second at most, and never by two at once.
	Progress func(Progress)

	// cloned is how many entries that differ are kept in memory; 0: mostCloned.
	cloned int
	// step is told by tests' children of every point at which a kill may matter.
	step func(point string)
}

// Progress says how far a step has come.
type Progress struct {
	// Phase is "compare", "verify" or "write".
	Phase string
	// Files and Bytes are done; TotalBytes are expected, 0 where that is not known.
	Files, Bytes, TotalBytes int64
}

// run is one restore on its way to being staged.
type run struct {
	g   Golden
	o   Options
	h   format.Header
	sel selection
	// logs are removed besides what is restored; see logsOf.
	logs    []logFile
	places  *places
	meter   *meter
	changes *tally
	// spool takes the units; nil in a plan.
	spool *unitWriter
	seq   serial
	// spread are the folders that cannot be exchanged, with what they had before anything was made in them.
	spread map[string]*spreadFolder
}

func newRun(g Golden, o Options) (*run, error) {
	r := &run{g: g, o: o, h: g.Header(), changes: &tally{}}
	if r.o.Workers <= 0 {
		r.o.Workers = runtime.GOMAXPROCS(0)
	}
	if r.o.cloned == 0 {
		r.o.cloned = mostCloned
	}
	var err error
	if r.sel, err = newSelection(r.h, o.Only); err != nil {
		return nil, err
	}
	if o.To == "" {
		r.logs = logsOf(r.h, &r.sel)
	}
	if r.places, err = findPlaces(r.h, r.logs, o); err != nil {
		return nil, err
	}
	r.meter = &meter{report: o.Progress}
	return r, nil
}

// Plan says what a restore would change and changes nothing. The contents are compared.
func Plan(ctx context.Context, g Golden, o Options) (Changes, error) {
	r, err := newRun(g, o)
	if err != nil {
		return Changes{}, fmt.Errorf("plan the restore: %w", err)
	}
	defer r.places.close()
	if o.To != "" {
		err = r.planElsewhere(ctx)
	} else {
		_, err = r.compare(ctx)
	}
	if err != nil {
		return Changes{}, fmt.Errorf("plan the restore of golden %s: %w", r.h.ID, err)
	}
	return r.changes.result(), nil
}

// planElsewhere lists what would be put below another folder.
func (r *run) planElsewhere(ctx context.Context) error {
	need, err := r.survey(ctx)
	if err != nil {
		return err
	}
	for _, t := range need.tops {
		r.changes.add(Change{Path: t.path, Kind: Added, Type: t.typ, Entries: t.entries, Bytes: t.bytes})
	}
	return r.places.checkFree(need.tops)
}

// newID returns a name for a restore that no other has.
func newID(golden string) string {
	b := make([]byte, 6)
	_, _ = rand.Read(b) // never fails
	return golden + "-" + hex.EncodeToString(b)
}
