package ingest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
	"github.com/shivx/shivx/internal/testenv"
)

// newReceiver listens for lines of these formats.
func newReceiver(t *testing.T, from string, formats ...string) (*reader, string) {
	r := newReader(t, config.Log{File: filepath.Join(t.TempDir(), "none.log")})
	addr := testenv.Addr(t)
	r.o.Syslog = config.SyslogInput{Listen: addr, From: []string{from}, Formats: formats}
	handle := r.o.Handle
	r.o.Handle = func(ctx context.Context, b Batch) error {
		for i := range b.Events { // to see which log a line was given to
			b.Events[i].User = append([]byte(strings.TrimPrefix(b.Log, "syslog:")+"|"), b.Events[i].User...)
		}
		return handle(ctx, b)
	}
	r.start()
	r.until("it listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return r, addr
}

func send(t *testing.T, network, addr, text string) {
	t.Helper()
	c, err := net.Dial(network, addr)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte(text))
	require.NoError(t, err)
}

func TestSyslogOverUDP(t *testing.T) {
	r, addr := newReceiver(t, "127.0.0.1", "sshd", "nginx-access", "nginx-error", "pam", "dovecot", "haproxy")
	var want []string
	for _, c := range []struct{ sent, line string }{
		{"<38>Jan 31 03:00:00 web1 sshd[12]: Failed\n", "sshd|Jan 31 03:00:00 web1/127.0.0.1 sshd[12]: Failed"},
		{"<38>Jan  1 03:00:00 sshd-session[12]: no host", "sshd|Jan  1 03:00:00 /127.0.0.1 sshd-session[12]: no host"},
		{"<38>2026-01-31T03:00:00.5+01:00 web1 sshd[12]: iso", "sshd|2026-01-31T03:00:00.5+01:00 web1/127.0.0.1 sshd[12]: iso"},
		{"<38>sshd[12]: no time", "sshd|/127.0.0.1 sshd[12]: no time"},
		{`<38>1 2026-01-31T03:00:00Z web1 sshd 12 - [a@1 b="]\"["][c] ` + "\ufefftext\nsshd[9]: more", `sshd|2026-01-31T03:00:00Z web1/127.0.0.1 sshd[12]: text sshd[9]: more`},
		{"<38>1 - - sshd - - -", "sshd|/127.0.0.1 sshd: "},
		{`<190>Jan 31 03:00:00 web1 nginx: 192.0.2.1 - - [31/Jan/2026:03:00:00 +0000] "GET / HTTP/1.1" 200 5`, `nginx-access|192.0.2.1 - - [31/Jan/2026:03:00:00 +0000] "GET / HTTP/1.1" 200 5`},
		{`<187>Jan 31 03:00:00 web1 nginx: 2026/01/31 03:00:00 [error] 7#7: x`, `nginx-error|2026/01/31 03:00:00 [error] 7#7: x`},
		{"<86>Jan 31 03:00:00 web1 su[3]: pam_unix(su:auth): authentication failure", "pam|Jan 31 03:00:00 web1/127.0.0.1 su[3]: pam_unix(su:auth): authentication failure"},
		{"<86>Jan 31 03:00:00 web1 su[3]: message repeated 2 times: [ pam_unix(su:auth): x]", "pam|Jan 31 03:00:00 web1/127.0.0.1 su[3]: message repeated 2 times: [ pam_unix(su:auth): x]"},
		{"<22>Jan 31 03:00:00 web1 dovecot: imap-login: x", "dovecot|Jan 31 03:00:00 web1/127.0.0.1 dovecot: imap-login: x"},
		{"<134>Jan 31 03:00:00 web1 haproxy[5]: x", "haproxy|Jan 31 03:00:00 web1/127.0.0.1 haproxy[5]: x"},
	} {
		send(t, "udp", addr, c.sent)
		want = append(want, c.line)
		r.sees(want...)
	}
	for _, bad := range []string{
		"", "<38>", "Jan 31 03:00:00 web1 sshd[12]: no priority", "<x>a", "<38>Jan 31 03:00:00 web1 cron[1]: not wanted",
		"<38>1 a b", "<38>1 - - - - - - x", "<38>1 - - sshd - - [a", "<38>Jan 31 03:00:00 2001:db8:: nothing",
	} {
		send(t, "udp", addr, bad)
	}
	r.until("they are counted", func() bool { return r.inputs.Status()[1].Dropped == 9 })
	r.sees(want...)
}

func TestSyslogOverTCP(t *testing.T) {
	r, addr := newReceiver(t, "127.0.0.0/8", "sshd")
	line := func(text string) string { return "<38>Jan 31 03:00:00 h sshd[1]: " + text }
	counted := func(s string) string { return fmt.Sprintf("%d %s", len(s), s) }
	got := func(text string) string { return "sshd|Jan 31 03:00:00 h/127.0.0.1 sshd[1]: " + text }
	long := strings.Repeat("x", maxMessage+1)
	send(t, "tcp", addr, counted(line("a"))+counted(line("b\nb\n"))+counted(line(long))+counted(line("c"))+"99 cut off")
	r.sees(got("a"), got("b b"), got("c"))
	send(t, "tcp", addr, "\n"+line("d")+"\r\n"+line(long)+long+"\n"+line("e")+"\n"+counted(line("f"))+line("cut off"))
	r.sees(got("a"), got("b b"), got("c"), got("d"), got("e"), got("f"))
	send(t, "tcp", addr, "1234567890 "+line("x"))
	send(t, "tcp", addr, "12x "+line("x"))
	r.until("both are counted", func() bool { s := r.inputs.Status()[1]; return s.Dropped == 2 && s.Cut == 2 })
}

