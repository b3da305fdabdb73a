package logs

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func sampleLines(t testing.TB, name string) [][]byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

// The steady state allocates nothing, whatever the lines.
func TestParsersDoNotAllocate(t *testing.T) {
	for _, c := range []struct{ format, file string }{{"sshd", "sshd.log"}, {"pam", "sshd.log"}, {"dovecot", "dovecot.log"}} {
		t.Run(c.format, func(t *testing.T) {
			zone, err := time.LoadLocation("Europe/Zurich")
			require.NoError(t, err)
			p, err := New(c.format, Options{Mode: "aggressive", Zone: zone})
			require.NoError(t, err)
			lines := sampleLines(t, c.file)
			events := make([]Event, 0, 16)
			found := 0
			require.Zero(t, testing.AllocsPerRun(100, func() {
				for _, l := range lines {
					events = p.Parse(l, events[:0])
					found += len(events)
				}
			}))
			require.Positive(t, found)
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ format, file string }{{"sshd", "sshd.log"}, {"pam", "sshd.log"}, {"dovecot", "dovecot.log"}} {
		b.Run(c.format, func(b *testing.B) {
			p, err := New(c.format, Options{})
			require.NoError(b, err)
			lines := sampleLines(b, c.file)
			events := make([]Event, 0, 16)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				for _, l := range lines {
					events = p.Parse(l, events[:0])
				}
				n += len(lines)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/line")
		})
	}
}

// Most lines of an attack are failed passwords of ever new connections.
func BenchmarkBruteForce(b *testing.B) {
	p, err := New("sshd", Options{})
	require.NoError(b, err)
	var lines [][]byte
	for i := range 4096 {
		lines = append(lines, fmt.Appendf(nil, "Jun 14 %02d:%02d:%02d combo sshd[%d]: Failed password for invalid user user%d from 198.51.%d.%d port %d ssh2",
			i/3600, i/60%60, i%60, 1000+i*3, i%97, i%100, i%251, 1024+i))
	}
	events := make([]Event, 0, 16)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for _, l := range lines {
			events = p.Parse(l, events[:0])
		}
		n += len(lines)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
}
