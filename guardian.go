package shivx

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// ThreatLevel grades a threat. A threat of the level high or critical isolates its source; one below
// never does.
type ThreatLevel string

// The threat levels, mildest first.
const (
	ThreatLow      ThreatLevel = "low"
	ThreatMedium   ThreatLevel = "medium"
	ThreatHigh     ThreatLevel = "high"
	ThreatCritical ThreatLevel = "critical"
)

// Serious says whether a threat of this level isolates, and counts towards DefenseElevated.
func (l ThreatLevel) Serious() bool { return l == ThreatHigh || l == ThreatCritical }

// ThreatType says what a source did.
type ThreatType string

// The threat types. Those ending in _warning are of the level medium and isolate nobody.
const (
	ThreatRateWarning        ThreatType = "rate_limit_warning"
	ThreatRateCritical       ThreatType = "rate_limit_critical"
	ThreatBruteForceWarning  ThreatType = "brute_force_warning"
	ThreatBruteForceCritical ThreatType = "brute_force_critical"
	// ThreatSlowBruteForce: failures spread over hours, each burst below the threshold.
	ThreatSlowBruteForce ThreatType = "slow_brute_force"
	// ThreatSpraying: failures over many accounts.
	ThreatSpraying ThreatType = "password_spraying"
	// ThreatScanner: probe paths, many distinct not-founds, signatures of tools.
	ThreatScannerWarning  ThreatType = "scanner_warning"
	ThreatScannerCritical ThreatType = "scanner_critical"
	// ThreatNetwork: many sources of one network, none of which has passed a threshold by itself.
	ThreatNetworkWarning  ThreatType = "network_attack_warning"
	ThreatNetworkCritical ThreatType = "network_attack_critical"
	// ThreatCPU, ThreatMemory and ThreatFork: a process or cgroup beyond its declared budget.
	ThreatCPU    ThreatType = "cpu_bomb"
	ThreatMemory ThreatType = "memory_bomb"
	ThreatFork   ThreatType = "fork_bomb"
	// ThreatTampering: a watched file is not what the baseline says.
	ThreatTampering ThreatType = "code_tampering"
	// ThreatSilence: nothing was read from a log for longer than it should be.
	ThreatSilence ThreatType = "ingest_silent"
	// ThreatIneffective: requests of an isolated source still arrive.
	ThreatIneffective ThreatType = "isolation_ineffective"
	// ThreatReported: an application or a person said so.
	ThreatReported ThreatType = "reported"
)

// DefenseMode is how alert the guardians of a fleet are.
type DefenseMode string

// The defense modes, calmest first.
const (
	DefenseNormal DefenseMode = "NORMAL"
	// DefenseElevated: thresholds are tighter; it decays by itself.
	DefenseElevated DefenseMode = "ELEVATED"
	// DefenseLockdown: external access is refused but for the allow list; only critical runbooks start.
	DefenseLockdown DefenseMode = "LOCKDOWN"
)

// DefenseModes returns the modes, calmest first.
func DefenseModes() []DefenseMode {
	return []DefenseMode{DefenseNormal, DefenseElevated, DefenseLockdown}
}

// ParseDefenseMode reads a mode in any case.
func ParseDefenseMode(s string) (DefenseMode, error) {
	for _, m := range DefenseModes() {
		if strings.EqualFold(s, string(m)) {
			return m, nil
		}
	}
	return "", Hint(fmt.Errorf("%q is no defense mode", s), "write one of NORMAL, ELEVATED, LOCKDOWN")
}

// Threat is one finding about a source. It is the details of the event "threat" of the guardian's
// audit, and what a DefenseMode counts.
type Threat struct {
	// ID is the same whenever the same events are read again.
	ID    string      `json:"id"`
	Host  string      `json:"host"`
	Type  ThreatType  `json:"threat_type"`
	Level ThreatLevel `json:"threat_level"`
	// Source is an address or network in the form of ParseSource, or what else did it: "file:PATH",
	// "process:PID", "cgroup:PATH", "log:NAME".
	Source string `json:"source"`
	// Reason is one line for people.
	Reason string `json:"reason"`
	// Evidence has the figures, such as {"requests_per_minute":523}.
	Evidence map[string]any `json:"evidence,omitempty"`
	// At is the time of the event that made it one.
	At time.Time `json:"at"`
}

