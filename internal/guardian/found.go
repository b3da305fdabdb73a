package guardian

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian/abuse"
	"github.com/shivx/shivx/internal/guardian/integrity"
)

// tampered takes a finding about a watched file. Tampering locks the host down, where the configuration
// does not say otherwise: whoever changes its programs is inside already. A finding that the audit has
// and that is still open is told anew at a start, and is no new one.
func (g *Guardian) tampered(_ context.Context, f integrity.Finding) {
	evidence := map[string]any{"file": f.Path, "kind": f.Kind, "expected_hash": f.ExpectedHash, "current_hash": f.CurrentHash}
	maps.Copy(evidence, f.Details)
	at := f.At.UTC()
	t := shivx.Threat{
		ID:   fmt.Sprintf("threat/%s/%s/%s/%s/%d", g.o.Host, shivx.ThreatTampering, f.Kind, f.Path, at.UnixNano()),
		Host: g.o.Host, Type: shivx.ThreatTampering, Level: shivx.ThreatCritical, Source: "file:" + f.Path, At: at,
		Reason: fmt.Sprintf("%s was tampered with (%s)", f.Path, f.Kind), Evidence: evidence,
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.unseen, f.Path)
	if !g.state.tamper(tamperingOf(evidence)) {
		return
	}
	now := g.o.Now()
	held := g.lockedDown(now) && (!g.state.Lockdown.Unconfirmed || g.automaticConfirm() > 0)
	locks := g.o.Rules.Integrity.OnTampering == "lockdown" && !held
	action := shivx.ActionNone
	if locks {
		// Recorded first: after a crash between both the finding is a new one still.
		action = shivx.ActionLockdown
		g.lockDown(shivx.Guardian, t.Reason, g.automaticConfirm(), now)
	}
	g.recordThreat(t, action, nil)
	g.countSerious(now)
	if locks {
		return
	}
	g.tell(aboutFiles, t.Reason, "compare it with a known good copy; announce changes with shivx guardian baseline ticket")
}

// tamperingOf reads the evidence as the audit has it.
func tamperingOf(evidence map[string]any) (t tampering) {
	data, err := json.Marshal(evidence)
	if err == nil {
		_ = json.Unmarshal(data, &t) // what cannot be read differs from nothing that is known
	}
	return t
}

// forgetMended forgets the findings of before the start that the first look at everything has not found again:
// they were put right while nobody looked, and would be new ones.
func (g *Guardian) forgetMended(ctx context.Context) {
	look := time.NewTicker(mendedEvery)
	defer look.Stop()
	for g.watch.Status().Last.At.IsZero() {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for path := range g.unseen {
		delete(g.state.Tampered, path)
	}
	g.unseen = nil
}

// mendedEvery is how often forgetMended asks whether everything was looked at.
const mendedEvery = time.Second

// automaticConfirm is how long a lockdown of the guardian's own holds without a person: for ever where
// an allow list lets people in, and else no longer than one that a person began.
func (g *Guardian) automaticConfirm() time.Duration {
	if len(g.o.Rules.Allow) > 0 {
		return 0
	}
	return g.o.Rules.Defense.ConfirmWithin
}

// recordIntegrity records what became of the baseline, and returns once that is on disk: a baseline that
// is not in the audit must not count.
func (g *Guardian) recordIntegrity(ctx context.Context, kind string, details any) error {
	now := g.o.Now().UTC()
	rec := shivx.GuardianRecord{
		EventID:   fmt.Sprintf("integrity/%s/%s/%d", g.o.Host, kind, now.UnixNano()),
		Timestamp: now, EventType: shivx.EventIntegrity, Source: "host:" + g.o.Host, Details: details, ActionTaken: shivx.Action(kind),
	}
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	r, err := g.o.Ledger.Append(ctx, rec.EventID, encode(rec))
	if err != nil {
		return shivx.Hint(fmt.Errorf("the guardian's audit does not take the record: %w", err), "look at the disk below paths.var")
	}
	st, err := Decode(r)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state.apply(st)
}

// abused takes a finding about a process or cgroup.
func (g *Guardian) abused(_ context.Context, f abuse.Finding) {
	t := f.Threat
	t.Host = g.o.Host
	if f.Err != "" {
		t.Evidence = maps.Clone(t.Evidence)
		if t.Evidence == nil {
			t.Evidence = map[string]any{}
		}
		t.Evidence["error"] = f.Err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.recordThreat(t, f.Action, nil)
	if t.Level.Serious() {
		g.countSerious(g.o.Now())
		g.tell(aboutBudgets, t.Reason, "shivx guardian status lists what is frozen or limited; shivx guardian restore SOURCE lets it go")
	}
}

// logTrouble records that a log went silent, came back, or has lost lines.
func (g *Guardian) logTrouble(log, kind string, details map[string]any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.o.Now().UTC()
	all := maps.Clone(details)
	if all == nil {
		all = map[string]any{}
	}
	all["log"], all["kind"] = log, kind
	rec := shivx.GuardianRecord{
		EventID:   fmt.Sprintf("ingest/%s/%s/%s/%d", g.o.Host, log, kind, now.UnixNano()),
		Timestamp: now, EventType: shivx.EventIngest, Source: "log:" + log, Details: all, ActionTaken: shivx.ActionNone,
	}
	if kind == "silent" {
		rec.ThreatType, rec.ThreatLevel = shivx.ThreatSilence, shivx.ThreatMedium
		g.tell(aboutLogs, fmt.Sprintf("nothing was read from the log %s of %s for too long", log, g.o.Host),
			"see whether the service still writes it: an attacker who stops the log is not seen")
	}
	g.records.put(rec)
	g.log.Warn("log", "log", log, "kind", kind, "details", details)
}

// enforcerTrouble records that an enforcer fails, or works again.
func (g *Guardian) enforcerTrouble(name string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.o.Now().UTC()
	details := map[string]any{"enforcer": name, "works": err == nil}
	action := shivx.ActionNone
	if err != nil {
		details["error"], details["hint"] = err.Error(), shivx.HintOf(err)
		action = shivx.ActionFailed
		g.tell(aboutMeans, fmt.Sprintf("%s does not keep sources out on %s: %v", name, g.o.Host, err), shivx.HintOf(err))
	}
	g.records.put(shivx.GuardianRecord{
		EventID:   fmt.Sprintf("enforcement/%s/%s/%d", g.o.Host, name, now.UnixNano()),
		Timestamp: now, EventType: shivx.EventEnforcement, Source: "enforcer:" + name, Details: details, ActionTaken: action,
	})
}
