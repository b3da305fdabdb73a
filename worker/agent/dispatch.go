package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities/component"
	"github.com/shivx/shivx/activities/recovery/crashpoint"
	"github.com/shivx/shivx/internal/ledger"
)

// How long an outbox waits before it tells a record again.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 3 * time.Second
)

// saveEvery is after how many records that concern nobody the position is saved all the same, so
// that a restart of the agent does not read them again.
const saveEvery = 1000

// Outbox tells Temporal what stands in a ledger, in order, each record at least once: one may be
// told twice after a crash, and whoever is told counts it once. A record that cannot be told
// holds up those behind it.
type Outbox struct {
	// what is told, for logs, e.g. "finding".
	what   string
	ledger *ledger.Ledger
	log    *slog.Logger
	// path of the saved position.
	path string
	// retold is how old records may be that are told again when the position was lost; 0: any.
	retold time.Duration
	// events are the types of the records to tell.
	events []string
	// tell tells one record and says whether it did: some need not be told. since is set after
	// the position was lost: what was observed before it is passed over.
	tell func(ctx context.Context, r ledger.Record, since time.Time) (told bool, err error)

	told  position
	saved uint64
}

// NewFindings returns the outbox of the operational ledger: findings go to the entities of their
// components.
func (a *Agent) NewFindings() *Outbox {
	o := &Outbox{
		what: "finding", ledger: a.ledger, log: a.log, retold: retoldFindings,
		path:   filepath.Join(a.cfg.Paths.Var, "recovery", "dispatched"),
		events: []string{shivx.EventFault, shivx.EventResolved},
		tell:   a.tellFinding,
	}
	o.told = o.openPosition()
	return o
}

// NewRecoveries returns an outbox of the operational ledger of its own for what is known of a run
// that has recovered something, so that counting it holds up no finding. It goes to restarted,
// which must take a record it has seen before, by its EventID, for done.
func (a *Agent) NewRecoveries(restarted func(context.Context, shivx.RecoveryRecord) error) *Outbox {
	o := &Outbox{
		what: "recovery", ledger: a.ledger, log: a.log,
		path:   filepath.Join(a.cfg.Paths.Var, "recovery", "counted"),
		events: []string{shivx.EventRecovery},
	}
	o.tell = func(ctx context.Context, r ledger.Record, _ time.Time) (bool, error) {
		return a.countRecovery(ctx, r, restarted)
	}
	o.told = o.openPosition()
	return o
}

// NewLevelChanges returns the outbox of the resilience audit: changes of the level and of the
// override go to the host's DegradationResponse, which is started with options if it does not run.
func (a *Agent) NewLevelChanges(audit *ledger.Ledger, options func(queue, host string) client.StartWorkflowOptions) *Outbox {
	o := &Outbox{
		what: "change of the level", ledger: audit, log: a.log,
		path:   filepath.Join(a.cfg.Paths.Var, "resilience", "dispatched"),
		events: []string{shivx.EventDegradation, shivx.EventRecovery, shivx.EventOverride},
	}
	o.tell = func(ctx context.Context, r ledger.Record, _ time.Time) (bool, error) {
		return a.tellChange(ctx, r, options)
	}
	o.told = o.openPosition()
	return o
}

// Run tells until ctx ends; it begins where it stopped last. It must not run twice at once.
func (o *Outbox) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := o.ledger.Follow(ctx, o.told.next, func(r ledger.Record) error { return o.insist(ctx, r) })
		if ctx.Err() != nil {
			return
		}
		o.log.Error("an outbox cannot follow its ledger", "tells", o.what, "error", err, "retry", lastRetry)
		pause(ctx, lastRetry)
	}
}

// insist tells a record until that succeeds or ctx ends. The follower is kept meanwhile: a new one
// would read its file again from the start.
func (o *Outbox) insist(ctx context.Context, r ledger.Record) error {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		err := o.dispatch(ctx, r)
		if err == nil || ctx.Err() != nil {
			return err
		}
		o.log.Warn("a "+o.what+" waits to be told", "error", err, "retry", retry)
		pause(ctx, retry)
	}
}

