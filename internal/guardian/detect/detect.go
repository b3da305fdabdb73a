// Package detect finds attackers in streams of events, in event time: the same events in the same
// order give the same decisions, byte for byte, whatever the clock says.
//
// It keeps a bounded table of sources. A source that is isolated is never evicted; those that have
// failed or probed go after those that have only asked.
package detect

import (
	"net/netip"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// Options of New.
type Options struct {
	// Rules are the thresholds and weights.
	Rules config.ThreatRules
	// Host goes into the threats.
	Host string
	// Seed of the hashes, so that nobody can choose sources, accounts or paths that collide: draw it at
	// random where strangers are judged. The decisions do not depend on it.
	Seed uint64
	// Signatures know what only scanners ask for; nil: those of package logs with the further paths and
	// tools of Rules.
	Signatures Signatures
}

var _ Signatures = (*logs.Signatures)(nil)

// Signatures know what only scanners ask for.
type Signatures interface {
	// ProbePath says whether a request's target is one.
	ProbePath(path []byte) bool
	// Tool says whether a user agent names a scanner.
	Tool(agent []byte) bool
}

// Decision is a threat that a source has become. A source that goes on gives another one when it
// passes the next threshold, and not for each event in between.
type Decision struct {
	shivx.Threat
	// Prefix is the source, or the network.
	Prefix netip.Prefix
}

// Sighting is what is known of a source.
type Sighting struct {
	Source string    `json:"source"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	// Requests in the last minute, Failures in the window of brute force, both at Last.
	Requests int `json:"requests"`
	Failures int `json:"failures"`
	// Score of scanner behaviour.
	Score float64 `json:"score"`
}

// Stats of the table.
type Stats struct {
	Sources  int    `json:"sources"`
	Capacity int    `json:"capacity"`
	Evicted  uint64 `json:"evicted"`
	// Bytes that the table takes.
	Bytes  int64  `json:"bytes"`
	Events uint64 `json:"events"`
}

// NetworkOf returns the network in which a source is counted: the /24 of an IPv4 address, the /48 of an
// IPv6 /64.
func NetworkOf(source netip.Prefix) netip.Prefix {
	bits := 48
	if source.Addr().Is4() {
		bits = 24
	}
	return netip.PrefixFrom(source.Addr(), bits).Masked()
}
