package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/durable"
)

// JoinOptions say what a copy of a ledger is joined for.
type JoinOptions struct {
	// ID names the join; it stands in the record and in the name of the folder of what was moved aside.
	// A join that a crash cut off is repeated with the same.
	ID string
	// Copy names what the copy is of, such as the id of a backup; it stands in the record, and in the
	// name of the folder in which a copy is kept.
	Copy   string
	Now    func() time.Time
	Logger *slog.Logger

	// step is told by tests of every point at which a kill may matter.
	step func(point string)
}

// JoinOutcome says what became of a copy.
type JoinOutcome string

// The outcomes.
const (
	// JoinSame: the ledger has every record of the copy; nothing was done.
	JoinSame JoinOutcome = "same"
	// JoinJoined: the ledger had lost records, and has them again. Its own newer ones stay.
	JoinJoined JoinOutcome = "joined"
	// JoinDiverged: the two contradict each other. The ledger stays; the copy is kept beside it.
	JoinDiverged JoinOutcome = "diverged"
	// JoinBusy: the ledger has lost records that the copy has, but is open, and nothing is replaced
	// under its writer. The copy is kept beside it.
	JoinBusy JoinOutcome = "busy"
)

// Joined is what became of a copy. It is the details of the record in the ledger.
type Joined struct {
	Outcome JoinOutcome `json:"outcome"`
	ID      string      `json:"join"`
	Copy    string      `json:"copy"`
	// Records of the copy follow each other without a fault; Hash is that of the last.
	Records uint64 `json:"records"`
	Hash    string `json:"last_hash"`
	// Common is the last record that both have, Added how many of the copy's the ledger had not.
	Common uint64 `json:"common"`
	Added  uint64 `json:"added"`
	// Kept is the folder of what was replaced, or of the copy.
	Kept string `json:"kept,omitempty"`
	// Recorded is false where another has the ledger open: Record is then for that one to append.
	Recorded bool `json:"-"`
}

// Record returns the record that says what became of a copy, with its key.
func (j Joined) Record(now time.Time) (key string, fields any) {
	return "ledger.join/" + j.ID, notice{Timestamp: now.UTC(), EventType: "ledger.join", Severity: "warning", Details: j}
}

// Join brings the records of a copy back into the ledger at path that it has lost: where it is
// missing, cut or damaged. No record of the ledger is lost by that: what it has beyond the copy goes on
// after it, and the replaced files are kept. A ledger that another has open is left as it is.
func Join(ctx context.Context, path, copied string, o JoinOptions) (Joined, error) {
	j, err := joinCopy(ctx, path, copied, o.withDefaults())
	if err != nil {
		return j, fmt.Errorf("join ledger %s: %w", path, err)
	}
	return j, nil
}

func (o JoinOptions) withDefaults() JoinOptions {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.step == nil {
		o.step = func(string) {}
	}
	return o
}

func joinCopy(ctx context.Context, path, copied string, o JoinOptions) (Joined, error) {
	if err := takeUp(path, o); err != nil { //nolint:contextcheck // what an open ledger does is not cut short
		return Joined{}, err
	}
	lock, err := lockFile(path + ".lock")
	busy := errors.Is(err, ErrLocked)
	if err != nil && !busy {
		return Joined{}, err
	}
	if !busy {
		defer func() { _ = durable.Unlock(lock) }()
	}
	c, err := compareCopy(ctx, path, copied)
	if err != nil {
		return Joined{}, err
	}
	s := &stage{path: path, copied: copied, o: o, c: c}
	if err := s.readHeads(); err != nil {
		return Joined{}, err
	}
	j := Joined{ID: o.ID, Copy: o.Copy, Records: c.n, Hash: c.hash.String(), Common: c.common, Added: c.n - c.have}
	v := c.judge(s.sameGenesis())
	switch {
	case v == verdictSame:
		j.Outcome = JoinSame
		return j, nil
	case v == verdictDiverged:
		j.Outcome = JoinDiverged
	case busy:
		j.Outcome = JoinBusy
	default:
		j.Outcome = JoinJoined
		if j.Kept, err = s.build(ctx, j); err != nil {
			return j, err
		}
		_ = durable.Unlock(lock)
		return j, s.open(&j) //nolint:contextcheck // what an open ledger does is not cut short
	}
	if j.Kept, err = keepBeside(path, copied, o.Copy); err != nil || busy {
		return j, err
	}
	_ = durable.Unlock(lock)
	return j, note(ctx, path, o, &j)
}

// takeUp ends an earlier join that was cut off.
func takeUp(path string, o JoinOptions) error {
	if !exists(joinFolder(path)) {
		return nil
	}
	l, err := Open(path, Options{Logger: o.Logger, Now: o.Now, step: o.step})
	if errors.Is(err, ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	return l.Close()
}

// open puts what is built in place, which is part of opening the ledger: whoever opens it first does it.
func (s *stage) open(j *Joined) error {
	l, err := Open(s.path, Options{Logger: s.o.Logger, Now: s.o.Now, step: s.o.step})
	if errors.Is(err, ErrLocked) {
		j.Recorded = true // by the one that has opened it
		return nil
	}
	if err != nil {
		return err
	}
	key, _ := j.Record(s.o.Now())
	j.Recorded = l.Has(key)
	if err := l.Close(); err != nil {
		return err
	}
	if !j.Recorded {
		return shivx.Hint(errors.New("the records are back, but the record that says so is missing"),
			"it is appended when the ledger is opened the next time; see that the disk is not full")
	}
	return nil
}

// note appends the record of what became of a copy, unless another has opened the ledger meanwhile.
func note(ctx context.Context, path string, o JoinOptions, j *Joined) error {
	l, err := Open(path, Options{Logger: o.Logger, Now: o.Now}) //nolint:contextcheck // what an open ledger does is not cut short
	if errors.Is(err, ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	key, fields := j.Record(o.Now())
	_, err = l.Append(ctx, key, fields)
	j.Recorded = err == nil
	return errors.Join(err, l.Close()) //nolint:contextcheck // what an open ledger does is not cut short
}

// sameGenesis says whether the signed heads of both begin with a key that is the same, or the ledger's
// key does.
func (s *stage) sameGenesis() bool {
	was := geneses(s.was)
	for g := range geneses(s.is) {
		if was[g] {
			return true
		}
	}
	k, err := publicKey(s.path + ".key")
	return err == nil && was[k.Genesis]
}

// readHeads reads the heads of both.
func (s *stage) readHeads() (err error) {
	if s.is, err = wholeLines(s.path + ".heads"); err != nil {
		return fmt.Errorf("read heads: %w", err)
	}
	if s.was, err = wholeLines(s.copied + ".heads"); err != nil {
		return fmt.Errorf("read heads: %w", err)
	}
	if info, err := os.Stat(s.path + ".heads"); err == nil {
		s.headsSize = info.Size()
	}
	return nil
}
