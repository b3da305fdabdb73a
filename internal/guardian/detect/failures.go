package detect

import (
	"slices"
	"time"
)

// figures are what the rules ask of failures: those within both windows, and the accounts.
type figures struct {
	burst, slow, accounts int
}

// fail counts failed logins: many in a short time, more over hours, and over many accounts.
func (d *Detector) fail(s *sight) {
	e, at, account := s.entry, micros(s.at), d.account(s.event.User)
	records := d.load(e, at)
	had, inOrder := len(records), latest(records) <= at
	known := account == 0 || named(since(records, at-d.rules.SlowWindow.Microseconds()), account)
	var before figures
	if e.marks != 0 && !inOrder { // what a mark waits for is how low the count has fallen
		before = d.figures(records, at)
	}
	records = d.makeRoom(records, at)
	dropped := len(records) != had
	n := min(s.count, countMax)
	records, changed := insert(records, record{at: at, id: account, n: uint16(n)})
	if dropped {
		changed = 0
	}
	d.space = records[:0]
	d.store(e, records, changed)
	if account != 0 {
		d.keepName(e, account, s.event.User, records)
	}
	s.records = records

	after := d.figures(records, at)
	if inOrder {
		before = figures{after.burst - n, after.slow - n, after.accounts}
		if !known {
			before.accounts--
		}
	}
	d.judge(s, burstMetric, before.burst, after.burst)
	d.judge(s, slowMetric, before.slow, after.slow)
	d.judge(s, sprayMetric, before.accounts, after.accounts)
	s.probed = true
}

// figures counts what the windows hold that contain a time.
func (d *Detector) figures(records []record, at int64) figures {
	r := &d.rules
	if latest(records) > at {
		return figures{most(records, at, r.FailureWindow), most(records, at, r.SlowWindow), d.mostAccounts(records, at, r.SlowWindow)}
	}
	recent := since(records, at-r.SlowWindow.Microseconds())
	return figures{most(records, at, r.FailureWindow), total(recent), d.accounts(recent)}
}

// judge decides on a count of failures that has risen.
func (d *Detector) judge(s *sight, m metric, before, n int) {
	level := d.passes(s.entry, s.at, m, before, n)
	if level == 0 {
		return
	}
	w := d.limits[m].window
	evidence := map[string]any{"failed_logins": n, "window": w.String(), "accounts": d.namesOf(s, w)}
	if m == sprayMetric {
		evidence["failed_logins"], evidence["distinct_accounts"] = most(s.records, micros(s.at), w), n
	}
	d.decide(s, s.entry, m, level, n, evidence)
}

// makeRoom drops what no window reaches any more when the next record needs a block, and keeps little
// more records than it takes to pass any threshold. The oldest go, or those furthest from now if there
// are some with later times: one with a time in the future must not stay for ever.
func (d *Detector) makeRoom(records []record, at int64) []record {
	n := len(records)
	if n == 0 || n%recordsBlock != 0 {
		return records
	}
	now := min(at, records[n-1].at) // one event with a wrong time wipes nothing
	records = slices.Delete(records, 0, n-len(since(records, now-d.longest.Microseconds())))
	if len(records) < d.maxRecords+recordsBlock {
		return records
	}
	for range recordsBlock {
		n := len(records) - 1
		if records[n].at-at > at-records[0].at {
			records = records[:n]
		} else {
			records = slices.Delete(records, 0, 1)
		}
	}
	return records
}

// succeed takes back the failures of the account that has logged in now: who mistypes and then gets it
// right attacks nobody, and neither does an office behind one address. What failed for other accounts
// stays, so that an account of one's own does not pay for guesses at others.
func (d *Detector) succeed(s *sight) {
	e, at, account := s.entry, micros(s.at), d.account(s.event.User)
	if e.nrecords > 0 && account != 0 {
		records := d.load(e, at)
		records = slices.DeleteFunc(records, func(r record) bool { return r.id == account && r.at <= at })
		d.store(e, records, 0)
		d.dropName(e, account)
		if e.points == 0 && d.tries(e, records, at) < badTries {
			d.leave(e)
		}
	}
	d.join(s, memberGood)
}

// account is how an account is told from others; 0: none was named.
func (d *Detector) account(user []byte) uint32 {
	if len(user) == 0 {
		return 0
	}
	return d.secret.sum(user, saltAccount)
}

// namesKept is how many accounts of a source are kept by name, for people.
const (
	namesKept = 5
	nameMax   = (blockWords-1)*4 - 1
)

// keepName remembers the name of an account, one block each.
func (d *Detector) keepName(e *entry, account uint32, user []byte, records []record) {
	at, n := &e.names, 0
	for ; *at != 0; n++ {
		b := d.blocks.at(*at)
		if b.words[0] == account {
			return
		}
		if !named(records, b.words[0]) { // its failures are over
			i := *at
			*at, b.next = b.next, 0
			d.blocks.give(i)
			n--
			continue
		}
		at = &b.next
	}
	if n == namesKept {
		return
	}
	i := d.take()
	if i == 0 {
		return
	}
	*at = i
	b := d.blocks.at(i)
	b.words[0] = account
	putName(b, user)
}

func putName(b *block, user []byte) {
	user = user[:min(len(user), nameMax)]
	b.words[1] = uint32(len(user))
	for i, c := range user {
		b.words[1+(i+1)/4] |= uint32(c) << ((i + 1) % 4 * 8)
	}
}

func (b *block) name() []byte {
	out := make([]byte, min(b.words[1]&0xff, nameMax))
	for i := range out {
		out[i] = byte(b.words[1+(i+1)/4] >> ((i + 1) % 4 * 8))
	}
	return out
}

func named(records []record, account uint32) bool {
	return slices.ContainsFunc(records, func(r record) bool { return r.id == account })
}

func (d *Detector) dropName(e *entry, account uint32) {
	for at := &e.names; *at != 0; {
		b := d.blocks.at(*at)
		if b.words[0] == account {
			i := *at
			*at, b.next = b.next, 0
			d.blocks.give(i)
			return
		}
		at = &b.next
	}
}

// namesOf returns the accounts that failed within a window, as far as their names are kept.
func (d *Detector) namesOf(s *sight, window time.Duration) []string {
	recent := since(s.records, micros(s.at)-window.Microseconds())
	names := []string{}
	for i := s.entry.names; i != 0; i = d.blocks.at(i).next {
		if b := d.blocks.at(i); named(recent, b.words[0]) {
			names = append(names, text(b.name()))
		}
	}
	return names
}
