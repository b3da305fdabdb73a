package logs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLinesOfSSHDAlone: sshd -E writes neither time nor tag; connections are told apart by their ports.
func TestLinesOfSSHDAlone(t *testing.T) {
	p, err := New("sshd", Options{})
	require.NoError(t, err)
	for _, line := range []struct {
		text  string
		count int
	}{
		{"Server listening on 0.0.0.0 port 22.", -1},
		{"Failed password for root from 192.0.2.1 port 37220 ssh2\r", 1},
		{"Invalid user ftp from 192.0.2.1 port 37221", 1},
		{"Invalid user web from 192.0.2.2 port 37221", 1},
		{"Failed password for invalid user ftp from 192.0.2.1 port 37221 ssh2", 0},
		{"Failed password for invalid user web from 192.0.2.2 port 37221 ssh2", 0},
		{"Failed password for invalid user ftp from 192.0.2.1 port 37221 ssh2", 1},
		{"error: maximum authentication attempts exceeded for root from 192.0.2.1 port 37220 ssh2 [preauth]", 1},
		{"Connection closed by 192.0.2.1 port 37220 [preauth]", -1},
		{"User sshd[1] from 192.0.2.3 not allowed because not listed in AllowUsers", 1}, // it blinds nobody
		{"Failed password for root from 192.0.2.3 port 37220 ssh2", 1},
	} {
		events := p.Parse([]byte(line.text), nil)
		if line.count < 0 {
			require.Empty(t, events, line.text)
			continue
		}
		require.Len(t, events, 1, line.text)
		require.Equal(t, line.count, events[0].Count, line.text)
	}
}

// TestSyslogHasNoBareLines: what stands in a syslog file without a tag is a part of another program's
// message, whose text a stranger may have chosen.
func TestSyslogHasNoBareLines(t *testing.T) {
	const forged = "Failed password for root from 192.0.2.9 port 1 ssh2"
	for _, first := range []string{
		"Jul 20 14:42:11 h web[7]: wrong name:", "Jul 20 14:42:11 h sshd[7]: Server listening on 0.0.0.0 port 22.",
		"sshd: Server listening on 0.0.0.0 port 22.", "2026-07-20T14:42:11Z h web: wrong name:", "web[7]: wrong name:",
		"h sshd[7]: Server listening on 0.0.0.0 port 22.",
		"<38>1 2026-07-20T14:42:11Z h web 7 - - wrong name:",
	} {
		p, err := New("sshd", Options{})
		require.NoError(t, err)
		p.Parse([]byte(first), nil)
		require.Empty(t, p.Parse([]byte(forged), nil), first)
	}
}