// Isolation keeps a source out for a term.
type Isolation struct {
	// Source in the form of ParseSource.
	Source string `json:"source"`
	// Since is when it began, Until when it ends; zero: when a person ends it.
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
	// Type and Reason say what for.
	Type   ThreatType `json:"threat_type,omitempty"`
	Reason string     `json:"reason,omitempty"`
	// Offence counts the isolations of the source from 1; the term grows with it.
	Offence int `json:"offence,omitempty"`
	// By is "guardian", or who asked for it.
	By string `json:"by"`
	// Host that isolated it first; "" when it was begun in Temporal.
	Host string `json:"host,omitempty"`
	// Threat is the ID of the threat that led to it.
	Threat string `json:"threat,omitempty"`
	// Changed is when the isolation was begun, extended or lifted last: of two statements about a
	// source the later one holds.
	Changed time.Time `json:"changed"`
	// Lifted is true once it has been ended before its term.
	Lifted bool `json:"lifted,omitempty"`
	// Why it was lifted or extended.
	Why string `json:"why,omitempty"`
}

// InForce says whether the source is to be kept out at t.
func (i Isolation) InForce(t time.Time) bool {
	return !i.Lifted && (i.Until.IsZero() || t.Before(i.Until))
}

// Guardian is the value of Isolation.By for what no person asked for.
const Guardian = "guardian"

// MaxTerm is the longest timed isolation.
const MaxTerm = 365 * 24 * time.Hour

// IsolationRequest asks to isolate a source, to change its term, or to let it go.
type IsolationRequest struct {
	Source string `json:"source"`
	// For is the term from now on; Indefinite: until a person ends it; neither: the term that the
	// configuration has for the source's next offence.
	For        Duration `json:"for,omitempty"`
	Indefinite bool     `json:"indefinite,omitempty"`
	By         string   `json:"by"`
	Why        string   `json:"why,omitempty"`
}

// Check says what is wrong with the request.
func (r IsolationRequest) Check() error {
	p, err := ParseSource(r.Source)
	if err == nil {
		err = CheckWidth(p)
	}
	if err != nil {
		return err
	}
	switch {
	case strings.TrimSpace(r.By) == "":
		return Hint(fmt.Errorf("an isolation needs to say who asks for it"), `set "by" to your name`)
	case r.Indefinite && r.For != 0:
		return Hint(fmt.Errorf("an isolation is either timed or indefinite"), `set one of "for" and "indefinite"`)
	case r.For < 0 || r.For.Std() > MaxTerm:
		return Hint(fmt.Errorf("the term %s is not between nothing and %s", r.For, MaxTerm), `set "for" to a time such as "1h", or "indefinite" to true`)
	}
	return nil
}

// ModeRequest asks for a defense mode.
type ModeRequest struct {
	Mode DefenseMode `json:"mode"`
	By   string      `json:"by"`
	Why  string      `json:"why,omitempty"`
	// ConfirmWithin is how long a lockdown holds unless a person confirms it; 0: it needs none.
	ConfirmWithin Duration `json:"confirm_within"`
}

// ModeChange is one change of the defense mode. It is the details of the event "mode" of the
// guardian's audit.
type ModeChange struct {
	Host   string      `json:"host,omitempty"`
	From   DefenseMode `json:"from"`
	To     DefenseMode `json:"to"`
	By     string      `json:"by"`
	Reason string      `json:"reason"`
	At     time.Time   `json:"at"`
	// Until is when the mode ends by itself; zero: it does not.
	Until time.Time `json:"until,omitzero"`
	// Unconfirmed is true while the lockdown ends at Until unless a person confirms it.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
}

// FleetMode is what a DefenseMode shows to every host, in its memo.
type FleetMode struct {
	ModeChange
	// Number grows with every change.
	Number uint64 `json:"number"`
	// RestoredAt is when the last lockdown ended; zero: there was none.
	RestoredAt time.Time `json:"restored_at,omitzero"`
}

