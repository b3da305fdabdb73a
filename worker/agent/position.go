package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// retold is how old findings may be that are told again when the dispatcher's position was lost.
// Entities remember the latest findings, not all: an old one would count as a new fault.
const retold = time.Hour

// position is where the dispatcher is in the ledger.
type position struct {
	// next is the first record that was not yet told.
	next uint64
	// since is set when the position was lost: findings from before it are passed over.
	since time.Time
}

func (a *Agent) positionPath() string {
	return filepath.Join(a.cfg.Paths.Var, "recovery", "dispatched")
}

// openPosition reads the saved position. One that was lost does not keep the agent from healing.
func (a *Agent) openPosition() position {
	last, _ := a.ledger.Last()
	next, err := a.readPosition(last)
	if err == nil {
		return position{next: next}
	}
	if errors.Is(err, fs.ErrNotExist) && last == 0 {
		if err := a.savePosition(1); err != nil {
			a.log.Error("the dispatcher's first position was not saved", "error", err)
		}
		return position{next: 1}
	}
	now := time.Now()
	args := []any{"error", err, "hint", "nothing needs to be done: findings of the last hour are told again; an older fault that still holds is found anew"}
	if !errors.Is(err, fs.ErrNotExist) {
		aside := a.positionPath() + ".damaged-" + now.UTC().Format("20060102T150405Z")
		if err := os.Rename(a.positionPath(), aside); err != nil {
			a.log.Error("the dispatcher's damaged position could not be set aside", "error", err)
		} else {
			args = append(args, "kept", aside)
		}
	}
	a.log.Warn("the dispatcher's position was lost", args...)
	return position{next: 1, since: now.Add(-retold)}
}

// readPosition reads the saved position in a ledger whose last record is known.
func (a *Agent) readPosition(last uint64) (uint64, error) {
	b, err := os.ReadFile(a.positionPath())
	if err != nil {
		return 0, fmt.Errorf("read the dispatcher's position: %w", err)
	}
	next, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the dispatcher's position in %s is damaged: %w", a.positionPath(), err)
	}
	if next > last+1 {
		return 0, fmt.Errorf("the dispatcher's position %d in %s is beyond the ledger's end, %d", next, a.positionPath(), last)
	}
	return next, nil
}

// savePosition needs no sync: a position that is lost in a crash is only an older one.
func (a *Agent) savePosition(next uint64) error {
	return renameio.WriteFile(a.positionPath(), []byte(strconv.FormatUint(next, 10)+"\n"), 0o640)
}
