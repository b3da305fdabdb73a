package logs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// told writes an event in the order kind, host, status, method, path, user, agent; "!" marks a host that
// is no address.
func told(e Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.Kind, e.Host)
	if !e.Addr.IsValid() {
		b.WriteByte('!')
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, " %d", e.Status)
	}
	for _, f := range []struct {
		name  string
		value []byte
	}{{"", e.Method}, {"", e.Path}, {"user=", e.User}, {"agent=", e.Agent}} {
		if f.value != nil {
			fmt.Fprintf(&b, " %s%s", f.name, f.value)
		}
	}
	return b.String()
}

// lineCase is a line and what its events are told as, or nothing.
type lineCase struct {
	line string
	want []string
}

func requireLines(t *testing.T, p Parser, cases []lineCase) {
	t.Helper()
	for _, c := range cases {
		var got []string
		for _, e := range parse(p, c.line) {
			got = append(got, told(e))
			require.Equal(t, 1, e.Count)
			require.NotEmpty(t, e.Rule)
		}
		require.Equal(t, c.want, got, "%s", c.line)
	}
}

// parser makes one of a format, for a test.
func parser(t testing.TB, format string, o Options) Parser {
	t.Helper()
	p, err := New(format, o)
	require.NoError(t, err)
	return p
}

// at is the time of the first event of a line, in UTC.
func at(t *testing.T, p Parser, line string) string {
	t.Helper()
	events := parse(p, line)
	require.NotEmpty(t, events, "%s", line)
	return time.Unix(0, events[0].At).UTC().Format(time.RFC3339Nano)
}

// parse reads a line after which there is nothing more to read for the moment.
func parse(p Parser, line string) []Event {
	events := p.Parse([]byte(line), nil)
	if s, ok := p.(Settler); ok {
		events = s.Settle(events)
	}
	return events
}
