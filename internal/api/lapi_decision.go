package api

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/guardian/enforce"
)

// decision is one ban as bouncers know it.
type decision struct {
	ID       int64  `json:"id"`
	Origin   string `json:"origin"`
	Type     string `json:"type"`
	Scope    string `json:"scope"`
	Value    string `json:"value"`
	Duration string `json:"duration"`
	Scenario string `json:"scenario"`
	// at is the value.
	at netip.Prefix
}

// What is the same in all decisions.
const (
	origin  = "shivx"
	banType = "ban"
)

const (
	// forLong is the duration of what has no end. Bouncers ask again long before.
	forLong = shivx.MaxTerm
	// lockdownTerm is the duration of the decisions of a lockdown, which are renewed when half of it is
	// over: should nobody be left to take them back, they end by themselves.
	lockdownTerm = time.Hour
	// hasEnded is the duration of what is deleted.
	hasEnded = "-1.001s"
)

func newDecision(p netip.Prefix, scenario, duration string) decision {
	d := decision{at: p, Origin: origin, Type: banType, Scope: "Range", Value: p.String(), Duration: duration, Scenario: "shivx/" + scenario}
	if p.IsSingleIP() {
		d.Scope, d.Value = "Ip", p.Addr().String()
	}
	hash := sha256.Sum256([]byte(d.Scope + d.Value))
	d.ID = int64(binary.BigEndian.Uint64(hash[:]) >> 11) // exact in a JSON number
	return d
}

// ended takes back a decision about p.
func ended(p netip.Prefix) decision { return newDecision(p, "ended", hasEnded) }

// lasting writes a duration so that all bouncers read it: some hold what is below a millisecond for
// having no end, and some need a fraction of a second to recognise the number.
func lasting(left time.Duration) string {
	ms := max((left+time.Millisecond-1)/time.Millisecond, 1000)
	if ms%1000 == 0 {
		ms++
	}
	return (ms * time.Millisecond).String()
}

// bans are the decisions about an isolated source: what of it is not on the allow list, of which
// bouncers know nothing.
func (s *Server) bans(i shivx.Isolation, now time.Time) (out []decision) {
	p, err := shivx.ParseSource(i.Source)
	if err != nil {
		return nil
	}
	left, scenario := forLong, i.Type
	if !i.Until.IsZero() {
		left = i.Until.Sub(now)
	}
	if scenario == "" {
		scenario = shivx.ThreatReported
	}
	duration := lasting(left)
	for _, part := range enforce.Subtract(p, s.allow) {
		out = append(out, newDecision(part, string(scenario), duration))
	}
	return out
}

// ban returns a decision of exactly this value that is in force because of an isolation.
func (s *Server) ban(value netip.Prefix, now time.Time) (decision, bool) {
	for bits := value.Bits(); bits >= 0; bits-- {
		i, ok := s.parts.Guardian.Isolation(netip.PrefixFrom(value.Addr(), bits).Masked())
		if !ok {
			continue
		}
		for _, one := range s.bans(i, now) {
			if one.at == value {
				return one, true
			}
		}
	}
	return decision{}, false
}

// lockdownBans are the decisions of a lockdown: everybody who is not on the allow list.
func (s *Server) lockdownBans() (out []decision) {
	duration := lasting(lockdownTerm)
	for _, p := range enforce.Everybody(s.allow) {
		out = append(out, newDecision(p, "lockdown", duration))
	}
	return out
}
