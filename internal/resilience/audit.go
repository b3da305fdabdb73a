package resilience

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
)

const (
	// recordTimeout is how long a change waits for the disk; then it is applied, and recorded later.
	recordTimeout = 2 * time.Second
	// maxDetails bounds the details of one record in bytes, below what the ledger takes.
	maxDetails = ledger.MaxRecord - 16<<10
)

// entry is a record on its way to the ledger.
type entry struct {
	key    string
	fields json.RawMessage
	// change is set on changes of the level.
	change *shivx.LevelChange
}

// record appends a record, after those that wait. It may fail: the record then waits as well, so
// that none is lost and their order is kept. Its key keeps it from being written twice, also when
// the ledger did write what it said it could not. The caller holds order.
func (c *Core) record(ctx context.Context, key string, r shivx.ResilienceRecord, change *shivx.LevelChange) {
	c.outbox = append(c.outbox, entry{key: key, fields: encode(r), change: change})
	c.flush(ctx)
}

// encode never fails, so that no record can stand in the way of those after it for ever.
func encode(r shivx.ResilienceRecord) json.RawMessage {
	data, err := json.Marshal(r)
	if err == nil && len(data) > maxDetails {
		err = fmt.Errorf("the details take %d bytes, more than %d", len(data), maxDetails)
	}
	if err != nil {
		r.Details = map[string]string{"error": "the details could not be recorded: " + err.Error()}
		data, _ = json.Marshal(r)
	}
	return data
}

// flush writes the records that wait, until one cannot be written. The caller holds order.
func (c *Core) flush(ctx context.Context) bool {
	for len(c.outbox) > 0 {
		if err := c.append(ctx, c.outbox[0].key, c.outbox[0].fields); err != nil {
			return false
		}
		c.outbox = c.outbox[1:]
	}
	c.mu.Lock()
	c.waiting = 0
	c.mu.Unlock()
	return true
}

// append waits for the disk, but not for ever: a host in need must degrade in time. It does not end
// with ctx, since a change under way is finished.
func (c *Core) append(ctx context.Context, key string, fields json.RawMessage) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	_, err := c.o.Ledger.Append(ctx, key, fields)
	if key != "" && errors.Is(err, ledger.ErrDamaged) {
		// An earlier record with the key was changed on disk. Verify tells of that; this one must not wait for ever.
		_, err = c.o.Ledger.Append(ctx, "", fields)
	}
	c.mu.Lock()
	before := c.ledgerErr
	c.ledgerErr, c.waiting = err, len(c.outbox)
	c.mu.Unlock()
	switch {
	case err != nil && before == nil:
		c.log.Error("the resilience audit cannot be written; changes are applied all the same and recorded later",
			"error", err, "hint", shivx.HintOf(err))
	case err == nil && before != nil:
		c.log.Info("the resilience audit is written again")
	}
	return err
}

// waits returns the record with the key that is not in the ledger yet.
func (c *Core) waits(key string) (entry, bool) {
	for _, e := range c.outbox {
		if e.key == key {
			return e, true
		}
	}
	return entry{}, false
}

// id returns an event id of this host and ledger.
func (c *Core) id(kind string, what any) string {
	return fmt.Sprintf("%s/%s/%.8s/%v", c.o.Host, kind, c.genesis, what)
}

// change numbers, records and applies a change of the level or of the override. To, Cause, Reason
// and Override are the caller's. key, if not "", makes it idempotent. The caller holds order.
func (c *Core) change(ctx context.Context, key string, ch shivx.LevelChange) shivx.LevelChange {
	c.mu.Lock()
	s := c.state
	ch.Host, ch.Ledger, ch.Number = c.o.Host, fmt.Sprintf("%.16s", c.genesis), s.Changes+1
	ch.From, ch.At = s.Level, c.now()
	if c.sample != nil {
		ch.Confidence = c.sample.score.Confidence
		if v := c.sample.score.Value; !math.IsNaN(v) && !math.IsInf(v, 0) {
			ch.Score = &v
		}
	}
	c.mu.Unlock()
	details := changeDetails{LevelChange: ch, Automatic: c.machine.Level(), Damping: c.machine.damping()}
	r := shivx.ResilienceRecord{
		EventID: c.id("level", ch.Number), Timestamp: ch.At, Module: shivx.ModuleHost, Details: details,
		EventType: eventOf(ch), Severity: severityOf(ch),
	}
	if key == "" {
		key = r.EventID
	}
	c.record(ctx, key, r, &ch)
	c.mu.Lock()
	c.state = c.state.clone()
	c.state.apply(details)
	c.mu.Unlock()
	c.log.Log(ctx, logLevel(r.Severity), "the degradation level changed", "from", ch.From, "to", ch.To,
		"number", ch.Number, "cause", ch.Cause, "reason", ch.Reason)
	c.publish(ch.At)
	c.hooks.wake()
	return ch
}

func eventOf(ch shivx.LevelChange) string {
	switch {
	case ch.To.WorseThan(ch.From):
		return shivx.EventDegradation
	case ch.From.WorseThan(ch.To):
		return shivx.EventRecovery
	}
	return shivx.EventOverride
}

func severityOf(ch shivx.LevelChange) shivx.Severity {
	switch {
	case ch.To.WorseThan(ch.From) && ch.To == shivx.LevelEmergency:
		return shivx.SeverityCritical
	case ch.To.WorseThan(ch.From):
		return shivx.SeverityWarning
	}
	return shivx.SeverityInfo
}

// AddRestart records that a recovery of a module ended, and counts it. key makes a repetition
// harmless. After an error it is counted and not recorded yet: repeat the call to be sure.
func (c *Core) AddRestart(ctx context.Context, module string, details any, key string) error {
	if key == "" {
		return errors.New("record a restart: it needs a key")
	}
	key = c.o.Host + "/restart/" + key
	c.order.Lock()
	defer c.order.Unlock()
	if _, waits := c.waits(key); !waits {
		if _, found, err := c.o.Ledger.Find(key); found || err != nil {
			return err
		}
		c.mu.Lock()
		c.state = c.state.clone()
		c.state.restarted(module)
		c.mu.Unlock()
		c.outbox = append(c.outbox, entry{key: key, fields: encode(shivx.ResilienceRecord{
			EventID: key, Timestamp: c.now(), EventType: shivx.EventRestart, Module: module, Details: details, Severity: shivx.SeverityInfo,
		})})
	}
	if !c.flush(ctx) {
		return fmt.Errorf("record a restart of %s: %w", module, c.ledgerErr)
	}
	return nil
}
