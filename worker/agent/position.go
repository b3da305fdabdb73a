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

// retoldFindings is how old findings may be that are told again when the position of their
// outbox was lost. Entities remember the latest findings, not all: an old one would count as a
// new fault.
//
// Changes of the level have no such age. They are numbered without a gap, and who is told keeps
// the last number and drops what it has seen: telling all of them again harms nothing, while
// leaving out old ones that Temporal, away for long, has not heard of would tear a gap.
const retoldFindings = time.Hour

// position is where an outbox is in its ledger.
type position struct {
	// next is the first record that was not yet told.
	next uint64
	// since is set when the position was lost: what was observed before it is passed over.
	since time.Time
}

// openPosition reads the saved position. One that was lost does not keep the agent from healing.
func (o *Outbox) openPosition() position {
	last, _ := o.ledger.Last()
	next, err := o.readPosition(last)
	if err == nil {
		o.saved = next
		return position{next: next}
	}
	missing := errors.Is(err, fs.ErrNotExist)
	if missing && (last == 0 || o.retold == 0) {
		o.told = position{next: 1}
		o.savePosition()
		return o.told
	}
	now := time.Now()
	args := []any{"error", err, "hint", o.lostHint()}
	if !missing {
		aside := o.path + ".damaged-" + now.UTC().Format("20060102T150405Z")
		if err := os.Rename(o.path, aside); err != nil {
			o.log.Error("the damaged position of an outbox could not be set aside", "tells", o.what, "error", err)
		} else {
			args = append(args, "kept", aside)
		}
	}
	o.log.Warn("the position of an outbox was lost", append(args, "tells", o.what)...)
	if o.retold == 0 {
		return position{next: 1}
	}
	return position{next: 1, since: now.Add(-o.retold)}
}

func (o *Outbox) lostHint() string {
	if o.retold == 0 {
		return "nothing needs to be done: every " + o.what + " is told again, and counted once"
	}
	return fmt.Sprintf("nothing needs to be done: each %s of the last %s is told again; an older fault that still holds is found anew", o.what, o.retold)
}

// readPosition reads the saved position in a ledger whose last record is known.
func (o *Outbox) readPosition(last uint64) (uint64, error) {
	b, err := os.ReadFile(o.path)
	if err != nil {
		return 0, fmt.Errorf("read the position of an outbox: %w", err)
	}
	next, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the position of an outbox in %s is damaged: %w", o.path, err)
	}
	if next > last+1 {
		return 0, fmt.Errorf("the position of an outbox, %d in %s, is beyond the ledger's end, %d", next, o.path, last)
	}
	return next, nil
}

// savePosition needs no sync: a position that is lost in a crash is only an older one.
func (o *Outbox) savePosition() {
	err := os.MkdirAll(filepath.Dir(o.path), 0o750)
	if err == nil {
		err = renameio.WriteFile(o.path, []byte(strconv.FormatUint(o.told.next, 10)+"\n"), 0o640)
	}
	if err != nil {
		o.log.Error("the position of an outbox was not saved; a "+o.what+" may be told twice", "error", err)
		return
	}
	o.saved = o.told.next
}
