package logs

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// counted are the events that a filter for such a log counts: what is refused by rule, too, and with
// notFound set what was not found.
func counted(events []Event, notFound bool) []Event {
	var out []Event
	for _, e := range events {
		if e.Kind != Request && e.Kind != Success || notFound && e.Status == 404 && len(e.Path) > 0 {
			out = append(out, e)
		}
	}
	return out
}

func TestWebLabelledLines(t *testing.T) {
	access, errors := newNginxAccess, newNginxError
	for _, file := range []struct {
		name     string
		make     []func(Options) (Parser, error)
		notFound bool
	}{
		{"nginx-http-auth", []func(Options) (Parser, error){errors}, false},
		{"nginx-botsearch", []func(Options) (Parser, error){access, errors}, true},
		{"nginx-bad-request", []func(Options) (Parser, error){access}, false},
		{"nginx-limit-req", []func(Options) (Parser, error){errors}, false},
		{"apache-auth", []func(Options) (Parser, error){newApacheError}, false},
	} {
		t.Run(file.name, func(t *testing.T) {
			lines := readCorpus(t, corpusFile(t, "fail2ban/"+file.name), file.name)
			zone := corpusZone(t)
			matched, silent := 0, 0
			for _, l := range lines {
				mode := l.mode()
				if l.Options["mode"] == "fallback" {
					mode = modeAggressive
				}
				var events []Event
				for _, make := range file.make {
					p, err := make(Options{Zone: zone, Now: corpusNow(zone), Mode: mode})
					require.NoError(t, err)
					events = append(events, parse(p, l.Text)...)
				}
				got := counted(events, file.notFound)
				if !l.Label.Match {
					silent++
					require.Empty(t, counted(events, false), "line %d: %s", l.Number, l.Text)
					continue
				}
				matched++
				require.Len(t, got, 1, "line %d: %s", l.Number, l.Text)
				require.Equal(t, l.Label.Host, string(got[0].Host), "line %d", l.Number)
				require.Equal(t, l.Label.Host, got[0].Addr.String(), "line %d", l.Number)
				if l.Label.Time != "" {
					at := time.Unix(0, got[0].At).In(zone).Format("2006-01-02T15:04:05")
					require.Equal(t, l.Label.Time, at, "line %d: %s", l.Number, l.Text)
				}
			}
			require.NotZero(t, matched)
			t.Logf("%d of %d lines that must match do, %d of %d that must not do not", matched, matched, silent, silent)
		})
	}
}

// TestWebLabelledFiles reads whole files, comments and all, as a follower of a log does.
func TestWebLabelledFiles(t *testing.T) {
	for _, file := range []struct {
		name, format string
		want         int
	}{
		{"nginx-botsearch", "nginx-error", 6}, {"nginx-botsearch", "nginx-access", 8},
		{"nginx-bad-request", "nginx-access", 8}, {"nginx-limit-req", "nginx-error", 9},
	} {
		p, n := parser(t, file.format, Options{}), 0
		for line := range bytes.Lines(corpusFile(t, "fail2ban/"+file.name)) {
			n += len(counted(p.Parse(bytes.TrimSpace(line), nil), true))
		}
		if s, ok := p.(Settler); ok {
			n += len(counted(s.Settle(nil), true))
		}
		require.Equal(t, file.want, n, "%s by %s", file.name, file.format)
	}
}

// apacheLog returns the lines of a log of 10,000 requests, nearly all of them benign.
func apacheLog(t testing.TB) [][]byte {
	t.Helper()
	tt, ok := t.(*testing.T)
	if !ok {
		t.Skip("for tests alone")
	}
	in, err := gzip.NewReader(bytes.NewReader(corpusFile(tt, "apache_access.log.gz")))
	require.NoError(t, err)
	var lines [][]byte
	for s := bufio.NewScanner(in); s.Scan(); {
		lines = append(lines, bytes.Clone(s.Bytes()))
	}
	return lines
}

func TestApacheLogIsReadWhole(t *testing.T) {
	p, err := newApacheAccess(Options{})
	require.NoError(t, err)
	lines := apacheLog(t)
	require.Len(t, lines, 10000)
	sources := map[string]bool{}
	for _, line := range lines {
		events := p.Parse(line, nil)
		require.Len(t, events, 1, "%s", line)
		e := events[0]
		require.Equal(t, Request, e.Kind)
		require.True(t, e.Addr.IsValid(), "%s", line)
		require.Equal(t, e.Addr.String(), string(e.Host))
		require.Equal(t, 2015, time.Unix(0, e.At).Year())
		require.True(t, e.Status >= 200 && e.Status < 600, "%s", line)
		require.Contains(t, []string{"GET", "HEAD", "POST", "OPTIONS"}, string(e.Method), "%s", line)
		require.NotEmpty(t, e.Path, "%s", line)
		require.Nil(t, e.User)
		require.NotNil(t, e.Agent, "%s", line)
		sources[string(e.Host)] = true
	}
	require.Len(t, sources, 1753)
}
