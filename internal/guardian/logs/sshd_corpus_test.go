package logs

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLabelledLogs(t *testing.T) {
	for file, format := range map[string]string{"sshd": "sshd", "dovecot": "dovecot"} {
		t.Run(file, func(t *testing.T) {
			lines := readCorpus(t, corpusFile(t, "fail2ban/"+file), file)
			must, mustNot := 0, 0
			for _, l := range checkCorpus(t, format, lines) {
				if l.Label.Match {
					must++
				} else {
					mustNot++
				}
			}
			t.Logf("%d readings: %d lines that match, %d that do not", len(lines), must, mustNot)
			require.Positive(t, must)
			require.Positive(t, mustNot)
		})
	}
}

// The same messages are to be recognised in whatever form they come.
func TestLabelledMessagesInOtherForms(t *testing.T) {
	lines := readCorpus(t, corpusFile(t, "fail2ban/sshd"), "sshd")
	head := regexp.MustCompile(`^(?:[A-Z][a-z][a-z] +\d+ [\d:]+|2015\S+) (?:([\w.-]+) )?\[?(sshd[\w-]*)\]?(?:\[(\d+)\])?:? (?:\[ID[^]]*\] )?(.*)$`)
	for name, form := range map[string]string{
		"journal":  "$1 $2[$3]: $4",
		"no host":  "May  4 03:12:01 $2[$3]: $4",
		"ISO":      "2026-05-04T03:12:01.5+02:00 srv $2[$3]: $4",
		"RFC 3164": "<38>May 14 03:12:01 srv $2[$3]: $4",
		"RFC 5424": `<38>1 2026-05-04T03:12:01Z srv $2 $3 ID7 [a@1 b="]\"[x"] $4`,
		"facility": "May  4 03:12:01 srv auth.info $2[$3]: $4",
		"path":     "May  4 03:12:01 srv /usr/sbin/$2[$3]: $4",
		"Solaris":  "May  4 03:12:01 srv $2[$3]: [ID 800047 auth.info] $4",
		"macOS":    "May  4 03:12:01 srv $2[$3] <Notice>: $4",
		"kernel":   "[ 1234.567890] srv $2[$3]: $4",
	} {
		t.Run(name, func(t *testing.T) {
			var same []corpusLine
			for _, l := range lines {
				m := head.FindStringSubmatch(l.Text)
				if m == nil || m[3] == "" {
					continue
				}
				l.Text, l.Label.Time = head.ReplaceAllString(l.Text, form), ""
				same = append(same, l)
			}
			require.Greater(t, len(same), 200)
			require.Len(t, checkCorpus(t, "sshd", same), len(same))
		})
	}
}

// checkCorpus reads each block in each of its modes, with a parser of its own, and returns the lines of
// which all that the label says is right.
func checkCorpus(t *testing.T, format string, lines []corpusLine) (good []corpusLine) {
	t.Helper()
	zone := corpusZone(t)
	var p Parser
	var at corpusLine
	for _, l := range lines {
		if p == nil || l.Block != at.Block || l.Options["mode"] != at.Options["mode"] {
			var err error
			p, err = New(format, Options{Now: corpusNow(zone), Zone: zone, Mode: l.mode()})
			require.NoError(t, err)
		}
		at = l
		if checkLabel(t, l, zone, attacks(p.Parse([]byte(l.Text), nil))) {
			good = append(good, l)
		}
	}
	return good
}

func checkLabel(t *testing.T, l corpusLine, zone *time.Location, found []Event) bool {
	t.Helper()
	where := func(what string) string {
		return what + " of line " + l.Text + " in mode " + l.Options["mode"] + " (" + l.Label.Desc + ")"
	}
	if !assert.Equal(t, l.Label.Match, len(found) > 0, where("match")) || !l.Label.Match {
		return l.Label.Match == (len(found) > 0)
	}
	ok := true
	count := 0
	var users []string
	for _, e := range found {
		count += e.Count
		users = append(users, string(e.User))
		if l.Label.Host != "" {
			ok = assert.Equal(t, l.Label.Host, string(e.Host), where("host")) && ok
		}
		if l.Label.Time != "" && l.Options["logtype"] != "journal" {
			ok = assert.Equal(t, l.Label.Time, time.Unix(0, e.At).In(zone).Format("2006-01-02T15:04:05"), where("time")) && ok
		}
	}
	if l.Label.Attempts > 0 {
		ok = assert.Equal(t, l.Label.Attempts, count, where("attempts")) && ok
	}
	if l.Label.User != nil {
		ok = assert.Contains(t, users, *l.Label.User, where("user")) && ok
	}
	for _, u := range users {
		if l.Label.Users != nil && !slices.Contains(l.Label.Users, u) {
			ok = assert.Fail(t, where("users"), strings.Join(users, ",")) && ok
		}
	}
	return ok
}
