package logs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnAttemptCountsOnce: sshd writes two lines about a try with a name that does not exist.
func TestAnAttemptCountsOnce(t *testing.T) {
	p, err := New("sshd", Options{})
	require.NoError(t, err)
	total := 0
	var counts []int
	for _, line := range []string{
		"Jul 20 14:42:11 h sshd[7]: Invalid user ftp from 192.0.2.1 port 37220",
		"Jul 20 14:42:12 h sshd[7]: Failed password for invalid user ftp from 192.0.2.1 port 37220 ssh2",
		"Jul 20 14:42:13 h sshd[7]: Failed password for invalid user ftp from 192.0.2.1 port 37220 ssh2",
		"Jul 20 14:42:14 h sshd[8]: Invalid user web from 192.0.2.1 port 37221",
		"Jul 20 14:42:15 h sshd[8]: message repeated 3 times: [ Failed password for invalid user web from 192.0.2.1 port 37221 ssh2]",
		"Jul 20 14:42:16 h sshd[9]: Failed password for invalid user x from 192.0.2.1 port 37222 ssh2",
	} {
		events := p.Parse([]byte(line), nil)
		require.Len(t, events, 1, "each line is recognised")
		counts = append(counts, events[0].Count)
		total += events[0].Count
	}
	require.Equal(t, []int{1, 0, 1, 1, 2, 1}, counts)
	require.Equal(t, 6, total)
}

// TestNextClientWithTheSamePID: who has logged in is not taken for whoever gets the pid of his sshd next.
func TestNextClientWithTheSamePID(t *testing.T) {
	const in, bad = "Jul 20 14:42:11 h sshd[7]: Accepted publickey for kim from 192.0.2.9 port 1 ssh2: ED25519 SHA256:x",
		"Jul 20 14:52:11 h sshd[7]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.7  user=root"
	for _, lines := range [][]string{
		{in, "Jul 20 14:52:11 h sshd[7]: User backup not allowed because account is locked", "Jul 20 14:52:12 h sshd[7]: Connection closed by invalid user backup 203.0.113.7 port 2 [preauth]"},
		{in, bad, "Jul 20 14:52:12 h sshd[7]: Connection closed by authenticating user root 203.0.113.7 port 2 [preauth]"},
		{
			"Jul 20 14:42:11 h sshd[7]: Connection from 192.0.2.9 port 1 on 10.0.0.1 port 22", // and the end is not logged
			bad, "Jul 20 14:52:12 h sshd[7]: Received disconnect from 203.0.113.7 port 2:11: Bye [preauth]",
		},
	} {
		p := parser(t, "sshd", Options{})
		var failures []string
		for _, line := range lines {
			for _, e := range p.Parse([]byte(line), nil) {
				if e.Kind != Success {
					failures = append(failures, e.Addr.String())
				}
			}
		}
		require.Equal(t, []string{"203.0.113.7"}, failures, lines)
	}
}
