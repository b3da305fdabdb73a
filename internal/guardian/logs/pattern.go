package logs

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/shivx/shivx"
)

// pattern reads lines by a regular expression of the user.
//
// Where a client's own words (a user's name, a path) stand before its address, an expression without
// "^", or with ".*" before the group host, can match an address within those words: whoever sends them
// then decides who is isolated. Begin the expression with "^", and let what stands before the address
// match no more than the server writes there.
type pattern struct {
	re    *regexp.Regexp
	clock clock
	zone  *time.Location
	kind  Kind
	// layout of the group time, "" for any time that the other formats know.
	layout string
	// groups are the numbers of the groups, 0 for those that the expression lacks.
	groups patternGroups
}

type patternGroups struct{ host, time, user, status, method, path, agent int }

// patternNames are the groups that an expression may have, for messages.
const patternNames = "host, time, user, status, method, path and agent"

// newPattern compiles the expression. It fails, with a hint, when it is empty or cannot be compiled,
// has no group host, or a group by an unknown name.
func newPattern(o Options) (Parser, error) {
	if o.Pattern == "" {
		return nil, shivx.Hint(fmt.Errorf("the format regexp needs a pattern"),
			`set pattern to an expression such as ^(?P<time>\S+) login failed for "(?P<user>[^"]*)" from (?P<host>\S+)$`)
	}
	re, err := regexp.Compile(o.Pattern)
	if err != nil {
		return nil, shivx.Hint(fmt.Errorf("the pattern %q cannot be compiled: %w", o.Pattern, err),
			"use the syntax of https://golang.org/s/re2syntax: it has no look-around and no back references")
	}
	p := &pattern{re: re, clock: newClock(o), zone: o.Zone, kind: o.Kind, layout: o.TimeLayout}
	if p.zone == nil {
		p.zone = time.UTC
	}
	if p.kind == 0 {
		p.kind = Failure
	}
	for i, name := range re.SubexpNames() {
		group := p.groups.of(name)
		switch {
		case name == "":
		case group == nil:
			return nil, shivx.Hint(fmt.Errorf("the pattern has a group %q, which means nothing", name),
				"name the groups "+patternNames+"; write (?:…) for a group without a name")
		case *group != 0:
			return nil, shivx.Hint(fmt.Errorf("the pattern has the group %q twice", name),
				"write alternatives within one group, or add a second log with the other pattern")
		default:
			*group = i
		}
	}
	if p.groups.host == 0 {
		return nil, shivx.Hint(fmt.Errorf("the pattern has no group %q", "host"),
			`write (?P<host>\S+) where the address stands; fail2ban's <HOST> is that group`)
	}
	return p, nil
}

func (g *patternGroups) of(name string) *int {
	switch name {
	case "host":
		return &g.host
	case "time":
		return &g.time
	case "user":
		return &g.user
	case "status":
		return &g.status
	case "method":
		return &g.method
	case "path":
		return &g.path
	case "agent":
		return &g.agent
	}
	return nil
}

// Parse implements Parser.
func (p *pattern) Parse(line []byte, events []Event) []Event {
	m := p.re.FindSubmatchIndex(line)
	if m == nil {
		return events
	}
	group := func(i int) []byte {
		if i == 0 || m[2*i] < 0 {
			return nil
		}
		return line[m[2*i]:m[2*i+1]]
	}
	g := p.groups
	e := Event{
		At: p.time(group(g.time)), Kind: p.kind, Count: 1, User: group(g.user), Status: statusCode(group(g.status)),
		Method: group(g.method), Path: targetPath(group(g.path)), Agent: group(g.agent), Rule: "regexp",
	}
	if e.Host, e.Addr = webHost(group(g.host), portMaybe); len(e.Host) == 0 {
		return events
	}
	return append(events, e)
}

// time reads the group time by the layout. Without a year in it, it is the last that puts the time at
// most a day after now.
func (p *pattern) time(b []byte) int64 {
	switch {
	case b == nil:
		return 0
	case p.layout == "":
		at, _ := p.clock.leading(b)
		if at == 0 {
			at, _ = p.clock.clf(b)
		}
		return at
	}
	t, err := time.ParseInLocation(p.layout, string(b), p.zone)
	if err != nil {
		return 0
	}
	if t.Year() == 0 && !strings.Contains(p.layout, "06") {
		year := p.clock.inferYear(int(t.Month()), t.Day())
		t = time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location())
	}
	return t.UnixNano()
}
