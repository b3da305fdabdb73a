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

// endedSuffix ends the names of notes about restores whose state stays, beside the journals; they are
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
}

func (e *Engine) endedPath(id string) string { return filepath.Join(e.Journals(), id+endedSuffix) }

// finish ends a restore whose state stays, and notes that before, so that a later undo is not told that
// there was nothing to do. A restore that cannot be finished is let go of; its journal stays.
func (e *Engine) finish(ctx context.Context, st *restore.Staged, set string, keepOld bool) ([]string, error) {
	note := ended{Set: set, At: time.Now().UTC()}
	err := e.write(st.ID(), note)
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

// sweep removes notes that nobody asks for any more; that it cannot harms nothing.
func (e *Engine) sweep() {
	entries, err := os.ReadDir(e.Journals())
	if err != nil {
		return
	}
	for _, one := range entries {
		info, err := one.Info()
		if err == nil && strings.HasSuffix(one.Name(), endedSuffix) && time.Since(info.ModTime()) > endedFor {
			_ = os.Remove(filepath.Join(e.Journals(), one.Name()))
		}
	}
}

// over returns ErrOver when the state of the restore stays.
func (e *Engine) over(id string) error {
	data, err := os.ReadFile(e.endedPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var n ended
	if err == nil {
		err = json.Unmarshal(data, &n)
	}
	if err != nil {
		return fmt.Errorf("read the end of the restore %s: %w", id, err)
	}
	old := "the state from before it is gone"
	if len(n.Kept) > 0 {
		old = "the state from before it is kept in " + strings.Join(n.Kept, ", ")
	}
	return shivx.Hint(fmt.Errorf("%w: the state that %s has restored stays since %s; %s", ErrOver, id, n.At.Format(time.RFC3339), old),
		"compare with shivx golden diff "+n.Set+", and restore again where it is not what it should be")
}

// forget removes the note of a restore that was undone after all.
func (e *Engine) forget(id string) error {
	if err := os.Remove(e.endedPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
