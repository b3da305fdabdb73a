package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities/component"
	"github.com/shivx/shivx/internal/ledger"
)

// How long the dispatcher waits before it tries a finding again.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 15 * time.Second
)

// dispatch tells Temporal of every finding in the ledger, in order, from where it stopped last.
// A finding may be told twice after a crash; the entity counts it once.
func (a *Agent) dispatch(ctx context.Context) error {
	path := filepath.Join(a.cfg.Paths.Var, OperationalLedger)
	next, err := a.cursor()
	if err != nil {
		return err
	}
	for retry := firstRetry; ; {
		done, err := a.dispatchFrom(ctx, path, next)
		if done != next {
			retry = firstRetry
			next = done
			if saveErr := a.saveCursor(next); saveErr != nil {
				a.log.Error("the dispatcher's position was not saved; findings may be told twice", "error", saveErr)
			}
		}
		if err == nil {
			retry = firstRetry
			select {
			case <-ctx.Done():
			case <-a.kick:
			}
		} else if ctx.Err() == nil {
			a.log.Warn("a finding waits for Temporal", "error", err, "retry", retry)
			pause(ctx, retry)
			retry = min(2*retry, lastRetry)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// dispatchFrom tells the findings from record next on and returns the record to go on from.
func (a *Agent) dispatchFrom(ctx context.Context, path string, next uint64) (uint64, error) {
	err := ledger.Read(path, next, func(r ledger.Record) error {
		var rec struct {
			EventType string         `json:"event_type"`
			Details   *shivx.Finding `json:"details"`
		}
		isFinding := strings.Contains(string(r.Raw), `"event_type":"`+shivx.EventFault+`"`) ||
			strings.Contains(string(r.Raw), `"event_type":"`+shivx.EventResolved+`"`)
		if isFinding {
			if err := r.Decode(&rec); err != nil {
				return fmt.Errorf("read record %d: %w", r.Seq, err)
			}
			if err := a.tell(ctx, *rec.Details); err != nil {
				return err
			}
		}
		next = r.Seq + 1
		return nil
	})
	return next, err
}

// tell signals the component's entity, and starts it if there is none.
func (a *Agent) tell(ctx context.Context, f shivx.Finding) error {
	if f.Host != a.cfg.Host {
		a.log.Warn("a finding of another host is not told", "finding", f.ID, "host", f.Host)
		return nil
	}
	signal := shivx.SignalFault
	if f.Resolved {
		signal = shivx.SignalResolved
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := a.client.SignalWithStartWorkflow(ctx, shivx.ComponentID(f.Target), signal, f,
		component.EntityOptions(a.cfg.Temporal.TaskQueue, f.Target), shivx.TypeComponent, f.Target)
	if err != nil {
		return fmt.Errorf("signal %s: %w", shivx.ComponentID(f.Target), err)
	}
	return nil
}

func (a *Agent) cursorPath() string {
	return filepath.Join(a.cfg.Paths.Var, "recovery", "dispatched")
}

// cursor returns the first record that was not yet told.
func (a *Agent) cursor() (uint64, error) {
	b, err := os.ReadFile(a.cursorPath())
	if errors.Is(err, fs.ErrNotExist) {
		return 1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the dispatcher's position: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, shivx.Hint(fmt.Errorf("the dispatcher's position in %s is damaged: %w", a.cursorPath(), err),
			"remove the file; findings already told are counted once")
	}
	return n, nil
}

// saveCursor needs no sync: a position that is lost in a crash is only an older one.
func (a *Agent) saveCursor(next uint64) error {
	return renameio.WriteFile(a.cursorPath(), []byte(strconv.FormatUint(next, 10)+"\n"), 0o640)
}
