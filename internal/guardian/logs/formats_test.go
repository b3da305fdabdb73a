package logs

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEvents reads each file of testdata/events: lines of a log, and indented below each its events.
func TestEvents(t *testing.T) {
	for _, format := range []string{"sshd", "pam", "dovecot"} {
		t.Run(format, func(t *testing.T) {
			f, err := os.Open("testdata/events/" + format + ".txt")
			require.NoError(t, err)
			defer f.Close()
			p, err := New(format, Options{Mode: "aggressive", Now: time.Date(2026, 5, 5, 0, 0, 0, 0, time.UTC)})
			require.NoError(t, err)
			n, at := 0, ""
			var want, got []string
			check := func() {
				require.Equal(t, want, got, at)
				want, got = nil, nil
			}
			for in := bufio.NewScanner(f); in.Scan(); {
				line := in.Text()
				if event, ok := strings.CutPrefix(line, "\t"); ok {
					want = append(want, event)
					continue
				}
				check()
				if line == "" || line[0] == '#' {
					continue
				}
				at = line
				n++
				for _, e := range p.Parse([]byte(line), nil) {
					got = append(got, fmt.Sprintf("%s %s %q %d %s", e.Kind, e.Host, e.User, e.Count, e.Rule))
					require.Equal(t, "2026-05-04 03", time.Unix(0, e.At).In(zoneOf(line)).Format("2006-01-02 15"), line)
				}
			}
			check()
			require.Greater(t, n, 10)
		})
	}
}

func zoneOf(line string) *time.Location {
	if strings.Contains(line, "+02:00") {
		return time.FixedZone("", 2*3600)
	}
	return time.UTC
}

// In the mode normal there are no probes, and the rest is the same.
func TestNormalMode(t *testing.T) {
	for _, format := range []string{"sshd", "pam", "dovecot"} {
		data, err := os.ReadFile("testdata/events/" + format + ".txt")
		require.NoError(t, err)
		both := bothModes(t, format)
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSuffix(line, "\n")
			var want []Event
			for _, e := range both[1].Parse([]byte(line), nil) {
				if e.Kind != Probe {
					want = append(want, e)
				}
			}
			require.Equal(t, want, both[0].Parse([]byte(line), nil), line)
		}
	}
}

func TestNew(t *testing.T) {
	for _, name := range Formats() {
		p, err := New(name, Options{Pattern: `^(?P<host>\S+)`, Kind: Failure})
		require.NoError(t, err, name)
		require.NotNil(t, p, name)
		require.Empty(t, p.Parse(nil, nil), name)
	}
	_, err := New("sshguard", Options{})
	require.ErrorContains(t, err, `"sshguard" is no format`)
	_, err = New("sshd", Options{Mode: "paranoid"})
	require.ErrorContains(t, err, `"paranoid" is no mode`)
}

// No line makes a parser panic, or give an event that breaks the promises of Event.
func FuzzParse(f *testing.F) {
	for _, format := range []string{"sshd", "pam", "dovecot"} {
		data, err := os.ReadFile("testdata/events/" + format + ".txt")
		require.NoError(f, err)
		for line := range strings.Lines(string(data)) {
			f.Add(strings.TrimSpace(line))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range Formats() {
			p, err := New(name, Options{Mode: "aggressive", Pattern: `(?P<host>\S+) (?P<user>\S*)`, Kind: Failure})
			require.NoError(t, err)
			for range 2 {
				for line := range strings.SplitSeq(text, "\n") {
					for _, e := range p.Parse([]byte(line), nil) {
						require.NotEmpty(t, e.Kind.String())
						require.GreaterOrEqual(t, e.Count, 0)
						require.NotEmpty(t, e.Rule)
						require.True(t, len(e.Host) > 0 || !e.Addr.IsValid(), "%s", e.Rule)
						require.False(t, e.Addr.Is4In6())
					}
				}
			}
		}
	})
}
