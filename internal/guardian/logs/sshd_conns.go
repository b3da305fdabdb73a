package logs

import "net/netip"

// A connection is known by the host that logged it and the pid of its sshd. The table is bounded and
// set-associative: a connection displaces the one of its set that was used longest ago.
const (
	connSets = 512
	connWays = 4
)

// conn is what earlier lines of a connection said.
type conn struct {
	// addr and host of the client; hostLen is 0 while unknown.
	addr    netip.Addr
	hostLen uint8
	userLen uint8
	// multi: failures of one user have been followed by those of another.
	multi bool
	// exceeded: sshd has said that there were too many failures.
	exceeded bool
	// announced: sshd has named an unknown user, and that was counted; the failure that follows is the same.
	announced bool
	// probe: the client broke the protocol before its address was known.
	probe bool
	// pam counts failures of user that PAM told of and sshd has not confirmed, keys its public keys that
	// did not fit, refused what waits for the client's address.
	pam, keys, refused uint16
	host               [64]byte
	user               [64]byte
}

func (c *conn) setHost(host []byte, addr netip.Addr) {
	if len(host) <= len(c.host) {
		c.hostLen, c.addr = uint8(copy(c.host[:], host)), addr
	}
}

// setUser keeps the beginning of a long name, which is enough to tell it from another one.
func (c *conn) setUser(user []byte) { c.userLen = uint8(copy(c.user[:], user)) }

func (c *conn) sameUser(user []byte) bool {
	return string(c.user[:c.userLen]) == string(user[:min(len(user), len(c.user))])
}

// forget drops all that has been counted, but not who the client is.
func (c *conn) forget() {
	c.pam, c.keys, c.refused, c.userLen = 0, 0, 0, 0
	c.multi, c.exceeded, c.probe, c.announced = false, false, false, false
}

// conns is the table of connections.
type conns struct {
	sets [connSets]connSet
	tick uint64
}

// connSet has its keys beside each other, as most look-ups are of connections that are not there.
type connSet struct {
	keys, used [connWays]uint64
	conns      [connWays]conn
}

// key of a connection; 0 for a line without a pid, which nothing can be related to.
func (r *record) key() uint64 {
	if r.pid == 0 {
		return 0
	}
	h := uint64(14695981039346656037) // FNV-1a
	for _, x := range r.host {
		h = (h ^ uint64(x)) * 1099511628211
	}
	h = (h ^ uint64(r.pid)) * 0x9e3779b97f4a7c15
	return h | 1
}

// find returns the connection, nil when nothing is known of it.
func (t *conns) find(key uint64) *conn {
	set := &t.sets[key>>32%connSets]
	for i, k := range set.keys {
		if k == key && key != 0 {
			t.tick++
			set.used[i] = t.tick
			return &set.conns[i]
		}
	}
	return nil
}

// make returns a connection that find has not found; nil for the key 0.
func (t *conns) make(key uint64) *conn {
	if key == 0 {
		return nil
	}
	set := &t.sets[key>>32%connSets]
	oldest := 0
	for i, used := range set.used {
		if used < set.used[oldest] {
			oldest = i
		}
	}
	t.tick++
	set.keys[oldest], set.used[oldest] = key, t.tick
	c := &set.conns[oldest]
	c.hostLen = 0
	c.forget()
	return c
}

// end forgets the connection; what c points to stays as it is until another takes its place.
func (t *conns) end(key uint64) {
	set := &t.sets[key>>32%connSets]
	for i, k := range set.keys {
		if k == key {
			set.keys[i], set.used[i] = 0, 0
		}
	}
}
