package guardian

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

var update = flag.Bool("update", false, "write testdata/replay/*/want.ndjson anew")

// replayOptions allow a monitor and trust a proxy.
func replayOptions(format string) ReplayOptions {
	o := ReplayOptions{Log: config.Log{Format: format}, Rules: config.Default().Guardian, Now: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)}
	o.Rules.Rules.MaxSources = 10_000
	o.Rules.Allow, o.Rules.TrustedProxies = []string{"192.0.2.200"}, []string{"10.20.0.0/16"}
	return o
}

// replayOf reads a log to its end.
func replayOf(t *testing.T, log []byte, o ReplayOptions) ([]replayed, ReplaySummary, []byte) {
	t.Helper()
	var out bytes.Buffer
	s, err := Replay(bytes.NewReader(log), &out, o)
	require.NoError(t, err)
	var all []replayed
	for line := range bytes.Lines(out.Bytes()) {
		var r replayed
		require.NoError(t, json.Unmarshal(line, &r))
		all = append(all, r)
	}
	require.Len(t, all, s.Failures+s.Decisions)
	return all, s, out.Bytes()
}

// TestReplayOfALogIsByteForByteTheSame reads testdata/replay/FORMAT/log and expects want.ndjson.
func TestReplayOfALogIsByteForByteTheSame(t *testing.T) {
	for format, summary := range map[string]ReplaySummary{
		"sshd":         {Lines: 44, Events: 44, Failures: 42, Decisions: 8, Isolated: 2, Warned: 3},
		"nginx-access": {Lines: 132, Events: 133, Failures: 7, Decisions: 4, Isolated: 1, Warned: 3},
		"caddy":        {Lines: 11, Events: 11, Failures: 8, Decisions: 4, Isolated: 2, Warned: 2},
	} {
		t.Run(format, func(t *testing.T) {
			dir := filepath.Join("testdata", "replay", format)
			log, err := os.ReadFile(filepath.Join(dir, "log"))
			require.NoError(t, err)
			_, s, got := replayOf(t, log, replayOptions(format))
			_, _, again := replayOf(t, log, replayOptions(format))
			require.Equal(t, string(got), string(again))
			golden := filepath.Join(dir, "want.ndjson")
			if *update {
				require.NoError(t, os.WriteFile(golden, got, 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
			require.Equal(t, summary, s)
		})
	}
}

func TestReplayNamesTheLineThatSaysIt(t *testing.T) {
	const missing = `2026/03/02 10:56:10 [error] 28#0: *16 open() "/srv/www/.env" failed (2: No such file or directory), ` +
		"client: 203.0.113.7, server: shop, request: \"GET /.env HTTP/1.1\", host: \"shop\"\n"
	log := "# a comment\n" + missing + "# another\n" + missing
	all, _, _ := replayOf(t, []byte(log), replayOptions("nginx-error"))
	require.Len(t, all, 2, "they are held back until it is known that they are not forged")
	require.Equal(t, 2, all[0].Line)
	require.Equal(t, 4, all[1].Line)

	more := strings.Repeat("2026/03/02 10:56:11 [notice] 1#1: signal process started\n", 200)
	all, _, _ = replayOf(t, []byte(log+more), replayOptions("nginx-error"))
	require.Len(t, all, 2)
	require.Equal(t, 2, all[0].Line, "it was known about 4 kB later")
	require.Equal(t, 4, all[1].Line)
}

func TestReplayLeavesOutWhatIsCutOff(t *testing.T) {
	const end = "2026-03-02T08:00:00Z bastion sshd[7]: Failed password for root from 203.0.113.7 port 1 ssh2"
	fill := func(total int) string { return strings.Repeat("x", total-len(end)-2) + " " + end + "\n" }
	log := fill(maxReplayLine+1) + end + "\n" + fill(5*maxReplayLine) + end + "\r\n" + end
	all, s, _ := replayOf(t, []byte(log), replayOptions("sshd"))
	require.Equal(t, ReplaySummary{Lines: 5, Cut: 2, Events: 3, Failures: 3}, s)
	require.Equal(t, []int{2, 4, 5}, []int{all[0].Line, all[1].Line, all[2].Line})

	_, s, _ = replayOf(t, []byte(strings.Repeat("x", maxReplayLine-1)+"\n"+strings.Repeat("x", maxReplayLine+1)), replayOptions("sshd"))
	require.Equal(t, ReplaySummary{Lines: 2, Cut: 1}, s, "the longest line that is read, and a longer one without an end")
}

// broken is a pipe whose other end is gone.
type broken struct{ writes int }

func (b *broken) Write([]byte) (int, error) { b.writes++; return 0, io.ErrClosedPipe }

func TestReplayEndsWithTheFirstError(t *testing.T) {
	log, err := os.ReadFile(filepath.Join("testdata", "replay", "sshd", "log"))
	require.NoError(t, err)
	var w broken
	s, err := Replay(bytes.NewReader(log), &w, replayOptions("sshd"))
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.Equal(t, 1, w.writes)
	require.Equal(t, 2, s.Lines, "the line of the first failure")

	gone := errors.New("the disk is gone")
	s, err = Replay(io.MultiReader(bytes.NewReader(log), failing{gone}), io.Discard, replayOptions("sshd"))
	require.ErrorIs(t, err, gone)
	require.Equal(t, 44, s.Lines)
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

func TestReplayRefusesWhatItCannotRead(t *testing.T) {
	for want, log := range map[string]config.Log{
		`"nginx" is no format of a log`:     {Format: "nginx"},
		`"loud" is no mode of a log`:        {Format: "sshd", Mode: "loud"},
		`needs a pattern`:                   {Format: "regexp"},
		`cannot be compiled`:                {Format: "regexp", Pattern: "(?P<host>"},
		`has no group "host"`:               {Format: "regexp", Pattern: "from (.*)"},
		`"failures" is no kind of an event`: {Format: "regexp", Pattern: "(?P<host>.*)", Kind: "failures"},
	} {
		_, err := Replay(strings.NewReader(""), io.Discard, ReplayOptions{Log: log, Rules: config.Default().Guardian})
		require.ErrorContains(t, err, want)
		require.ErrorAs(t, err, new(ReplayRefusedError))
		require.NotEmpty(t, shivx.HintOf(err), want)
	}
}

// TestReplayLetsNobodyOnTheAllowListFreeOthers: an allowed address of an isolated network is judged, and
// the rest of the network stays where it is.
func TestReplayLetsNobodyOnTheAllowListFreeOthers(t *testing.T) {
	var log strings.Builder
	fail := func(address string, minute, times int) {
		for i := range times {
			fmt.Fprintf(&log, "2026-03-02T08:%02d:%02dZ bastion sshd[7]: Failed password for root from %s port %d ssh2\n", minute, i, address, 1000+i)
		}
	}
	for i := range 20 { // makes an attack of the network 192.0.2.0/24
		fail(fmt.Sprintf("192.0.2.%d", 10+i), 1, 3)
	}
	fail("192.0.2.200", 2, 1) // on the allow list
	fail("192.0.2.77", 3, 12)
	all, s, _ := replayOf(t, []byte(log.String()), replayOptions("sshd"))
	require.Equal(t, 1, s.Isolated)
	for _, r := range all {
		if r.Type == "decision" && r.Action == "isolate" {
			require.Equal(t, "192.0.2.0/24", r.Source)
		}
	}
}

func TestReplayBelievesTrustedProxiesAlone(t *testing.T) {
	line := func(peer string) string {
		return `{"ClientAddr":"` + peer + `:1","ClientHost":"203.0.113.9","ClientUsername":"bob","DownstreamStatus":401}` + "\n"
	}
	o := replayOptions("traefik")
	o.Rules.TrustedProxies = []string{"198.51.100.1"}
	all, _, _ := replayOf(t, []byte(line("198.51.100.1")+line("198.51.100.2")), o)
	require.Len(t, all, 2)
	require.Equal(t, "203.0.113.9", all[0].Host)
	require.Equal(t, "198.51.100.2", all[1].Host)
}

// TestReplaySparesWhomTheGuardianSpares: proxies, and addresses that many strangers share.
func TestReplaySparesWhomTheGuardianSpares(t *testing.T) {
	for address, action := range map[string]string{
		"203.0.113.7": "isolate", "10.20.1.1": "spared_allow_list", "192.0.2.200": "spared_allow_list", "64:ff9b::cb00:7107": "spared_allow_list",
	} {
		log := strings.Repeat("2026-03-02T08:00:00Z bastion sshd[7]: Failed password for root from "+address+" port 1 ssh2\n", 10)
		all, s, _ := replayOf(t, []byte(log), replayOptions("sshd"))
		require.Equal(t, action, all[len(all)-1].Action, address)
		require.Equal(t, action == "isolate", s.Isolated == 1, address)
	}
	var log strings.Builder // a network with a proxy in it
	for i := range 60 {
		fmt.Fprintf(&log, "2026-03-02T08:00:%02dZ bastion sshd[7]: Failed password for root from 198.51.100.%d port 1 ssh2\n", i, 2+i/3)
	}
	o := replayOptions("sshd")
	o.Rules.TrustedProxies = []string{"198.51.100.1"}
	all, s, _ := replayOf(t, []byte(log.String()), o)
	require.Equal(t, "198.51.100.0/24", all[len(all)-1].Source)
	require.Equal(t, "spared_allow_list", all[len(all)-1].Action)
	require.Zero(t, s.Isolated)
}

// TestReplayTakesTheBeginningOfWhatIsCutOff, as the agent does: nobody hides by long headers.
func TestReplayTakesTheBeginningOfWhatIsCutOff(t *testing.T) {
	line := `203.0.113.7 - - [02/Mar/2026:08:00:00 +0000] "GET /.env HTTP/1.1" 404 9 "-" "` + strings.Repeat("x", maxReplayLine) + "\"\n"
	all, s, _ := replayOf(t, []byte("# a comment\n"+line+line), replayOptions("nginx-access"))
	require.Equal(t, ReplaySummary{Lines: 3, Cut: 2, Events: 2, Failures: 2}, s)
	require.Equal(t, []int{2, 3}, []int{all[0].Line, all[1].Line})
	require.Equal(t, "203.0.113.7", all[0].Host)
}
