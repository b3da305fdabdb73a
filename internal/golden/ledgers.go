package golden

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/restore"
	"github.com/shivx/shivx/internal/golden/source"
	"github.com/shivx/shivx/internal/ledger"
)

// ledgersSource is the name of the source of our own audit logs; no name in a configuration has a capital.
const ledgersSource = "Ledgers"

// ledgersAt is where the copies of ledgers stand in a golden: in no folder that a set may leave out, and
// never where a ledger lies.
const ledgersAt = "/shivx-ledgers"

// LedgerJoin is what a restore has done about one of our own audit logs.
type LedgerJoin struct {
	// Path of the live ledger.
	Path string
	ledger.Joined
	// Err says why nothing could be done; the ledger is as it was.
	Err error
}

// String says it in one line.
func (j LedgerJoin) String() string {
	name := filepath.Base(j.Path)
	switch {
	case j.Err != nil:
		return fmt.Sprintf("%s: left as it is, for its copy could not be joined: %v", name, j.Err)
	case j.Outcome == ledger.JoinJoined:
		line := fmt.Sprintf("%s: %d lost records are back, up to record %d", name, j.Added, j.Records)
		if j.Kept != "" {
			line += "; the replaced files are in " + j.Kept
		}
		return line
	case j.Outcome == ledger.JoinDiverged:
		return fmt.Sprintf("%s: left as it is; the golden's has %d other records and is kept in %s", name, j.Records-j.Common, j.Kept)
	case j.Outcome == ledger.JoinBusy:
		return fmt.Sprintf("%s: in use and left as it is; the golden's has %d records that it lacks and is kept in %s", name, j.Added, j.Kept)
	}
	return fmt.Sprintf("%s: has all %d records of the golden", name, j.Records)
}

// RecordWith says how to append to a ledger that this process or another has open. Before the first use
// of the engine.
func (e *Engine) RecordWith(record func(ctx context.Context, path, key string, fields any) error) {
	e.o.Record = record
}

// ledgersIn is where a golden has the copies of ledgers; "": it has none.
func ledgersIn(h format.Header) string {
	for _, s := range h.Sources {
		if s.Type == source.TypeLedgers {
			return s.Path
		}
	}
	return ""
}

// visible is what of a golden a restore puts in place. The copies of ledgers are not: they are joined
// with the live ones afterwards. Who restores below another folder, asks for them, or has no ledgers that
// they could be joined with, gets them as files.
func (e *Engine) visible(g restore.Golden, r Restore) restore.Golden {
	at := ledgersIn(g.Header())
	asked := slices.ContainsFunc(r.Only, func(o string) bool { return at != "" && format.Below(at, o) })
	set, err := e.Set(r.Set)
	if at == "" || r.To != "" || asked || err != nil || len(set.Ledgers) == 0 {
		return g
	}
	return without{g, at}
}

// without is a golden without what lies at a path.
type without struct {
	restore.Golden
	at string
}

func (w without) Header() format.Header {
	h := w.Golden.Header()
	hidden := func(p string) bool { return p == w.at }
	h.Roots = slices.DeleteFunc(slices.Clone(h.Roots), hidden)
	h.Sources = slices.DeleteFunc(slices.Clone(h.Sources), func(s format.Source) bool { return hidden(s.Path) })
	return h
}

func (w without) Entries(ctx context.Context) iter.Seq2[*format.Entry, error] {
	return func(yield func(*format.Entry, error) bool) {
		for e, err := range w.Golden.Entries(ctx) {
			if err == nil && format.Below(w.at, e.Path) {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// joinLedgers joins the copies that the golden has with the live ledgers. That one cannot be joined is
// in what it returns, and is no reason to undo a restore.
func (e *Engine) joinLedgers(ctx context.Context, set Set, r Restore, g restore.Golden) ([]LedgerJoin, error) {
	at := ledgersIn(g.Header())
	if at == "" || len(set.Ledgers) == 0 || len(r.Only) > 0 || r.To != "" {
		return nil, nil
	}
	all := filepath.Join(e.o.Dir, "joins")
	dir := filepath.Join(all, r.ID)
	defer func() { _ = os.RemoveAll(all) }() // copies of copies, and what a kill has left of others
	copies, err := extract(ctx, g, at, dir)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var out []LedgerJoin
	for _, path := range set.Ledgers {
		if err == nil && !copyOf(path, copies) {
			continue
		}
		j := LedgerJoin{Path: path, Err: err}
		if err == nil {
			j.Joined, j.Err = e.joinLedger(ctx, path, filepath.Join(copies, filepath.Base(path)), r)
		}
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		if j.Err != nil {
			e.o.Logger.Error("a ledger is not joined with its copy", "ledger", path, "golden", r.Golden, "error", j.Err)
		}
		out = append(out, j)
	}
	return out, nil
}

// copyOf says whether a folder has a copy of the ledger at path: a set names ledgers that a host may not have.
func copyOf(path, folder string) bool {
	name := filepath.Base(path)
	files, err := os.ReadDir(folder)
	return err != nil || slices.ContainsFunc(files, func(f os.DirEntry) bool {
		return strings.HasPrefix(f.Name(), strings.TrimSuffix(name, filepath.Ext(name))+".")
	})
}

func (e *Engine) joinLedger(ctx context.Context, path, copied string, r Restore) (ledger.Joined, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return ledger.Joined{}, err
	}
	j, err := ledger.Join(ctx, path, copied, ledger.JoinOptions{ID: r.ID, Copy: r.Golden, Logger: e.o.Logger})
	if err != nil || j.Outcome == ledger.JoinSame || j.Recorded {
		return j, err
	}
	if e.o.Record == nil {
		e.o.Logger.Warn("what became of the copy of a ledger is not in it, as it is in use", "ledger", path, "kept", j.Kept)
		return j, nil
	}
	key, fields := j.Record(time.Now())
	if err := e.o.Record(ctx, path, key, fields); err != nil {
		return j, fmt.Errorf("record what became of the copy, which is kept in %s: %w", j.Kept, err)
	}
	return j, nil
}

// extract puts the copies of ledgers into dir, which it makes anew, and returns their folder.
func extract(ctx context.Context, g restore.Golden, at, dir string) (string, error) {
	to := filepath.Join(dir, "to")
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return "", err
	}
	st, err := restore.Stage(ctx, g, restore.Options{Journal: filepath.Join(dir, "journal"), Only: []string{at}, To: to})
	if err != nil {
		return "", err
	}
	_, err = st.Swap(ctx)
	if err == nil {
		err = st.Finish(ctx, false)
	}
	return filepath.Join(to, at), errors.Join(err, st.Close())
}