// dispatch tells a record that is to be told, and saves the position behind it.
func (o *Outbox) dispatch(ctx context.Context, r ledger.Record) error {
	told, err := o.concerns(r)
	if told {
		told, err = o.tell(ctx, r, o.told.since)
	}
	switch {
	case errors.Is(err, errUnreadable):
		o.log.Error("a record of the ledger is passed over", "seq", r.Seq, "error", err)
	case err != nil:
		return err
	}
	o.told.next = r.Seq + 1
	if told || o.told.next >= o.saved+saveEvery {
		o.savePosition()
	}
	return nil
}

// concerns says whether the record is of a type to tell. Most are not, and are not decoded.
func (o *Outbox) concerns(r ledger.Record) (bool, error) {
	for _, event := range o.events {
		if !bytes.Contains(r.Raw, []byte(`"event_type":"`+event+`"`)) {
			continue
		}
		var rec struct {
			EventType string `json:"event_type"`
		}
		if err := r.Decode(&rec); err != nil {
			return false, unreadable(err)
		}
		if rec.EventType == event { // else the words stand elsewhere in the record
			return true, nil
		}
	}
	return false, nil
}

// errUnreadable: a record is not what its type says. Trying again would not change that, and it
// must not hold up those behind it.
var errUnreadable = errors.New("unreadable record")

func unreadable(err error) error { return fmt.Errorf("%w: %w", errUnreadable, err) }

// tellFinding tells a finding of the operational ledger.
func (a *Agent) tellFinding(ctx context.Context, r ledger.Record, since time.Time) (bool, error) {
	var f shivx.Finding
	if err := r.Decode(&shivx.RecoveryRecord{Details: &f}); err != nil {
		return false, unreadable(err)
	}
	if f.ObservedAt.Before(since) {
		return false, nil
	}
	crashpoint.Reach("dispatch", crashpoint.Before)
	if err := a.tell(ctx, f); err != nil {
		return false, err
	}
	crashpoint.Reach("dispatch", crashpoint.After)
	return true, nil
}

// countRecovery hands on a recovery of this host, however old it is: that it was counted before is
// known by its key.
func (a *Agent) countRecovery(ctx context.Context, r ledger.Record, restarted func(context.Context, shivx.RecoveryRecord) error) (bool, error) {
	var details json.RawMessage
	rec := shivx.RecoveryRecord{Details: &details}
	if err := r.Decode(&rec); err != nil {
		return false, unreadable(err)
	}
	if rec.Host != a.cfg.Host || rec.Strategy == "" {
		return false, nil
	}
	rec.EventID, rec.Details = r.Key, details
	if err := restarted(ctx, rec); err != nil {
		return false, fmt.Errorf("count the recovery of %s: %w", rec.Component, err)
	}
	return true, nil
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

// tellChange tells a change of the level, or of the override, to the host's DegradationResponse.
func (a *Agent) tellChange(ctx context.Context, r ledger.Record, options func(queue, host string) client.StartWorkflowOptions) (bool, error) {
	var c shivx.LevelChange
	if err := r.Decode(&shivx.ResilienceRecord{Details: &c}); err != nil {
		return false, unreadable(err)
	}
	if c.Host != a.cfg.Host {
		a.log.Warn("a change of another host's level is not told", "number", c.Number, "host", c.Host)
		return false, nil
	}
	crashpoint.Reach("dispatch-level", crashpoint.Before)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := a.client.SignalWithStartWorkflow(ctx, shivx.DegradationID(c.Host), shivx.SignalHealth, c,
		options(a.cfg.Temporal.TaskQueue, c.Host), shivx.TypeDegradationResponse, map[string]string{"host": c.Host})
	if err != nil {
		return false, fmt.Errorf("signal %s: %w", shivx.DegradationID(c.Host), err)
	}
	crashpoint.Reach("dispatch-level", crashpoint.After)
	return true, nil
}
