package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/durable"
)

// A join is built in the folder <path>.joining: the new files in "new", and last the plan. From then on
// it takes place, by renames that are each told done or not by what is where, and whoever opens the
// ledger does what is left of it.
const (
	joinNew  = "new"
	joinPlan = "plan.json"
)

func joinFolder(path string) string { return path + ".joining" }

// plan is what is left to do, and the record for it.
type plan struct {
	// Aside is the folder into which the files Move go; Place come from "new".
	Aside string   `json:"aside"`
	Move  []string `json:"move"`
	Place []string `json:"place"`
	Join  Joined   `json:"join"`
}

// stage builds a join.
type stage struct {
	path, copied string
	o            JoinOptions
	c            *comparison
	// is and was are the heads of the ledger and of the copy.
	is, was   []byte
	headsSize int64
}

// build builds the joined ledger beside the files in use and returns where these are going to be kept.
// The caller has the lock.
func (s *stage) build(ctx context.Context, j Joined) (string, error) {
	folder := joinFolder(s.path)
	err := os.RemoveAll(folder)
	if err == nil {
		err = os.MkdirAll(filepath.Join(folder, joinNew), 0o750)
	}
	if err == nil {
		s.o.step("folder made")
		err = s.write(ctx, filepath.Join(folder, joinNew, filepath.Base(s.path)))
	}
	var p plan
	if err == nil {
		p, err = s.plan()
	}
	dir, stem, _ := splitPath(s.path)
	if len(p.Move) > 0 {
		p.Aside = filepath.Join(dir, stem+".before-join-"+s.o.ID)
	}
	p.Join = j
	p.Join.Kept = p.Aside
	if err == nil {
		err = settleFolder(filepath.Join(folder, joinNew), dir)
	}
	s.o.step("built")
	if err == nil {
		err = s.commit(p)
	}
	if err != nil {
		return "", writeHint(errors.Join(err, os.RemoveAll(folder)))
	}
	s.o.step("planned")
	return p.Aside, nil
}

// write writes the copy's records and after them all that the ledger has beyond.
func (s *stage) write(ctx context.Context, to string) (err error) {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	put := func(line []byte) bool {
		_, err = w.Write(line)
		if err == nil {
			err = w.WriteByte('\n')
		}
		return err == nil
	}
	last := uint64(0)
	if read := eachLine(ctx, s.copied, func(l liveLine) bool {
		last = l.seq
		return put(l.bytes) && l.seq < s.c.n
	}); err == nil {
		err = read
	}
	if err != nil || last != s.c.n {
		return errors.Join(err, countErr(last, s.c.n))
	}
	t := s.c.tail
	if read := eachLine(ctx, s.path, func(l liveLine) bool {
		newer := t.first > 0 && (l.segment > t.segment || l.segment == t.segment && l.off >= t.off)
		return !newer || put(l.bytes)
	}); err == nil {
		err = read
	}
	if err != nil {
		return err
	}
	return w.Flush()
}

func countErr(got, want uint64) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("the copy has changed: it ended at record %d and ends at %d: %w", want, got, ErrDamaged)
}

// plan lists what is moved aside and what is put in place, and writes the heads.
func (s *stage) plan() (plan, error) {
	var p plan
	dir, _, _ := splitPath(s.path)
	base := filepath.Base(s.path)
	sealed, err := sealedSegments(s.path)
	if err != nil {
		return p, err
	}
	for _, seg := range sealed {
		p.Move = append(p.Move, filepath.Base(seg.path))
	}
	p.Place = []string{base}
	heads := joinHeads(s.is, s.was, s.c.common > 0 || s.c.tail.prev == s.c.hash)
	if !bytes.Equal(heads, s.is) || int64(len(s.is)) != s.headsSize {
		if err := os.WriteFile(filepath.Join(joinFolder(s.path), joinNew, base+".heads"), heads, 0o640); err != nil {
			return p, err
		}
		p.Place = append(p.Place, base+".heads")
	}
	p.Move = append(p.Move, p.Place...)
	// A key signs on where the heads know it; the key of another ledger would not.
	if k, err := publicKey(s.path + ".key"); err != nil || len(heads) > 0 && !geneses(heads)[k.Genesis] {
		p.Move = append(p.Move, base+".key")
	}
	var there []string
	for _, name := range p.Move {
		if exists(filepath.Join(dir, name)) {
			there = append(there, name)
		}
	}
	p.Move = there
	return p, nil
}

// commit writes the plan, by which the join has begun.
func (s *stage) commit(p plan) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	folder := joinFolder(s.path)
	name := filepath.Join(folder, joinPlan)
	if err := writeSynced(name+".tmp", data); err != nil {
		return err
	}
	if err := durable.SyncDir(folder); err != nil {
		return err
	}
	if err := syncDir(s.path); err != nil {
		return err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return err
	}
	return durable.SyncDir(folder)
}

// finishJoin does what is left of a join; nil when there is none. The caller has the lock, and calls
// endJoin once the record is appended.
func finishJoin(path string, step func(string)) (*Joined, error) {
	folder := joinFolder(path)
	data, err := os.ReadFile(filepath.Join(folder, joinPlan))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, os.RemoveAll(folder) // it had not begun
	}
	var p plan
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err == nil {
		err = p.carryOut(path, step)
	}
	if err != nil {
		return nil, writeHint(fmt.Errorf("end the join of ledger %s: %w", path, err))
	}
	return &p.Join, nil
}

func (p plan) carryOut(path string, step func(string)) error {
	dir, _, _ := splitPath(path)
	staged := filepath.Join(joinFolder(path), joinNew)
	// Once a file was placed nothing is moved any more, also where people have removed what was moved.
	if !slices.ContainsFunc(p.Place, func(name string) bool { return !exists(filepath.Join(staged, name)) }) {
		if err := errors.Join(p.moveAside(dir, step), syncDir(path)); err != nil {
			return err
		}
	}
	for _, name := range p.Place {
		if !exists(filepath.Join(staged, name)) {
			continue
		}
		if err := moveFile(filepath.Join(staged, name), filepath.Join(dir, name)); err != nil {
			return err
		}
		step("placed " + name)
	}
	return syncDir(path)
}

func (p plan) moveAside(dir string, step func(string)) error {
	if len(p.Move) == 0 {
		return nil
	}
	if err := os.Mkdir(p.Aside, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, name := range p.Move {
		if exists(filepath.Join(p.Aside, name)) {
			continue
		}
		if err := moveFile(filepath.Join(dir, name), filepath.Join(p.Aside, name)); err != nil {
			return err
		}
		step("moved " + name)
	}
	return settleFolder(p.Aside, dir)
}

func moveFile(from, to string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// endJoin records a join and forgets it.
func (l *Ledger) endJoin(ctx context.Context, j *Joined) {
	key, fields := j.Record(l.opts.Now())
	_, err := l.Append(ctx, key, fields)
	if err == nil {
		l.opts.step("recorded")
		err = os.RemoveAll(joinFolder(l.path))
	}
	if err != nil {
		l.log.Error("the record of a join is missing; it is appended at the next start", "join", j.ID, "kept", j.Kept, "error", err)
		return
	}
	l.log.Warn("a ledger that had lost records has them again from a copy", "copy", j.Copy, "added", j.Added, "kept", j.Kept)
}