// GuardianRecord is one line of the guardian's audit.
type GuardianRecord struct {
	EventID   string    `json:"event_id"`
	Timestamp time.Time `json:"timestamp"`
	// EventType is threat, isolation, mode, integrity, ingest or enforcement.
	EventType   string      `json:"event_type"`
	ThreatType  ThreatType  `json:"threat_type,omitempty"`
	ThreatLevel ThreatLevel `json:"threat_level,omitempty"`
	Source      string      `json:"source,omitempty"`
	Details     any         `json:"details"`
	ActionTaken Action      `json:"action_taken"`
}

// The event types of a GuardianRecord.
const (
	// EventThreat: a threat was found; details Threat.
	EventThreat = "threat"
	// EventIsolation: a source was isolated, its term changed, or it was let go; details Isolation.
	EventIsolation = "isolation"
	// EventMode: the defense mode changed; details ModeChange.
	EventMode = "mode"
	// EventIntegrity: the baseline of watched files was made or changed, or a ticket was opened or closed.
	EventIntegrity = "integrity"
	// EventIngest: a log went silent, came back, was rotated with a loss, or could not be read.
	EventIngest = "ingest"
	// EventEnforcement: an enforcer failed, or works again.
	EventEnforcement = "enforcement"
)

// Action is what the guardian did about an event.
type Action string

// The actions.
const (
	ActionNone Action = "recorded"
	// ActionIsolated: by the guardian itself; by a person it is ActionIsolatedByHand.
	ActionIsolated       Action = "auto_isolated"
	ActionIsolatedByHand Action = "isolated"
	ActionExtended       Action = "extended"
	ActionRestored       Action = "restored"
	// ActionExpired: the term is over.
	ActionExpired Action = "term_over"
	// ActionFollowed: what the fleet decided is in force here, too.
	ActionFollowed Action = "followed_fleet"
	// ActionSpared: the source is on the allow list.
	ActionSpared Action = "spared_allow_list"
	// ActionStale: the events are too old to act on.
	ActionStale         Action = "too_old_to_act"
	ActionLockdown      Action = "lockdown_initiated"
	ActionLockdownEnded Action = "lockdown_ended"
	ActionElevated      Action = "thresholds_tightened"
	ActionCalmed        Action = "thresholds_restored"
	ActionFrozen        Action = "frozen"
	ActionLimited       Action = "limited"
	ActionKilled        Action = "killed"
	ActionFailed        Action = "failed"
)

// ParseSource reads an address or network and returns it as the guardian counts it: an IPv4 address
// as /32, an IPv6 address by its /64, a network with its host bits cleared. IPv4 in IPv6
// (::ffff:192.0.2.1) is IPv4; zones are dropped.
func ParseSource(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return netip.Prefix{}, Hint(fmt.Errorf("%q is no network", s), "write an address such as 203.0.113.7, or a network such as 203.0.113.0/24")
		}
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, Hint(fmt.Errorf("%q is no address", s), "write an address such as 203.0.113.7 or 2001:db8::1, or a network such as 203.0.113.0/24")
	}
	return SourceOf(a), nil
}

// CheckWidth refuses networks that are too wide to be isolated: that is what a lockdown is for, which lets
// replies to the host's own connections in.
func CheckWidth(p netip.Prefix) error {
	least := 16
	if p.Addr().Is4() {
		least = 8
	}
	if p.Bits() >= least {
		return nil
	}
	return Hint(fmt.Errorf("%s is too wide to be isolated", p), "name networks of at least /8 for IPv4 and /16 for IPv6; to refuse everybody use shivx guardian lockdown")
}

// SourceOf returns the source to which an address belongs: an IPv4 address is one by itself, an IPv6
// address belongs to its /64.
func SourceOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return netip.PrefixFrom(a, 32)
	}
	return netip.PrefixFrom(a, 64).Masked()
}

// SourceString is the inverse of ParseSource: "203.0.113.7", "203.0.113.0/24", "2001:db8:0:1::/64". An IPv6
// address alone keeps its length, since without it the address stands for its /64.
func SourceString(p netip.Prefix) string {
	if p.Addr().Is4() && p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
