package detect

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/guardian/logs"
)

var update = flag.Bool("update", false, "write the decisions of testdata anew")

// TestCases reads testdata/<case>/events and expects the decisions beside it, byte for byte, with
// whatever seed.
//
// A line of events is TIME [COUNT x EVERY] ADDRESS KIND [KEY=VALUE…]; TIME is after the start of a day,
// and {i} counts the repetitions. The events are taken as they stand, but those repeated side by side
// (lines that begin with "|") are put in order with the ones before them.
func TestCases(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join("testdata", "*", "events"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(dirs), 16)
	for _, file := range dirs {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			events := readEvents(t, file)
			got := decided(t, events, 1)
			require.Equal(t, string(got), string(decided(t, events, 0xfeed)), "the seed decides nothing")
			golden := filepath.Join(filepath.Dir(file), "decisions.ndjson")
			if *update {
				require.NoError(t, os.WriteFile(golden, got, 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
		})
	}
}

func decided(t *testing.T, events []logs.Event, seed uint64) []byte {
	t.Helper()
	d, err := New(Options{Rules: rules(), Host: "web1", Seed: seed, Signatures: known{}})
	require.NoError(t, err)
	var out bytes.Buffer
	for i := range events {
		for _, decision := range d.Observe(&events[i], nil) {
			require.NoError(t, json.NewEncoder(&out).Encode(decision.Threat))
		}
	}
	return out.Bytes()
}

func readEvents(t *testing.T, file string) []logs.Event {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	var all []logs.Event
	lines := bufio.NewScanner(f)
	begun := 0
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		line, beside := strings.CutPrefix(line, "|")
		if !beside {
			begun = len(all)
		}
		all = appendEvents(t, all, strings.Fields(line))
		if beside {
			slices.SortStableFunc(all[begun:], func(a, b logs.Event) int { return int(a.At - b.At) })
		}
	}
	require.NoError(t, lines.Err())
	return all
}

func appendEvents(t *testing.T, all []logs.Event, fields []string) []logs.Event {
	t.Helper()
	from := duration(t, fields[0])
	n, every := 1, time.Duration(0)
	if fields[2] == "x" {
		var err error
		n, err = strconv.Atoi(fields[1])
		require.NoError(t, err)
		every = duration(t, fields[3])
		fields = fields[3:]
	}
	for i := range n {
		counted := strings.NewReplacer("{i}", strconv.Itoa(i), "{hex}", strconv.FormatInt(int64(i), 16), "{i%10}", strconv.Itoa(i%10))
		e := logs.Event{At: at(from + time.Duration(i)*every), Count: 1, Addr: netip.MustParseAddr(counted.Replace(fields[1]))}
		for k := logs.Request; k <= logs.Denied; k++ {
			if k.String() == fields[2] {
				e.Kind = k
			}
		}
		require.NotZero(t, e.Kind, fields[2])
		for _, f := range fields[3:] {
			key, value, _ := strings.Cut(f, "=")
			setField(t, &e, key, counted.Replace(value))
		}
		all = append(all, e)
	}
	return all
}

func setField(t *testing.T, e *logs.Event, key, value string) {
	t.Helper()
	var err error
	switch key {
	case "user":
		e.User = []byte(value)
	case "path":
		e.Path = []byte(value)
	case "agent":
		e.Agent = []byte(value)
	case "status":
		e.Status, err = strconv.Atoi(value)
	case "count":
		e.Count, err = strconv.Atoi(value)
	default:
		require.Fail(t, "no such field", key)
	}
	require.NoError(t, err)
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	require.NoError(t, err)
	return d
}
