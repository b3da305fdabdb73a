package forecast

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
)

// Journal is a ledger that can be read from its beginning.
type Journal interface {
	// Follow calls fn with every record from a number on, those to come included.
	Follow(ctx context.Context, from uint64, fn func(ledger.Record) error) error
	// Last is the number of the newest record.
	Last() (uint64, string)
}

var _ Journal = (*ledger.Ledger)(nil)

// Past is what was mitigated, as the operational ledger has it: nothing of it is kept elsewhere, so that no crash can
// make the two disagree.
type Past struct {
	journal Journal
	log     *slog.Logger

	mu         sync.Mutex
	seen       uint64
	grown      chan struct{} // closed, and made anew, when seen grows
	subsystems map[string]deeds
}

// deeds are the mitigations of one subsystem.
type deeds struct {
	// acts is when each run acted last, by its name.
	acts map[string]time.Time
	// last is the end of the last mitigation that acted, asked people or could not plan, or when it acted.
	last time.Time
	// verdicts are the actions that did not help or were refused, the latest word on each.
	verdicts map[string]verdict
}

// verdict is why an action is not tried again for some time.
type verdict struct {
	at   time.Time
	what string // in words, before the time
	why  string
	rule string // digest of its configuration
}

// NewPast returns what a journal has; Run reads it.
func NewPast(j Journal, log *slog.Logger) *Past {
	return &Past{journal: j, log: log, grown: make(chan struct{}), subsystems: map[string]deeds{}}
}

// Run reads the ledger, and what comes to it, until ctx ends or the ledger is closed.
func (p *Past) Run(ctx context.Context) {
	err := p.journal.Follow(ctx, 1, func(r ledger.Record) error {
		p.see(r)
		return nil
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, ledger.ErrClosed) {
		p.log.Error("earlier mitigations are not read any more; no mitigation starts by itself until the agent is restarted", "error", err)
	}
}

// Await waits until all that is in the ledger was read.
func (p *Past) Await(ctx context.Context) error {
	last, _ := p.journal.Last()
	for {
		p.mu.Lock()
		seen, grown := p.seen, p.grown
		p.mu.Unlock()
		if seen >= last {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("the ledger has %d records, of which %d were read: %w", last, seen, context.Cause(ctx))
		}
	}
}

// see takes one record.
func (p *Past) see(r ledger.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var rec shivx.RecoveryRecord
	var end ended
	rec.Details = &end
	// An error says that the details are of another kind of record, which are not needed.
	if _ = r.Decode(&rec); rec.Subsystem != "" {
		p.take(rec, end)
	}
	p.seen = r.Seq
	close(p.grown)
	p.grown = make(chan struct{})
}

// ended is what the record of a mitigation's end has beside the fields of every record.
type ended struct {
	Prediction  *shivx.Prediction            `json:"prediction,omitempty"`
	Effects     []shivx.MitigationEffect     `json:"effects,omitempty"`
	Started     time.Time                    `json:"started,omitzero"`
	Steps       []shivx.MitigationStepReport `json:"steps,omitempty"`
	Denied      []string                     `json:"denied,omitempty"`
	Reason      string                       `json:"reason,omitempty"`
	RequestedBy string                       `json:"requested_by,omitempty"`
	// Rules are digests of the configuration of the actions.
	Rules map[string]string `json:"rules,omitempty"`
}

func (p *Past) take(r shivx.RecoveryRecord, end ended) {
	d := p.subsystems[r.Subsystem]
	if d.acts == nil {
		d.acts, d.verdicts = map[string]time.Time{}, map[string]verdict{}
	}
	switch {
	case r.Step == shivx.Step(shivx.MitigationAct):
		d.acts[r.Run] = r.Timestamp
		d.last = r.Timestamp
	case r.EventType == shivx.EventMitigation:
		d.end(r, end)
	}
	p.subsystems[r.Subsystem] = d
}

// end takes the end of a mitigation. One whose every action turned out to be impossible has used up nothing.
func (d *deeds) end(r shivx.RecoveryRecord, end ended) {
	acted, asked := false, false
	for _, s := range end.Steps {
		switch s.Name {
		case shivx.MitigationAct:
			asked = true
			acted = acted || s.Outcome != shivx.StepSkipped
		case shivx.MitigationApprove, shivx.MitigationSnapshot:
			asked = true
		case shivx.MitigationPlan: // one that cannot be planned now cannot be in five minutes either
			asked = asked || s.Outcome == shivx.StepFailed
		default:
		}
	}
	if !acted {
		delete(d.acts, r.Run)
	}
	if asked {
		d.last = r.Timestamp
	}
	for _, e := range end.Effects {
		switch {
		case e.Helped:
			delete(d.verdicts, e.Action)
		case end.Prediction != nil && !end.Prediction.Alert: // by force: there was no failure to put off
		case r.Outcome != shivx.OutcomeAborted: // what was measured early may have helped yet
			d.verdicts[e.Action] = verdict{r.Timestamp, "it did not help", e.Why, end.Rules[e.Action]}
		}
	}
	for _, action := range end.Denied {
		d.verdicts[action] = verdict{r.Timestamp, "people refused it", deniedWhy(end.Steps, action), end.Rules[action]}
	}
}

// deniedWhy is what the steps of a run say about the refusal of an action.
func deniedWhy(steps []shivx.MitigationStepReport, action string) string {
	for _, s := range slices.Backward(steps) {
		if s.Name == shivx.MitigationApprove && s.Action == action {
			return s.Summary
		}
	}
	return "not approved"
}

// within counts the mitigations that acted within a window before now.
func (d deeds) within(window time.Duration, now time.Time) int {
	n := 0
	for _, at := range d.acts {
		if at.After(now.Add(-window)) {
			n++
		}
	}
	return n
}

// digest identifies what an action is configured to do.
func digest(rule config.MitigationRule) string {
	options, err := config.Use{Options: rule.Options}.OptionsJSON()
	if err != nil { // of two actions that cannot be told apart neither is repeated
		options = nil
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %s", rule.Plugin, rule.Heal, rule.Strategy, options))
	return hex.EncodeToString(sum[:8])
}
