package golden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/durable"
	"github.com/shivx/shivx/internal/golden/restore"
)

// endedSuffix ends the names of notes about restores that are not gone on with, beside the journals; they are
// removed after endedFor, when no run asks any more.
const (
	endedSuffix = ".ended"
	endedFor    = 30 * 24 * time.Hour
)

// ended is such a note.
type ended struct {
	Set  string    `json:"set"`
	At   time.Time `json:"at"`
	Kept []string  `json:"kept,omitempty"`
	// Off is true of one that was called off: its old state is in place, or on its way back.
	Off bool `json:"off,omitempty"`
	// Swapped are the places whose files were exchanged.
	Swapped []string `json:"swapped,omitempty"`
}

func (e *Engine) endedPath(id string) string { return filepath.Join(e.Journals(), id+endedSuffix) }

// finish ends a restore whose state stays, and notes that before, so that a later undo is not told that
// there was nothing to do. A restore that cannot be finished is let go of; its journal stays.
func (e *Engine) finish(ctx context.Context, st *restore.Staged, set string, keepOld bool) ([]string, error) {
	places, err := e.swapped(st.ID())
	note := ended{Set: set, At: time.Now().UTC(), Swapped: places}
	if err == nil {
		err = e.write(st.ID(), note)
	}
	if err == nil {
		err = st.Finish(ctx, keepOld)
	}
	kept := st.Changes().Kept
	if note.Kept = kept; err == nil && len(kept) > 0 {
		err = e.write(st.ID(), note)
	}
	if e.staged == st {
		return kept, errors.Join(err, e.letGo())
	}
	return kept, errors.Join(err, st.Close())
}

// amend notes where the old state is kept of a restore that was killed in the finish.
func (e *Engine) amend(j restore.Journal, kept []string) error {
	n, err := e.note(j.ID)
	if err != nil {
		return err
	}
	if n == nil {
		n = &ended{Set: j.Set, At: time.Now().UTC()}
	}
	n.Kept = kept
	return e.write(j.ID, *n)
}

func (e *Engine) write(id string, n ended) error {
	e.sweep()
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(e.endedPath(id), data, 0o600); err != nil {
		return shivx.Hint(fmt.Errorf("note that the restore is over: %w", err), "make room for "+e.Journals())
	}
	return durable.SyncDir(e.Journals())
}

// sweep removes notes that nobody asks for any more, and those of a clock that was far ahead; that it cannot harms
// nothing.
func (e *Engine) sweep() {
	entries, err := os.ReadDir(e.Journals())
	if err != nil {
		return
	}
	for _, one := range entries {
		info, err := one.Info()
		if err == nil && strings.HasSuffix(one.Name(), endedSuffix) && time.Since(info.ModTime()).Abs() > endedFor {
			_ = os.Remove(filepath.Join(e.Journals(), one.Name()))
		}
	}
}

// note returns the note about a restore; nil when there is none.
func (e *Engine) note(id string) (*ended, error) {
	data, err := os.ReadFile(e.endedPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no note, no error
	}
	var n ended
	if err == nil {
		err = json.Unmarshal(data, &n)
	}
	if err != nil {
		return nil, shivx.Hint(fmt.Errorf("read the end of the restore %s, %s: %w", id, e.endedPath(id), err),
			"once the run of that restore has ended nobody needs it: move it away")
	}
	return &n, nil
}

// Over returns ErrOver when a restore is not gone on with: its state stays for good, or it was called off.
// What was noted of its earlier steps says nothing any more about what is in place.
func (e *Engine) Over(id string) error {
	n, err := e.note(id)
	switch {
	case err != nil || n == nil:
		return err
	case n.Off:
		return n.off(id)
	}
	return n.stays(id)
}

// CalledOff returns ErrOver when the old state is in place, or on its way back.
func (e *Engine) CalledOff(id string) error {
	n, err := e.note(id)
	if err != nil || n == nil || !n.Off {
		return err
	}
	return n.off(id)
}

func (n *ended) off(id string) error {
	return shivx.Hint(fmt.Errorf("%w: %s was called off at %s, so its state is not in place", ErrOver, id, n.At.Format(time.RFC3339)),
		"begin a new one: shivx golden restore "+n.Set)
}

func (n *ended) stays(id string) error {
	old := "the state from before it is gone"
	if len(n.Kept) > 0 {
		old = "the state from before it is kept in " + strings.Join(n.Kept, ", ")
	}
	return shivx.Hint(fmt.Errorf("%w: the state that %s has restored stays since %s; %s", ErrOver, id, n.At.Format(time.RFC3339), old),
		"compare with shivx golden diff "+n.Set+", and begin a new restore where it is not what it should be")
}

// callOff notes that a restore is not gone on with, as its old state is to be in place.
func (e *Engine) callOff(r Restore) error {
	places, err := e.swapped(r.ID)
	if err != nil {
		return err
	}
	if n, err := e.note(r.ID); err != nil || n != nil && n.Off {
		return err
	}
	if err := os.MkdirAll(e.Journals(), 0o700); err != nil {
		return fmt.Errorf("make the folder of journals: %w", err)
	}
	return e.write(r.ID, ended{Set: r.Set, At: time.Now().UTC(), Off: true, Swapped: places})
}