func TestSyslogFromStrangers(t *testing.T) {
	r, addr := newReceiver(t, "127.0.0.2", "sshd")
	const line = "<38>Jan 31 03:00:00 h sshd[1]: x\n"
	before := r.inputs.Status()[1].Dropped // connections made to see whether it listens
	send(t, "udp", addr, line)
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err, "it hangs up")
	r.until("both are counted", func() bool { return r.inputs.Status()[1].Dropped >= before+2 })
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	friend, err := d.Dial("udp", addr)
	require.NoError(t, err)
	defer friend.Close()
	_, err = friend.Write([]byte(line))
	require.NoError(t, err)
	r.sees("sshd|Jan 31 03:00:00 h/127.0.0.2 sshd[1]: x")
}

// One address cannot take all the connections.
func TestSyslogConnectionsAreBounded(t *testing.T) {
	r, addr := newReceiver(t, "127.0.0.1", "sshd")
	r.until("the first connections are over", func() bool { return r.inputs.Status()[1].Error == "" })
	var open []net.Conn
	for range maxConnsOfOne + 8 {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		open = append(open, c)
	}
	r.until("the others are refused", func() bool { return r.inputs.Status()[1].Dropped >= 8 })
	for _, c := range open {
		c.Close()
	}
	r.until("there is room again", func() bool {
		send(t, "tcp", addr, "<38>Jan 31 03:00:00 h sshd[1]: x\n")
		return len(r.lines) > 0
	})
}

func TestSyslogAddressIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := newReader(t, config.Log{File: logFile(t)})
	r.o.Syslog = config.SyslogInput{Listen: l.Addr().String(), From: []string{"127.0.0.1"}, Formats: []string{"sshd"}}
	r.start().until("it says so", func() bool { return strings.Contains(r.inputs.Status()[1].Error, "is another program listening") })
	l.Close()
	r.until("it listens then", func() bool { return r.inputs.Status()[1].Error == "" })
}

func TestSyslogOfUnknownSender(t *testing.T) {
	_, err := New(Options{Syslog: config.SyslogInput{Listen: "127.0.0.1:0", From: []string{"everybody"}}})
	require.ErrorContains(t, err, `"everybody" is no address`)
}

// A real rsyslogd forwards real lines of sshd, and the real parser finds who it was.
func TestRsyslogForwards(t *testing.T) {
	rsyslogd := testenv.Need(t, "rsyslogd")[0]
	for name, action := range map[string]string{
		"udp":         `*.* action(type="omfwd" target="127.0.0.1" port="%s" protocol="udp")`,
		"tcp":         `*.* action(type="omfwd" target="127.0.0.1" port="%s" protocol="tcp")`,
		"tcp counted": `*.* action(type="omfwd" target="127.0.0.1" port="%s" protocol="tcp" TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format")`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newReader(t, config.Log{File: logFile(t)})
			r.o.NewParser = nil
			addr := testenv.Addr(t)
			r.o.Syslog = config.SyslogInput{Listen: addr, From: []string{"127.0.0.1"}, Formats: []string{"sshd"}}
			r.start()
			dir := t.TempDir()
			in := filepath.Join(dir, "in.log")
			write(t, in)
			conf := filepath.Join(dir, "rsyslog.conf")
			write(t, conf, "global(workDirectory=\""+dir+"\")\nmodule(load=\"imfile\")\n",
				"input(type=\"imfile\" file=\""+in+"\" tag=\"sshd[12]:\" facility=\"auth\" freshStartTail=\"off\")\n",
				fmt.Sprintf(action, testenv.Port(t, addr))+"\n")
			ctx, cancel := context.WithCancel(t.Context())
			cmd := exec.CommandContext(ctx, rsyslogd, "-n", "-f", conf, "-i", filepath.Join(dir, "pid"))
			cmd.Stderr = os.Stderr
			require.NoError(t, cmd.Start())
			defer func() {
				cancel()
				_ = cmd.Wait()
			}()
			for i := range 3 {
				write(t, in, fmt.Sprintf("Failed password for root from 203.0.113.%d port 40022 ssh2\n", i))
			}
			r.until("the failures are seen", func() bool { return len(r.events) == 3 })
			for i, e := range r.events {
				require.Equal(t, logs.Failure, e.Kind)
				require.Equal(t, fmt.Sprintf("203.0.113.%d", i), e.Addr.String())
				require.WithinDuration(t, time.Now(), time.Unix(0, e.At), time.Minute)
			}
			require.Zero(t, r.inputs.Status()[1].Dropped)
		})
	}
}
