package guardian

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// sharedLog reads a log of the folder shared/data/logs beside the project; the test is skipped where it
// is not: it is no part of the project.
func sharedLog(t *testing.T, name string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if log, err := os.ReadFile(filepath.Join(dir, "shared", "data", "logs", name)); err == nil {
			return log
		}
	}
	t.Skip("the shared data is not here")
	return nil
}

// labelled is a line of fail2ban's samples, with what its filter makes of it.
type labelled struct {
	Match bool   `json:"match"`
	Host  string `json:"host"`
	// Constraint narrows the modes in which the label holds.
	Constraint string `json:"constraint"`
	line       int
	modes      []string
}

var labelComment = regexp.MustCompile(`^#+ ?(failJSON|filterOptions|fileOptions): *(.+)$`)

// labels reads the comments above the lines: of each line what is expected, and in which modes.
func labels(t *testing.T, log []byte) (all []labelled) {
	t.Helper()
	var next *labelled
	modes := []string{"normal"}
	n := 0
	for line := range bytes.Lines(log) {
		n++
		m := labelComment.FindSubmatch(bytes.TrimSpace(line))
		switch {
		case m != nil && string(m[1]) == "failJSON":
			next = new(labelled)
			require.NoError(t, json.Unmarshal(m[2], next), "line %d", n)
		case m != nil:
			modes = modesOf(t, m[2])
		case next != nil && line[0] != '#' && len(bytes.TrimSpace(line)) > 0:
			next.line, next.modes = n, modes
			all, next = append(all, *next), nil
		}
	}
	return all
}

func modesOf(t *testing.T, options []byte) (modes []string) {
	t.Helper()
	if options[0] != '[' {
		options = slices.Concat([]byte("["), options, []byte("]"))
	}
	var sets []map[string]string
	require.NoError(t, json.Unmarshal(options, &sets))
	for _, set := range sets {
		modes = append(modes, cmp.Or(set["mode"], "normal"))
	}
	return modes
}

// TestReplayOfLabelledLogs feeds whole files, comments and all, as they would be read from a disk.
func TestReplayOfLabelledLogs(t *testing.T) {
	for _, c := range []struct {
		file string
		// formats of the lines: a file may hold those of two.
		formats []string
		mode    string
		must    int
	}{
		{"sshd", []string{"sshd"}, "normal", 68},
		{"sshd", []string{"sshd"}, "aggressive", 70},
		{"nginx-bad-request", []string{"nginx-access"}, "normal", 8},
		{"nginx-botsearch", []string{"nginx-access", "nginx-error"}, "normal", 14},
		{"nginx-http-auth", []string{"nginx-error"}, "normal", 9},
		{"nginx-http-auth", []string{"nginx-error"}, "aggressive", 8},
		{"nginx-limit-req", []string{"nginx-error"}, "normal", 9},
	} {
		t.Run(c.file+" "+c.mode, func(t *testing.T) {
			log := sharedLog(t, filepath.Join("fail2ban", c.file))
			hosts := map[int]string{}
			for _, format := range c.formats {
				o := replayOptions(format)
				o.Log.Mode = c.mode
				all, _, _ := replayOf(t, log, o)
				for _, r := range all {
					if r.Type == "failure" {
						hosts[r.Line] = r.Host
					}
				}
			}
			must := 0
			for _, l := range labels(t, log) {
				host, found := hosts[l.line]
				switch {
				case !l.holdsIn(c.mode):
				case l.Match:
					must++
					require.True(t, found, "line %d must match", l.line)
					if l.Host != "" { // else the sample says that it matches, and no more
						require.Equal(t, l.Host, host, "line %d", l.line)
					}
				default:
					require.False(t, found, "line %d must not match", l.line)
				}
			}
			require.GreaterOrEqual(t, must, c.must)
		})
	}
}

// holdsIn says whether the label is about a mode: fail2ban's "fallback" is part of ours that is aggressive.
func (l labelled) holdsIn(mode string) bool {
	switch l.Constraint {
	case "opts.get('mode') == 'aggressive'":
		return mode == "aggressive"
	case "opts.get('mode') != 'aggressive'":
		return mode != "aggressive"
	}
	return slices.Contains(l.modes, mode) || mode == "aggressive" && slices.Contains(l.modes, "fallback")
}

func TestReplayOfVisitorsIsolatesNobody(t *testing.T) {
	in, err := gzip.NewReader(bytes.NewReader(sharedLog(t, "apache_access.log.gz")))
	require.NoError(t, err)
	log, err := io.ReadAll(in)
	require.NoError(t, err)
	_, s, first := replayOf(t, log, replayOptions("apache-access"))
	_, _, again := replayOf(t, log, replayOptions("apache-access"))
	require.Equal(t, first, again)
	require.Equal(t, 10_000, s.Lines)
	require.Equal(t, 10_000, s.Events)
	require.Zero(t, s.Isolated)
	require.LessOrEqual(t, s.Warned, 1)
}
