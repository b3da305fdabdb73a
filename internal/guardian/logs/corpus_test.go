package logs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// corpusLine is one line of a labelled log, as it is to be read with one set of the options that its
// block of the file names.
type corpusLine struct {
	Number  int
	Text    string
	Options map[string]string
	// Block counts the blocks of the file that have options of their own.
	Block int
	Label corpusLabel
}

type corpusLabel struct {
	Match      bool     `json:"match"`
	Host       string   `json:"host"`
	Time       string   `json:"time"`
	Attempts   int      `json:"attempts"`
	User       *string  `json:"user"`
	Users      []string `json:"users"`
	Constraint string   `json:"constraint"`
	Desc       string   `json:"desc"`
}

// mode is what Options.Mode stands for the corpus's modes.
func (l corpusLine) mode() string {
	switch l.Options["mode"] {
	case "aggressive", "ddos", "extra":
		return modeAggressive
	}
	return "normal"
}

// corpusFile finds a file of the labelled logs beside the project; the test is skipped where they are not.
func corpusFile(t *testing.T, name string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		b, err := os.ReadFile(filepath.Join(dir, "shared", "data", "logs", name))
		if err == nil {
			return b
		}
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	t.Skipf("no shared/data/logs/%s beside the project", name)
	return nil
}

var (
	corpusComment    = regexp.MustCompile(`^#+ ?(failJSON|fileOptions|filterOptions): *(.+)$`)
	corpusConstraint = regexp.MustCompile(`^(?:name|opts\.get\('(\w+)'\)) (==|!=) '(\w+)'$`)
)

// readCorpus returns the lines with a label, once for each set of options of their block, in the order
// in which a parser for the block reads them. Lines whose constraint does not hold are left out.
func readCorpus(t *testing.T, data []byte, name string) []corpusLine {
	t.Helper()
	blocks := [][]corpusLine{nil}
	sets := []map[string]string{{}}
	var all []corpusLine
	flush := func() {
		for _, options := range sets {
			for _, l := range blocks[len(blocks)-1] {
				l.Options, l.Block = options, len(blocks)
				if constraintHolds(t, l.Label.Constraint, name, options) {
					all = append(all, l)
				}
			}
		}
		blocks = append(blocks, nil)
	}
	var label *corpusLabel
	in := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; in.Scan(); n++ {
		text := in.Text()
		m := corpusComment.FindStringSubmatch(text)
		switch {
		case m != nil && m[1] == "failJSON":
			label = new(corpusLabel)
			require.NoError(t, json.Unmarshal([]byte(m[2]), label), "line %d", n)
		case m != nil:
			flush()
			sets = optionSets(t, m[2])
		case strings.HasPrefix(text, "#") || strings.TrimSpace(text) == "":
		default:
			if label == nil {
				label = new(corpusLabel)
			}
			i := len(blocks) - 1
			blocks[i] = append(blocks[i], corpusLine{Number: n, Text: text, Label: *label})
			label = nil
		}
	}
	require.NoError(t, in.Err())
	flush()
	return all
}

func optionSets(t *testing.T, text string) []map[string]string {
	t.Helper()
	if !strings.HasPrefix(text, "[") {
		text = "[" + text + "]"
	}
	var sets []map[string]string
	require.NoError(t, json.Unmarshal([]byte(text), &sets))
	return sets
}

func constraintHolds(t *testing.T, text, name string, options map[string]string) bool {
	t.Helper()
	if text == "" {
		return true
	}
	m := corpusConstraint.FindStringSubmatch(text)
	require.NotNil(t, m, "constraint %q", text)
	value := name
	if m[1] != "" {
		value = options[m[1]]
	}
	return (value == m[3]) == (m[2] == "==")
}

// corpusZone is where the times of the labels are told.
func corpusZone(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Zurich")
	require.NoError(t, err)
	return zone
}

// corpusNow is when the labels take the lines to have been written, for times without a year.
func corpusNow(zone *time.Location) time.Time { return time.Date(2005, 8, 14, 12, 0, 0, 0, zone) }

// attacks are the events that count as a match.
func attacks(events []Event) []Event {
	var out []Event
	for _, e := range events {
		if e.Kind == Failure || e.Kind == Probe {
			out = append(out, e)
		}
	}
	return out
}
