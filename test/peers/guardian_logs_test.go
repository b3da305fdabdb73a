package peers

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Logs as servers on the internet write them, made up but always the same: a few sources make most of
// the trouble, many make a little, people work in between, and other programs write, too.

const (
	// logSpan is the time that a log spans.
	logSpan = 6 * time.Hour
	// logAttackers, logPeople and logNames are how many sources attack, how many work, and how many names
	// are tried.
	logAttackers, logPeople, logNames = 3000, 400, 600
)

// logMaker writes the lines of one log.
type logMaker struct {
	w      *bufio.Writer
	random *rand.Rand
	zipf   *rand.Zipf
	from   time.Time
	step   time.Duration
	lines  int
	pid    int
	bad    []string
	good   []string
}

// makeLog writes a log of n lines that ends at end, and returns its path. grow writes the next few lines.
func makeLog(t *testing.T, n int, end time.Time, grow func(*logMaker)) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	m := newLogMaker(f, n, end)
	for m.lines < n {
		grow(m)
	}
	if err := m.w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func newLogMaker(w io.Writer, n int, end time.Time) *logMaker {
	random := rand.New(rand.NewPCG(4, uint64(n)))
	m := &logMaker{
		w: bufio.NewWriterSize(w, 1<<20), random: random, from: end.Add(-logSpan), step: logSpan / time.Duration(n),
		zipf: rand.NewZipf(random, 1.1, 20, logAttackers-1),
	}
	for range logAttackers {
		m.bad = append(m.bad, fmt.Sprintf("%d.%d.%d.%d", 11+random.IntN(100), random.IntN(256), random.IntN(256), 1+random.IntN(254)))
	}
	for i := range logPeople {
		m.good = append(m.good, fmt.Sprintf("198.51.%d.%d", 100+i/200, 1+i%200))
	}
	return m
}

// now is the time of the next line.
func (m *logMaker) now() time.Time { return m.from.Add(time.Duration(m.lines) * m.step) }

func (m *logMaker) line(format string, args ...any) {
	fmt.Fprintf(m.w, format+"\n", args...)
	m.lines++
}

func (m *logMaker) attacker() string { return m.bad[m.zipf.Uint64()] }
func (m *logMaker) person() string   { return m.good[m.random.IntN(len(m.good))] }
func (m *logMaker) port() int        { return 1024 + m.random.IntN(60000) }

// syslog writes a line of a program in the form that Debian's rsyslog has had longest, which all read.
func (m *logMaker) syslog(program, format string, args ...any) {
	m.line("%s web1 %s: %s", m.now().Format(time.Stamp), program, fmt.Sprintf(format, args...))
}

// growAuth writes what sshd and others write into auth.log about one connection or job.
func growAuth(m *logMaker) {
	m.pid = 1000 + (m.pid-999)%60000
	sshd := fmt.Sprintf("sshd[%d]", m.pid)
	switch r := m.random.IntN(100); {
	case r < 45:
		m.guess(sshd, m.attacker(), m.port(), fmt.Sprintf("user%d", m.random.IntN(logNames)), true)
	case r < 70:
		m.guess(sshd, m.attacker(), m.port(), "root", false)
	case r < 75:
		m.syslog(sshd, "Connection closed by %s port %d [preauth]", m.attacker(), m.port())
	case r < 78:
		m.syslog(sshd, "banner exchange: Connection from %s port %d: invalid format", m.attacker(), m.port())
	case r < 90:
		a, port, user := m.person(), m.port(), fmt.Sprintf("dev%d", m.random.IntN(40))
		m.syslog(sshd, "Accepted publickey for %s from %s port %d ssh2: ED25519 SHA256:Ns0xVfA7a5mQ2rj4Yk1m0F5nVb7cXo8uQpZ1t3w9eHk", user, a, port)
		m.syslog(sshd, "pam_unix(sshd:session): session opened for user %s(uid=%d) by (uid=0)", user, 1000+len(user))
		m.syslog("systemd-logind[612]", "New session %d of user %s.", m.pid, user)
		m.syslog(sshd, "Received disconnect from %s port %d:11: disconnected by user", a, port)
		m.syslog(sshd, "Disconnected from user %s %s port %d", user, a, port)
		m.syslog(sshd, "pam_unix(sshd:session): session closed for user %s", user)
	default:
		cron := fmt.Sprintf("CRON[%d]", m.pid)
		m.syslog(cron, "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)")
		m.syslog(cron, "pam_unix(cron:session): session closed for user root")
	}
}

// guess is one attempt to log in with a password.
func (m *logMaker) guess(sshd, addr string, port int, user string, unknown bool) {
	invalid := ""
	if unknown {
		invalid = "invalid user "
		m.syslog(sshd, "Invalid user %s from %s port %d", user, addr, port)
		m.syslog(sshd, "pam_unix(sshd:auth): check pass; user unknown")
		m.syslog(sshd, "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=%s", addr)
	} else {
		m.syslog(sshd, "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=%s  user=%s", addr, user)
	}
	m.syslog(sshd, "Failed password for %s%s from %s port %d ssh2", invalid, user, addr, port)
	if m.random.IntN(2) == 0 {
		m.syslog(sshd, "Received disconnect from %s port %d:11: Bye Bye [preauth]", addr, port)
	}
	if !unknown {
		invalid = "authenticating user "
	}
	m.syslog(sshd, "Disconnected from %s%s %s port %d [preauth]", invalid, user, addr, port)
}
