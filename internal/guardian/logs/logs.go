// Package logs reads what servers write about who talks to them: one line in, the events in it out.
//
// Each format is a hand-written parser that allocates nothing in the steady state. Text that a client
// chooses (user names, paths, user agents) never decides which address is taken: a parser anchors on
// what only the server writes, from the end of the line where the format puts the address last.
package logs

import (
	"net/netip"
	"time"
)

// Kind says what an event is.
type Kind uint8

// The kinds of events.
const (
	// Request: one answered request; Status, Method, Path and Agent are set as far as the log has them.
	Request Kind = iota + 1
	// Failure: one or more failed attempts to log in; User is set if the log has it.
	Failure
	// Success: a login that succeeded.
	Success
	// Probe: no login, but nothing an honest client does: a malformed request, a handshake cut off,
	// a request that the server's own limits refused.
	Probe
	// Denied: access refused by the server's own rules.
	Denied
)

var kindNames = [...]string{Request: "request", Failure: "failure", Success: "success", Probe: "probe", Denied: "denied"}

func (k Kind) String() string { return kindNames[k] }

// KindOf is the inverse of Kind.String.
func KindOf(name string) (Kind, bool) {
	for k, n := range kindNames {
		if n == name && n != "" {
			return Kind(k), true
		}
	}
	return 0, false
}

// Event is one thing that a line says a source did. The byte slices point into the line, or into
// memory of the parser: they hold until the next call of Parse.
type Event struct {
	// At is in nanoseconds since 1970, UTC; 0 when the line has no time that can be read.
	At   int64
	Kind Kind
	// Addr is the address of whoever did it, IPv4 in IPv6 unmapped; the zero Addr when the line names
	// a host by name, or in a form that is no address.
	Addr netip.Addr
	// Host is what the line says, as it says it (without brackets, port and the ::ffff: of IPv4 in IPv6).
	Host []byte
	// Count is how many attempts the line stands for; 0 when earlier lines have told of them already.
	Count int
	User  []byte
	// Status is that of HTTP, 0 when there is none.
	Status int
	Method []byte
	// Path is the request's target without its query.
	Path  []byte
	Agent []byte
	// Rule names the pattern that matched, for tuning: "sshd/failed-password".
	Rule string
	// Back is how many lines before the last one read the event's line was; only a Settler gives such.
	Back int
}

// Parser reads the lines of one log in order. It may keep what earlier lines of the same connection
// said, bounded in memory. It is not safe for concurrent use.
type Parser interface {
	// Parse appends the events of a line, without its line break, to events and returns them. A line
	// that says nothing about a source gives none.
	Parse(line []byte, events []Event) []Event
}

// Settler is a Parser that holds events back while lines to come may show that they are forged. Settle
// appends what is held; whoever reads calls it when there is nothing more to read for the moment, and at
// the end of a file. It counts as a call of Parse: what earlier events point to is gone.
//
// Held is what is held, as text of some KB at most, "" when nothing is. Hold of a parser of the same format
// goes on with it as if it had read the lines itself; what it held before is forgotten. After an error it
// holds nothing. So whoever stops between two lines saves what is held with the place in the log.
//
// A Settler counts bytes: it is given all of a line but its '\n', also a '\r' at its end.
type Settler interface {
	Settle(events []Event) []Event
	Held() string
	Hold(held string) error
}

// Opener is a Parser of lines in which what the server says of the client stands before what the client may
// make long. ParseOpening takes the place of Parse for the beginning of a line that is too long to be read
// whole: nobody hides by long headers.
type Opener interface {
	ParseOpening(line []byte, events []Event) []Event
}

// Options of New.
type Options struct {
	// Now is about when the lines were written, for times without a year or zone: the year is chosen so
	// that a line is at most a day after Now. Zero: when the line is parsed.
	Now time.Time
	// Zone of times that have none; nil: UTC.
	Zone *time.Location
	// Mode of the formats that have several: "normal" (default) or "aggressive", which also takes
	// connections given up before a login, and protocol errors, for probes.
	Mode string
	// Pattern is a regular expression with the group "host" and, as wanted, "time", "user", "status",
	// "method", "path" and "agent", for the format "regexp"; lines that match are of the kind Kind.
	Pattern string
	Kind    Kind
	// TimeLayout of the group "time", as in package time; default RFC 3339.
	TimeLayout string
	// Trusted are the proxies whose word about the client's address is believed, where a format has both
	// that and the peer of the connection.
	Trusted []netip.Prefix
}
