package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/shivx/shivx"
)

// checkGuardian checks what concerns more than one key of the section.
func (d *decoder) checkGuardian() {
	g := &d.cfg.Guardian
	d.checkWidth(g.Allow, "allow", "nobody would ever be isolated", "to turn the guardian off, write enabled: false")
	d.checkWidth(g.TrustedProxies, "trusted_proxies", "anybody could name any address as his own", "name your proxies")
	d.checkLogs(g.Logs)
	d.checkSyslog(&g.Syslog)
	d.checkThresholds(&g.Rules)
	d.checkTerms(g)
	names, files := d.names(), d.paths()
	for i := range g.DenyFiles {
		f := &g.DenyFiles[i]
		names.add(&f.Name, f.Name, "deny file")
		files.add(&f.Path, f.Path, "each deny file is written whole: give each a path of its own")
	}
	budgets := d.names()
	for i := range g.Budgets {
		budgets.add(&g.Budgets[i].Name, g.Budgets[i].Name, "budget")
		d.checkBudget(&g.Budgets[i])
	}
}

// paths finds files that are used twice.
type paths struct {
	d    *decoder
	seen map[string]*node
}

func (d *decoder) paths() paths { return paths{d, map[string]*node{}} }

func (p paths) add(ptr *string, path, hint string) {
	if path == "" {
		return
	}
	place := p.d.at(ptr)
	if first, ok := p.seen[path]; ok {
		p.d.add(place, fmt.Sprintf("the file is already used in line %d", first.line), hint)
		return
	}
	p.seen[path] = place
}

// The shortest prefixes that may be a network of somebody's own: 10.0.0.0/8, and an IPv6 allocation.
const (
	shortest4 = 8
	shortest6 = 16
)

// checkWidth refuses networks that have most of the Internet in them.
func (d *decoder) checkWidth(sources []string, key, consequence, hint string) {
	for i := range sources {
		p, err := netip.ParsePrefix(sources[i])
		if err != nil {
			continue // one address, or reported already
		}
		a := p.Addr()
		own := a.Is4() && p.Bits() >= shortest4 || a.Is6() && (p.Bits() >= shortest6 || p.Bits() >= 7 && a.IsPrivate())
		if !own {
			d.add(d.at(&sources[i]), fmt.Sprintf("%s: %s is too wide: %s", key, p, consequence),
				fmt.Sprintf("write networks of at least /%d (IPv4) or /%d (IPv6); %s", shortest4, shortest6, hint))
		}
	}
}

func (d *decoder) checkLogs(logs []Log) {
	names, files := d.names(), d.paths()
	for i := range logs {
		l := &logs[i]
		names.add(&l.Name, l.Name, "log")
		files.add(&l.File, l.File, "a line read twice counts twice: delete one of the two")
		if d.has(&l.Journal) && l.Journal != nil && len(l.Journal) == 0 {
			d.add(d.at(&l.Journal), "\"journal\" is empty", "name at least one unit, such as ssh.service")
		}
		if l.Format != "regexp" {
			d.onlyForRegexp(l)
			continue
		}
		d.checkPattern(l)
	}
}

// onlyForRegexp refuses keys that a ready format would not look at.
func (d *decoder) onlyForRegexp(l *Log) {
	if l.Format == "" {
		return // reported already
	}
	for _, k := range []struct {
		key string
		ptr any
	}{{"pattern", &l.Pattern}, {"kind", &l.Kind}, {"time_layout", &l.TimeLayout}} {
		if d.has(k.ptr) {
			d.add(d.at(k.ptr), fmt.Sprintf("%q is for the format regexp alone; %s knows its own", k.key, l.Format),
				fmt.Sprintf("delete it, or write format: regexp instead of %s", l.Format))
		}
	}
}

// patternGroups are the groups that a log's pattern may have.
var patternGroups = []string{"host", "time", "user", "status", "method", "path", "agent"}

func (d *decoder) checkPattern(l *Log) {
	if !d.has(&l.Pattern) {
		if d.has(&l.Format) {
			d.add(d.at(&l.Format), "the format regexp needs a pattern", "write pattern: 'login failed for .* from (?P<host>\\S+)$'")
		}
		return
	}
	at := d.at(&l.Pattern)
	if at.kind != kindText {
		return // reported already
	}
	re, err := regexp.Compile(l.Pattern)
	if err != nil {
		d.add(at, "pattern: "+patternError(err), "write it as Go's package regexp reads it, in single quotes")
		return
	}
	if !slices.Contains(re.SubexpNames(), "host") {
		d.add(at, "the pattern has no group \"host\": it would say nothing about a source", "put (?P<host>\\S+) where the address stands")
	}
	for _, name := range re.SubexpNames() {
		if name != "" && !slices.Contains(patternGroups, name) {
			d.add(at, fmt.Sprintf("unknown group %q", name), suggest(name, patternGroups, "valid"))
		}
	}
	d.checkTimeLayout(l)
}

// patternError is what is wrong with a regular expression, without the words that the caller says.
func patternError(err error) string {
	return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}

