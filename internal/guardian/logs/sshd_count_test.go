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
