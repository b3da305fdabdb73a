package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian/integrity"
)

// guardianDetails are what is shown of the details of the guardian's records.
type guardianDetails struct {
	shivx.Isolation
	Reason string `json:"reason"`
	// Of modes.
	From string `json:"from"`
	To   string `json:"to"`
	// Of logs, enforcers and watched files.
	Log      string `json:"log"`
	Kind     string `json:"kind"`
	Bytes    int64  `json:"bytes"`
	Path     string `json:"path"`
	Enforcer string `json:"enforcer"`
	Works    bool   `json:"works"`
	Error    string `json:"error"`
	Entries  int    `json:"entries"`
	Ticket   struct {
		By  string `json:"by"`
		Why string `json:"why"`
	} `json:"ticket"`
}

// fromGuardian completes a record of the guardian's audit, which names a source and what was done about
// it.
func (r *record) fromGuardian() {
	var details json.RawMessage
	g := shivx.GuardianRecord{Details: &details}
	if r.Decode(&g) != nil || g.Source == "" {
		return
	}
	var d guardianDetails
	_ = json.Unmarshal(details, &d) // evidence may use a name for something else; the rest is shown
	r.Component, r.Outcome = g.Source, shivx.Outcome(g.ActionTaken)
	d.Reason = without(g.Source, d.Reason)
	r.Message = cmp.Or(d.Reason, d.Why, d.Error)
	r.Severity = severityOf(g)
	switch g.EventType {
	case shivx.EventThreat:
		r.Strategy = string(g.ThreatType)
	case shivx.EventIsolation:
		r.Strategy = termOf(d.Isolation)
		r.Message = byWhom(d.By, cmp.Or(without(g.Source, d.Why), d.Reason))
		if d.Lifted {
			r.Message = byWhom(d.By, d.Why) // the reason is that of the isolation
		}
	case shivx.EventMode:
		r.Strategy = d.From + " → " + d.To
		r.Message = byWhom(d.By, d.Reason)
	case shivx.EventIngest:
		r.Strategy = d.Kind
		r.Message = cmp.Or(r.Message, d.Path)
		if d.Bytes > 0 {
			r.Message = bytesText(d.Bytes) + " of " + d.Path
		}
	case shivx.EventEnforcement:
		r.Strategy = verb(d.Works, "works again", "fails")
	case shivx.EventIntegrity:
		r.Message = byWhom(d.By, d.Why)
		if g.ActionTaken == integrity.RecordTicketOpened {
			r.Message = byWhom(d.Ticket.By, d.Ticket.Why) // the baseline's are those of the one before
		}
		if d.Entries > 0 {
			r.Strategy = fmt.Sprintf("%d entries", d.Entries)
		}
	}
}

// termOf is until when an isolation holds.
func termOf(i shivx.Isolation) string {
	switch {
	case i.Lifted:
		return ""
	case i.Until.IsZero():
		return untilMoment(i.Until)
	}
	return "until " + moment(i.Until)
}

// untilMoment is a point in time, or that there is none.
func untilMoment(t time.Time) string { return orElse(moment(t), "indefinite") }

func byWhom(by, why string) string {
	switch {
	case by == "":
		return why
	case why == "":
		return "by " + by
	}
	return by + ": " + why
}

func severityOf(g shivx.GuardianRecord) shivx.Severity {
	switch {
	case g.ThreatLevel.Serious(), g.ActionTaken == shivx.ActionLockdown, g.ActionTaken == shivx.ActionFailed:
		return shivx.SeverityError
	case g.ThreatLevel != "":
		return shivx.SeverityWarning
	}
	return ""
}
