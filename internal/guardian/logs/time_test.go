package logs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimes(t *testing.T) {
	zurich, err := time.LoadLocation("Europe/Zurich")
	require.NoError(t, err)
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		text, want string
		rest       string
		zone       *time.Location
	}{
		{text: "Mar  9 16:47:48 host", want: "2026-03-09T16:47:48Z", rest: " host"},
		{text: "Mar 9 16:47:48 host", want: "2026-03-09T16:47:48Z", rest: " host"},
		{text: "Mar 09 16:47:48.25 host", want: "2026-03-09T16:47:48.25Z", rest: " host"},
		{text: "Mar 11 16:47:48", want: "2026-03-11T16:47:48Z"},
		{text: "Mar 12 16:47:48", want: "2025-03-12T16:47:48Z"},
		{text: "Dec 31 23:59:60", want: "2026-01-01T00:00:00Z"},
		{text: "Feb 29 10:00:00", want: "2024-02-29T10:00:00Z"},
		{text: "Feb  3 2019 10:00:00: x", want: "2019-02-03T10:00:00Z", rest: ": x"},
		{text: "Jan  5 10:00:00", want: "2026-01-05T09:00:00Z", zone: zurich},
		{text: "Jul  5 10:00:00", want: "2025-07-05T08:00:00Z", zone: zurich},
		{text: "2026-03-29T01:59:59", want: "2026-03-29T00:59:59Z", zone: zurich},
		{text: "2026-03-29T03:00:00", want: "2026-03-29T01:00:00Z", zone: zurich},
		{text: "2019-07-08T17:40:16.954167-04:00 h", want: "2019-07-08T21:40:16.954167Z", rest: " h", zone: zurich},
		{text: "2019-07-08T23:40:16+0530", want: "2019-07-08T18:10:16Z"},
		{text: "2019-07-08T23:40:16-11", want: "2019-07-09T10:40:16Z"},
		{text: "2019-07-08 23:40:16,5 +0200 x", want: "2019-07-08T21:40:16.5Z", rest: " x"},
		{text: "2019-07-08 23:40:16 auth:", want: "2019-07-08T23:40:16Z", rest: " auth:"},
		{text: "2000-02-29T00:00:00Z", want: "2000-02-29T00:00:00Z"},
		{text: "2100-12-31T23:59:59Z", want: "2100-12-31T23:59:59Z"},
		{text: "1970-01-01T00:00:01Z", want: "1970-01-01T00:00:01Z"},
		{text: "2015/01/21 10:56:10 [error]", want: "2015-01-21T10:56:10Z", rest: " [error]"},
		{text: "Sat Jun 01 02:17:42 2013] [error]", want: "2013-06-01T02:17:42Z", rest: "] [error]"},
		{text: "Sat Jul 20 21:34:49.453232 2013]", want: "2013-07-20T21:34:49.453232Z", rest: "]"},
		{text: "Mon 2026-05-04 03:12:44 CEST host", want: "2026-05-04T01:12:44Z", rest: " host", zone: zurich},
		{text: "Mon 2026-05-04 03:12:44.5 UTC host", want: "2026-05-04T03:12:44.5Z", rest: " host", zone: zurich},
		{text: "Mon 2026-05-04 03:12:44 host", want: "2026-05-04T01:12:44Z", rest: " host", zone: zurich},
		{text: "Mon 2026-05-04 03:12:44+02:00", want: "2026-05-04T01:12:44Z"},
		{text: "1777857164.118232 host", want: "2026-05-04T01:12:44.118232Z", rest: " host", zone: zurich},
		{text: "@400000004c91b044077a9e94 imap", want: "2010-09-16T05:51:00.125476500Z", rest: " imap"},
	} {
		k := newClock(Options{Now: now, Zone: c.zone})
		for range 2 { // the second time from what is remembered
			at, n := k.leading([]byte(c.text))
			require.Positive(t, n, c.text)
			want, err := time.Parse(time.RFC3339Nano, c.want)
			require.NoError(t, err)
			require.Equal(t, want.UnixNano(), at, "%s is %s", c.text, time.Unix(0, at).UTC())
			require.Equal(t, c.rest, c.text[n:])
		}
	}
	k := newClock(Options{Now: now})
	at, n := k.clf([]byte("20/Jan/2015:19:53:28 +0100] x"))
	require.Equal(t, 26, n)
	require.Equal(t, time.Date(2015, 1, 20, 18, 53, 28, 0, time.UTC).UnixNano(), at)
}

func TestNoTimes(t *testing.T) {
	k := newClock(Options{})
	for _, text := range []string{
		"", "Mar", "Mar  9 16:47", "Mar 32 16:47:48 host", "Mar  0 16:47:48", "Mar  9 24:47:48", "Mar  9 16:60:48", "mar  9 16:47:48", "Foo  9 16:47:48 2013 xxx",
		"2019-13-08T17:40:16Z", "2019-00-08T17:40:16Z", "2019-01-32T17:40:16Z", "2019-01/02T17:40:16Z", "1969-12-31T23:59:59Z", "2262-01-01T00:00:00Z", "2019-07-08x17:40:16",
		"@400000004c91b044077a9e9", "@500000004c91b044077a9e94", "@400000004c91b044g77a9e94", "@4fffffffffffffff077a9e94", "@400000004c91b044ffffffff",
		"Sat Jun 01 02:17:42.4x 2013", "host sshd[1]: Failed password",
	} {
		at, n := k.leading([]byte(text))
		require.Zero(t, at, text)
		require.Zero(t, n, text)
	}
}

// Every day of four centuries is where package time has it.
func TestUTCAgainstTime(t *testing.T) {
	end := time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
	for d := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC); d.Before(end); d = d.AddDate(0, 0, 1) {
		if at := utc(d.Year(), int(d.Month()), d.Day(), 3661); at != d.UnixNano()+3661e9 {
			require.Fail(t, "wrong day", "%s is %d", d, at)
		}
	}
}

// Without Options.Now the year follows the clock.
func TestYearOfNow(t *testing.T) {
	k := newClock(Options{})
	yesterday := time.Now().UTC().AddDate(0, 0, -1).Truncate(time.Second)
	at, n := k.leading([]byte(yesterday.Format(time.Stamp)))
	require.Positive(t, n)
	require.Equal(t, yesterday.UnixNano(), at)
}
