package logs

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRecord(t *testing.T) {
	for _, c := range []struct {
		line, host, prog, msg string
		pid                   uint32
	}{
		{"Jun 21 16:47:48 srv sshd[13709]: a: b", "srv", "sshd", "a: b", 13709},
		{"Jun 21 16:47:48 sshd[13709]: a", "", "sshd", "a", 13709},
		{"Jun 21 16:47:48 [sshd] a", "", "sshd", "a", 0},
		{"Jun 21 16:47:48 [sshd]: a", "", "sshd", "a", 0},
		{"Jun 21 16:47:48 2001:db8:: sshd: a ", "2001:db8::", "sshd", "a", 0},
		{"Jun 21 16:47:48 <auth.info> srv sshd[7]: a", "srv", "sshd", "a", 7},
		{"Jun 21 16:47:48 srv auth.info sshd[7]: a", "srv", "sshd", "a", 7},
		{"Jun 21 16:47:48 srv sshd[7]: [ID 800047 auth.info] a", "srv", "sshd", "a", 7},
		{"Jun 21 16:47:48 srv sshd[7] <Error>: a", "srv", "sshd", "a", 7},
		{"Jun 21 16:47:48 srv auth-worker(5): a", "srv", "auth-worker(5)", "a", 0},
		{"<38>Jun 21 16:47:48 srv sshd[7]: a\r", "srv", "sshd", "a", 7},
		{"<38>sshd[7]: a", "", "sshd", "a", 7},
		{"2026-05-04T03:12:44.118232+02:00 srv sshd-session[7]: a", "srv", "sshd-session", "a", 7},
		{"srv sshd[7]: a", "srv", "sshd", "a", 7},
		{"[ 1234.567890] srv sshd[7]: a", "srv", "sshd", "a", 7},
		{`<38>1 2019-07-08T17:40:16.954167-04:00 srv sshd 7 - - a`, "srv", "sshd", "a", 7},
		{`<38>1 - srv sshd - ID47 [x@1 a="]\"]"][y b="c"] ` + "\ufeffa", "srv", "sshd", "a", 0},
		{"Jun 21 16:47:48 srv sshd[7]:", "srv", "sshd", "", 7},
	} {
		k := newClock(Options{})
		r, ok := k.record([]byte(c.line))
		require.True(t, ok, c.line)
		require.Equal(t, c.host, string(r.host), c.line)
		require.Equal(t, c.prog, string(r.prog), c.line)
		require.Equal(t, c.msg, string(r.msg), c.line)
		require.Equal(t, c.pid, r.pid, c.line)
	}
	k := newClock(Options{})
	for _, line := range []string{
		"", "<", "<38>", "<38>1 ", "<38>1 - - - - - [a", "Jun 21 16:47:48", "Jun 21 16:47:48 host last message repeated 2 times",
		"User root from sshd[7]: x", ":", "[", "[]", "x y z: a",
	} {
		_, ok := k.record([]byte(line))
		require.False(t, ok, line)
	}
}

func TestPeer(t *testing.T) {
	for _, c := range []struct{ text, host, addr string }{
		{"192.0.2.1", "192.0.2.1", "192.0.2.1"},
		{"::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"},
		{"[::FFFF:192.0.2.1]", "192.0.2.1", "192.0.2.1"},
		{"::ffff:c000:201", "::ffff:c000:201", "192.0.2.1"},
		{"2001:db8::1", "2001:db8::1", "2001:db8::1"},
		{"[2001:DB8::1]", "2001:DB8::1", "2001:db8::1"},
		{"fe80::1%eth0", "fe80::1%eth0", "fe80::1"},
		{"host.example.org", "host.example.org", ""},
		{"192.030.0.6", "192.030.0.6", ""},
	} {
		host, addr, ok := peer([]byte(c.text))
		require.True(t, ok, c.text)
		require.Equal(t, c.host, string(host))
		if c.addr == "" {
			require.False(t, addr.IsValid(), c.text)
		} else {
			require.Equal(t, c.addr, addr.String())
		}
	}
	for _, text := range []string{"", "UNKNOWN", "-", "?", "a b", "a:b", "x'", "[", "[]", ":::", "1:2:3:4:5:6:7:8:9", ".x"} {
		_, _, ok := peer([]byte(text))
		require.False(t, ok, text)
	}
}

// parseAddr reads what package netip reads, but for the zone, which it drops.
func FuzzParseAddr(f *testing.F) {
	for _, s := range []string{
		"192.0.2.1", "0.0.0.0", "255.255.255.256", "1.2.3", "1.2.3.4.5", "01.2.3.4", "::", "::1", "1::", "1::2", "1:2:3:4:5:6:7:8",
		"1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1::3:4:5:6:7:8", "1:2:3:4:5:6:1.2.3.4", "::1.2.3.4", "1.2.3.4::", "1::2::3", "12345::", ":1", "1:", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3.4:1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := netip.ParseAddr(s)
		got, ok := parseAddr([]byte(s))
		require.Equal(t, err == nil, ok, s)
		if ok {
			require.Equal(t, want.WithZone("").Unmap(), got, s)
		}
	})
}
