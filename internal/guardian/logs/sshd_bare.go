package logs

import "bytes"

// bare takes a line that sshd has written by itself (sshd -E FILE, or sshd -e into a file): it has
// neither time nor tag nor pid. Once a line began with one of them the file is that of a syslog daemon, in
// which a line without them is a part of some other program's message.
//
// No client can make sshd begin a line so. A name such as "sshd[1]" stands behind "User" at the earliest.
func (s *sshd) bare(r *record, tagged bool) bool {
	ours := tagged && index(r.prog, "sshd") >= 0 && bytes.IndexByte(r.prog, '(') < 0 // but "pam_unix(sshd:auth):"
	switch {
	case r.at != 0,
		tagged && r.host == nil && (ours || r.pid != 0),
		ours && !bytes.EqualFold(r.host, []byte("user")):
		s.syslog = true
	}
	if s.syslog {
		return false
	}
	*r = record{msg: bytes.TrimRight(r.text, " \r")}
	return true
}

// relate knows the connection of a line without a pid by its client's address and port, which follows
// host in the line. That is enough to count one attempt once.
func (s *sshd) relate(host []byte) {
	if s.key != 0 {
		return
	}
	port, ok := after(host[len(host):cap(host)], " port ")
	n := 0
	for n < len(port) && port[n]-'0' <= 9 {
		n++
	}
	if !ok || n == 0 {
		return
	}
	h := uint64(14695981039346656037) // FNV-1a
	for _, part := range [...][]byte{host, {' '}, port[:n]} {
		for _, x := range part {
			h = (h ^ uint64(x)) * 1099511628211
		}
	}
	s.key = h | 1
	s.conn = s.conns.find(s.key)
}
