package resilience

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
)

// state is what a restart must not forget. It is part of the details of each health_check, and
// every other record that changes it tells how.
type state struct {
	Level     shivx.Level     `json:"level"`
	Automatic shivx.Level     `json:"automatic_level"`
	Changes   uint64          `json:"changes"`
	Since     time.Time       `json:"since,omitzero"`
	Override  *shivx.Override `json:"override,omitempty"`
	// Reason is that of the last change.
	Reason string `json:"reason,omitempty"`
	// Damping holds rises back after relapses; nil when it does not.
	Damping *damping `json:"damping,omitempty"`
	// Reached says for each level since when the host has been there or worse.
	Reached map[shivx.Level]time.Time `json:"reached,omitempty"`
	// Restarts counts the recoveries of each module.
	Restarts map[string]int `json:"restarts,omitempty"`
	// Switchings counts the switchings of hooks.
	Switchings uint64 `json:"switchings,omitempty"`
	// Hooks are those that are on, or may be, in the order in which they were switched on.
	Hooks []switched `json:"hooks,omitempty"`
}

// changeDetails are the details of degradation, recovery and override.
type changeDetails struct {
	shivx.LevelChange
	Automatic shivx.Level `json:"automatic_level"`
	Damping   *damping    `json:"damping,omitempty"`
}

// clone returns a copy that shares nothing that is written to.
func (s state) clone() state {
	s.Reached, s.Restarts, s.Hooks = maps.Clone(s.Reached), maps.Clone(s.Restarts), slices.Clone(s.Hooks)
	return s
}

// apply makes a change of the level or of the override.
func (s *state) apply(c changeDetails) {
	if s.Level != c.To {
		s.Since = c.At
	}
	s.Level, s.Automatic, s.Changes, s.Override, s.Reason = c.To, c.Automatic, c.Number, c.Override, c.Reason
	s.Damping = c.Damping
	if s.Reached == nil {
		s.Reached = map[shivx.Level]time.Time{}
	}
	for _, l := range shivx.Levels()[1:] {
		if l.WorseThan(c.To) {
			delete(s.Reached, l)
		} else if _, known := s.Reached[l]; !known {
			s.Reached[l] = c.At
		}
	}
}

// restarted counts one recovery.
func (s *state) restarted(module string) {
	if s.Restarts == nil {
		s.Restarts = map[string]int{}
	}
	s.Restarts[module]++
}

// valid says whether the levels are levels.
func (s state) valid() bool { return s.Level.Rank() >= 0 && s.Automatic.Rank() >= 0 }

// auditRecord is a line of the audit as it is read.
type auditRecord struct {
	EventType string          `json:"event_type"`
	Module    string          `json:"module"`
	Details   json.RawMessage `json:"details"`
}

// replay does again what a record tells of.
func (s *state) replay(r auditRecord) error {
	switch r.EventType {
	case shivx.EventHealthCheck:
		var next state
		if err := json.Unmarshal(r.Details, &next); err != nil {
			return err
		}
		if !next.valid() {
			return errors.New("the record names no level")
		}
		*s = next
	case shivx.EventDegradation, shivx.EventRecovery, shivx.EventOverride:
		var c changeDetails
		if err := json.Unmarshal(r.Details, &c); err != nil {
			return err
		}
		if c.To.Rank() < 0 || c.Automatic.Rank() < 0 || c.Override != nil && c.Override.Level.Rank() < 0 {
			return errors.New("the record names no level")
		}
		s.apply(c)
	case shivx.EventRestart:
		s.restarted(r.Module)
	case shivx.EventShed, shivx.EventUnshed:
		var d switched
		if err := json.Unmarshal(r.Details, &d); err != nil {
			return err
		}
		if d.Name == "" || d.Phase == "" {
			return errors.New("the record names no hook")
		}
		s.switched(d)
	}
	return nil
}

// firstTail is how many of the newest records are read at first to find a health_check; there is
// one each minute.
const firstTail = 64

// readBack makes the state from the newest health_check and the records after it, or from all
// records when there is none.
func readBack(path string, log *slog.Logger) (state, error) {
	for n := firstTail; ; n *= 8 {
		recs, err := ledger.Tail(path, n)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return state{}, err
		}
		s, found := replayAll(recs, log)
		if found || len(recs) < n {
			return s, nil
		}
	}
}

// replayAll makes the state from records; found says whether a health_check is among them.
func replayAll(recs []ledger.Record, log *slog.Logger) (s state, found bool) {
	s = state{Level: shivx.LevelNormal, Automatic: shivx.LevelNormal}
	for _, rec := range recs {
		var r auditRecord
		err := rec.Decode(&r)
		if err == nil {
			err = s.replay(r)
		}
		if err != nil {
			log.Warn("a record of the resilience audit is passed over", "seq", rec.Seq, "error", err)
			continue
		}
		found = found || r.EventType == shivx.EventHealthCheck
	}
	return s, found
}
