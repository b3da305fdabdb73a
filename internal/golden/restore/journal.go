package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// State is how far a restore has come.
type State string

// The states. While staging and staged the old state is in place, once swapped the new one is. A
// restore that was killed while swapping, undoing or finishing is completed.
const (
	StateStaging   State = "staging"
	StateStaged    State = "staged"
	StateSwapping  State = "swapping"
	StateSwapped   State = "swapped"
	StateUndoing   State = "undoing"
	StateFinishing State = "finishing"
	// StateGone: nothing is left of the restore but its result.
	StateGone State = "gone"
)

// Journal is what is known on disk of a restore.
type Journal struct {
	// Version is journalVersion.
	Version int       `json:"version"`
	ID      string    `json:"id"`
	Golden  string    `json:"golden"`
	Set     string    `json:"set"`
	State   State     `json:"state"`
	Begun   time.Time `json:"begun"`
	// InPlace, To and Roots say what is restored where.
	InPlace bool    `json:"in_place,omitempty"`
	To      name    `json:"to,omitempty"`
	Roots   []root  `json:"roots,omitempty"`
	Sites   []*site `json:"sites"`
	// Exclude and Skipped are what the golden leaves out.
	Exclude []string `json:"exclude,omitempty"`
	Skipped []name   `json:"skipped,omitempty"`
	// Sources are what of it are exports, which it has whole.
	Sources []format.Source `json:"sources,omitempty"`
	// Made are folders that were made for others to lie in.
	Made []name `json:"made,omitempty"`
	// Units are how many lines the current list of units has.
	Units int `json:"units"`
	// Keep is set when Finish shall keep the old state, or when Options.KeepOld asked for it.
	Keep    bool    `json:"keep,omitempty"`
	Changes Changes `json:"changes"`

	dir  string
	step func(string)
}

// journalVersion is that of the journals and lists of units that are written and read here.
const journalVersion = 1

// Suffixes of the files of a restore in the folder of the journals.
const (
	journalFile = ".journal"
	stagedFile  = ".staged"
	swapFile    = ".swap"
	undoFile    = ".undo"
	// reserveFile holds the room that an undo needs, for a disk that is full by then.
	reserveFile = ".reserve"
)

func (j *Journal) path(suffix string) string { return filepath.Join(j.dir, j.ID+suffix) }

// write makes the journal durable in a state.
func (j *Journal) write(s State) error {
	next := *j
	next.Version, next.State = journalVersion, s
	next.Changes.List, next.Changes.More = nil, 0
	data, err := json.Marshal(&next)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(j.path(journalFile), data, 0o600); err != nil {
		return shivx.Hint(fmt.Errorf("write the journal: %w", err), "make room for "+j.dir+", or make it writable")
	}
	j.State = s
	if err := syncFolder(j.dir); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	j.mark("journal " + string(s))
	return nil
}

func (j *Journal) mark(point string) {
	if j.step != nil {
		j.step(point)
	}
}

// remove ends the journal; the file that makes it one goes first.
func (j *Journal) remove() error {
	for _, suffix := range []string{journalFile, stagedFile, swapFile, undoFile, reserveFile} {
		if err := os.Remove(j.path(suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the journal: %w", err)
		}
		j.mark("removed " + suffix)
	}
	j.State = StateGone
	return syncFolder(j.dir)
}

// reserve sets aside room for the undo: its list of units, and the journal twice. Both are files of their
// own, so that the list is there from now on, and the reserve makes way for the journal.
func (j *Journal) reserve() error {
	size := int64(256 << 10)
	if info, err := os.Stat(j.path(swapFile)); err == nil {
		size += 2 * info.Size()
	}
	if err := errors.Join(allocate(j.path(undoFile), 0), allocate(j.path(reserveFile), size)); err != nil {
		return shivx.Hint(fmt.Errorf("set room aside for the journal: %w", err), "make room for "+j.dir)
	}
	return nil
}

// allocate makes an empty file with room for size bytes, where the file system can promise that.
func allocate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if size > 0 {
		err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// useReserve frees the room that was set aside.
func (j *Journal) useReserve() error {
	err := os.Remove(j.path(reserveFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Pending returns the restores that are under way or were cut off, the oldest first; none when the
// folder does not exist.
func Pending(journalDir string) ([]Journal, error) {
	paths, err := filepath.Glob(filepath.Join(escapeGlob(journalDir), "*"+journalFile))
	if err != nil {
		return nil, err
	}
	var list []Journal
	for _, p := range paths {
		j, err := readJournal(journalDir, strings.TrimSuffix(filepath.Base(p), journalFile))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, j)
	}
	slices.SortFunc(list, func(a, b Journal) int { return a.Begun.Compare(b.Begun) })
	return list, nil
}

// readJournal reads the journal of a restore. The error wraps fs.ErrNotExist when the restore has ended.
func readJournal(dir, id string) (Journal, error) {
	p := filepath.Join(dir, id+journalFile)
	data, err := os.ReadFile(p)
	if err != nil {
		return Journal{}, fmt.Errorf("read the journal: %w", err)
	}
	j := Journal{dir: dir}
	if err := json.Unmarshal(data, &j); err != nil || j.ID != id {
		return Journal{}, shivx.Hint(fmt.Errorf("read the journal %s: %w", p, errors.Join(err, errors.New("not a journal"))), byHand(id, p))
	}
	if j.Version != journalVersion {
		return Journal{}, shivx.Hint(fmt.Errorf("read the journal %s: the restore was begun by another version of ShivX: its journal is of version %d, not %d",
			p, j.Version, journalVersion), "resume it with the version that began it; or else "+byHand(id, p))
	}
	return j, nil
}

// byHand says what to do about a restore whose journal cannot be used.
func byHand(id, path string) string {
	return "look for the folders " + StagePrefix + id + " beside the restored paths and in those that are mounted: what the restore replaced, or was to put in place, is in them, " +
		"and " + path + " with the files beside it says what goes where; put it right by hand, then move these files away"
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// ErrBusy says that another restore is under way.
var ErrBusy = errors.New("another restore is under way")

// lock takes the folder of journals for one restore; the lock ends with the process.
func lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of journals: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the folder of journals: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = shivx.Hint(ErrBusy, "wait until it is done, or end it")
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// sweep removes what killed restores left that is no journal: lists of units without one, and
// journals that were being written.
func sweep(dir string) error {
	var stale []string
	for _, suffix := range []string{stagedFile, swapFile, undoFile, reserveFile} {
		paths, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*"+suffix))
		if err != nil {
			return err
		}
		for _, p := range paths {
			if _, err := os.Stat(strings.TrimSuffix(p, suffix) + journalFile); errors.Is(err, fs.ErrNotExist) {
				stale = append(stale, p)
			}
		}
	}
	unwritten, err := filepath.Glob(filepath.Join(escapeGlob(dir), ".*"+journalFile+"*"))
	if err != nil {
		return err
	}
	for _, p := range append(stale, unwritten...) {
		if err := os.Remove(p); err != nil {
			return fmt.Errorf("remove what a killed restore left: %w", err)
		}
	}
	return nil
}
