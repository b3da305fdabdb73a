package guardian

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian/integrity"
	"github.com/shivx/shivx/internal/ledger"
)

// Statement is what a record of the audit says; what it does not say is nil.
type Statement struct {
	// At is when it was recorded.
	At          time.Time
	ActionTaken shivx.Action
	Threat      *shivx.Threat
	Isolation   *shivx.Isolation
	Mode        *shivx.ModeChange
	// Anchor is the root hash of a new baseline of watched files.
	Anchor string
	// Tampered is what was found about a watched file, Resolved the path of one that is as it was again.
	Tampered *tampering
	Resolved string
}

// tampering is one finding about a watched file, with what is there now where that differs.
type tampering struct {
	Path       string `json:"file"`
	Kind       string `json:"kind"`
	Hash       string `json:"current_hash"`
	Type       fact   `json:"type"`
	Mode       fact   `json:"mode"`
	UID        fact   `json:"uid"`
	GID        fact   `json:"gid"`
	Link       fact   `json:"link"`
	Attributes fact   `json:"attributes"`
	Device     fact   `json:"device"`
}

type fact struct {
	Current any `json:"current"`
}

// what is the same for the same finding, without the times of the file.
func (t tampering) what() string {
	return fmt.Sprint(t.Kind, " ", t.Hash, []fact{t.Type, t.Mode, t.UID, t.GID, t.Link, t.Attributes, t.Device})
}

// threatDetails are those of the event "threat"; the evidence stands beside them.
type threatDetails struct {
	Host   string    `json:"host"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// Isolation is set when the threat led to one.
	Isolation *shivx.Isolation `json:"isolation"`
}

// Decode reads a record of the guardian's audit.
func Decode(r ledger.Record) (Statement, error) {
	var details json.RawMessage
	rec := shivx.GuardianRecord{Details: &details}
	if err := r.Decode(&rec); err != nil {
		return Statement{}, err
	}
	s := Statement{At: rec.Timestamp, ActionTaken: rec.ActionTaken}
	var err error
	switch rec.EventType {
	case shivx.EventThreat:
		var d threatDetails
		err = json.Unmarshal(details, &d)
		s.Isolation = d.Isolation
		s.Threat = &shivx.Threat{
			ID: rec.EventID, Host: d.Host, Type: rec.ThreatType, Level: rec.ThreatLevel, Source: rec.Source, Reason: d.Reason, At: d.At}
		if rec.ThreatType == shivx.ThreatTampering {
			s.Tampered = new(tampering)
			err = errors.Join(err, json.Unmarshal(details, s.Tampered))
		}
	case shivx.EventIsolation:
		s.Isolation = new(shivx.Isolation)
		err = json.Unmarshal(details, s.Isolation)
	case shivx.EventMode:
		s.Mode = new(shivx.ModeChange)
		err = json.Unmarshal(details, s.Mode)
	case shivx.EventIntegrity:
		var d struct {
			Root string `json:"root"`
			Path string `json:"path"`
		}
		err = json.Unmarshal(details, &d)
		s.Anchor = d.Root
		if rec.ActionTaken == integrity.RecordResolved {
			s.Resolved = d.Path
		}
	}
	if err != nil {
		return Statement{}, fmt.Errorf("decode the details of record %d: %w", r.Seq, err)
	}
	return s, nil
}

// ended is when nothing that was said before i holds any more.
func ended(i shivx.Isolation, remember time.Duration) time.Time {
	switch {
	case i.Lifted && i.Until.IsZero():
		return i.Changed.Add(remember)
	case i.Changed.After(i.Until):
		return i.Changed
	}
	return i.Until
}