// checkTimeLayout refuses a layout in another language than Go's, which stands for itself alone.
func (d *decoder) checkTimeLayout(l *Log) {
	if !d.has(&l.TimeLayout) {
		return
	}
	one := time.Date(2025, time.January, 2, 13, 14, 15, 0, time.UTC)
	other := time.Date(2026, time.November, 30, 6, 57, 48, 0, time.UTC)
	if one.Format(l.TimeLayout) == other.Format(l.TimeLayout) {
		d.add(d.at(&l.TimeLayout), fmt.Sprintf("time_layout: %q has no time in it", l.TimeLayout),
			"write how the time 2006-01-02 15:04:05 would look in the log")
	}
}

func (d *decoder) checkSyslog(s *SyslogInput) {
	d.checkWidth(s.From, "from", "anybody could send lines that isolate others", "name the hosts that send")
	if s.Listen == "off" {
		return
	}
	if len(s.From) == 0 {
		d.add(d.at(&s.From), "nobody may send: \"from\" is empty", "name the hosts that send, or delete it: then loopback may")
	}
	if len(s.Formats) == 0 {
		d.add(d.at(&s.Formats), "no line would be read: \"formats\" is empty", "name a format, or delete it: then it is sshd")
	}
}

// checkThresholds refuses a warning that would come after what it warns of.
func (d *decoder) checkThresholds(r *ThreatRules) {
	for _, p := range []struct {
		low, high         string
		warning, critical *int
	}{
		{"requests_warning", "requests_critical", &r.RequestsWarning, &r.RequestsCritical},
		{"failures_warning", "failures_critical", &r.FailuresWarning, &r.FailuresCritical},
		{"scanner_warning", "scanner_critical", &r.ScannerWarning, &r.ScannerCritical},
	} {
		if *p.warning > *p.critical {
			d.add(d.atEither(p.warning, p.critical), fmt.Sprintf("%q (%d) is more than %q (%d)", p.low, *p.warning, p.high, *p.critical),
				fmt.Sprintf("raise %q or lower %q", p.high, p.low))
		}
	}
	if r.SlowWindow < r.FailureWindow {
		d.add(d.atEither(&r.SlowWindow, &r.FailureWindow),
			fmt.Sprintf("\"slow_window\" (%s) is less than \"failure_window\" (%s)", r.SlowWindow, r.FailureWindow),
			"raise \"slow_window\" or lower \"failure_window\"")
	}
}

// atEither returns the place of the first of two values that the file has.
func (d *decoder) atEither(ptr, other any) *node {
	if d.has(ptr) {
		return d.at(ptr)
	}
	return d.at(other)
}

func (d *decoder) checkTerms(g *Guardian) {
	if d.has(&g.Terms) && g.Terms != nil && len(g.Terms) == 0 {
		d.add(d.at(&g.Terms), "\"terms\" is empty: nobody could be isolated for a time", "write terms: [10m, 1h, 24h], or delete it to have the default")
	}
	for i := range g.Terms {
		at := d.at(&g.Terms[i])
		if g.Terms[i] > shivx.MaxTerm {
			d.add(at, fmt.Sprintf("terms: %s is longer than the longest term, %s", g.Terms[i], shivx.MaxTerm), "isolate by hand, without an end, who shall never come back")
		}
		if i > 0 && g.Terms[i] > 0 && g.Terms[i] <= g.Terms[i-1] {
			d.add(at, "the terms are not in the order of their length", "each must be longer than the one before, for a further offence is a worse one")
		}
	}
}

// Paths of programs by which a pattern is known to mean everything that runs.
const (
	initProgram = "/usr/lib/systemd/systemd"
	anyProgram  = "/opt/any/program"
)

func (d *decoder) checkBudget(b *Budget) {
	self := d.atEither(&b.Name, b)
	if b.CPU == 0 && b.MemoryMB == 0 && b.Processes == 0 && d.has(b) {
		d.add(self, "the budget limits nothing", "set at least one of cpu, memory_mb and processes")
	}
	if b.Action == "limit" && b.Cgroup == "" && (b.Process != "" || b.User != "") {
		d.add(d.at(&b.Action), "only a cgroup can be limited", "write action: freeze, or name the cgroup of the service")
	}
	if b.Action == "alert" {
		return
	}
	switch {
	case b.User == "root" || b.User == "0":
		d.add(d.at(&b.User), fmt.Sprintf("user: %s runs the system itself, which must not be stopped", b.User), "write action: alert, or name programs or cgroups")
	case matches(b.Process, initProgram) && matches(b.Process, anyProgram):
		d.add(d.at(&b.Process), fmt.Sprintf("process: %q is every program, the system's own too", b.Process), "write action: alert, or name programs")
	case matches(b.Cgroup, "init.scope"):
		d.add(d.at(&b.Cgroup), fmt.Sprintf("cgroup: %q has the init system in it, which must not be stopped", b.Cgroup), "write action: alert, or name cgroups such as system.slice/app.service")
	}
}

func matches(pattern, path string) bool {
	ok, err := doublestar.Match(pattern, path)
	return ok && err == nil
}

// checkAccounts checks that the machine knows the accounts that budgets name.
func (d *decoder) checkAccounts() {
	for i := range d.cfg.Guardian.Budgets {
		d.checkAccount(&d.cfg.Guardian.Budgets[i].User, "user")
	}
}
