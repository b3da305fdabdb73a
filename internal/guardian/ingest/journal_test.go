package ingest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
)

// fakeJournal is a program that answers like journalctl does: the entries after the cursor, then those
// that come. It notes how it was called, and ends when the file "end" appears.
const fakeJournal = `#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >> calls
after=0
for a in "$@"; do
  case "$a" in --after-cursor=s=*) after=${a#--after-cursor=s=} ;; esac
done
n=$after
while true; do
  have=$(wc -l < entries)
  if [ "$have" -gt "$n" ]; then
    head -n "$have" entries | tail -n +$((n+1))
    n=$have
  fi
  if [ -e end ]; then rm end; echo "the journal was rotated away" >&2; exit 1; fi
  sleep 0.01
done
`

type fake struct {
	t   *testing.T
	dir string
	n   int
}

func newFake(t *testing.T) (*fake, string) {
	f := &fake{t: t, dir: t.TempDir()}
	program := filepath.Join(f.dir, "journalctl")
	require.NoError(t, os.WriteFile(program, []byte(fakeJournal), 0o700))
	write(t, filepath.Join(f.dir, "entries"))
	return f, program
}

// entry adds one; fields are more of it, as JSON.
func (f *fake) entry(fields string) {
	f.n++
	write(f.t, filepath.Join(f.dir, "entries"), fmt.Sprintf(
		`{"__CURSOR":"s=%d","__REALTIME_TIMESTAMP":"%d","_PID":"100",%s}`+"\n", f.n, 1769828400000000+f.n, fields))
}

func (f *fake) calls() []string {
	data, err := os.ReadFile(filepath.Join(f.dir, "calls"))
	require.NoError(f.t, err)
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func newJournalReader(t *testing.T, l config.Log) (*reader, *fake) {
	f, program := newFake(t)
	r := newReader(t, l)
	r.o.Journalctl = program
	return r, f
}

func TestJournal(t *testing.T) {
	r, f := newJournalReader(t, config.Log{Journal: []string{"ssh.service", "sshd.service"}})
	r.start().opened()
	f.entry(`"SYSLOG_IDENTIFIER":"sshd","MESSAGE":"one \"quoted\""`)
	f.entry(`"SYSLOG_IDENTIFIER":"sshd","SYSLOG_PID":"7","MESSAGE":[116,119,111,10,255]`)
	f.entry(`"SYSLOG_IDENTIFIER":"sshd","MESSAGE":null`)
	f.entry(`"_COMM":"sshd-session","MESSAGE":["three","again"]`)
	f.entry(`"MESSAGE":"four\nsshd[1]: no line of its own"`)
	want := []string{`sshd[100]: one "quoted"`, "sshd[7]: two \xff", "sshd-session[100]: three", "four sshd[1]: no line of its own"}
	want[1] = "sshd[7]: two\x20\xff"
	r.sees(want...)
	require.Equal(t, time.UnixMicro(1769828400000001).UnixNano(), r.events[0].At, "the journal's time")
	call := f.calls()[0]
	require.Contains(t, call, "--since=@")
	require.Contains(t, call, "--unit=ssh.service --unit=sshd.service")
	r.until("the cursor is the last one's", func() bool { return r.at.Cursor == "s=5" })
	// The program dies and is started again where it was; so is a new process.
	write(t, filepath.Join(f.dir, "end"))
	require.Contains(t, r.told(TroubleUnreadable).details["error"], "rotated away")
	f.entry(`"SYSLOG_IDENTIFIER":"sshd","MESSAGE":"five"`)
	want = append(want, "sshd[100]: five")
	r.sees(want...)
	r.told(TroubleReadable)
	r.stop()
	f.entry(`"SYSLOG_IDENTIFIER":"sshd","MESSAGE":"six"`)
	r.start().sees(append(want, "sshd[100]: six")...)
	calls := f.calls()
	require.Contains(t, calls[len(calls)-1], "--after-cursor=s=6 ")
}

// Formats of web servers have no program before the message.
func TestJournalBare(t *testing.T) {
	r, f := newJournalReader(t, config.Log{Journal: []string{"caddy"}, Format: "caddy", FromStart: true})
	f.entry(`"SYSLOG_IDENTIFIER":"caddy","MESSAGE":"{}"`)
	f.entry(`"SYSLOG_IDENTIFIER":"caddy","MESSAGE":"` + strings.Repeat("x", 2*maxEntry) + `"`)
	f.entry(`"SYSLOG_IDENTIFIER":"caddy","MESSAGE":"{2}"`)
	r.start().sees("{}", "{2}")
	require.Contains(t, f.calls()[0], "--identifier=caddy")
	require.NotContains(t, f.calls()[0], "--since")
	r.until("the long one is counted", func() bool { return r.inputs.Status()[0].Cut == 1 })
}

func TestJournalThatIsMissing(t *testing.T) {
	r := newReader(t, config.Log{Journal: []string{"ssh.service"}})
	r.o.Journalctl = filepath.Join(t.TempDir(), "journalctl")
	r.start()
	require.Contains(t, r.told(TroubleUnreadable).details["error"], "install systemd's journalctl")
}

func TestMatches(t *testing.T) {
	for _, c := range []struct{ names, args string }{
		{"ssh.service ssh@*.service", "--unit=ssh.service --unit=ssh@*.service"},
		{"sshd sshd-session", "--identifier=sshd --identifier=sshd-session"},
		{"ssh.service sshd", "_SYSTEMD_UNIT=ssh.service + SYSLOG_IDENTIFIER=sshd"},
	} {
		args, err := matches(strings.Fields(c.names))
		require.NoError(t, err)
		require.Equal(t, c.args, strings.Join(args, " "))
	}
	_, err := matches([]string{"ssh@*.service", "sshd"})
	require.ErrorContains(t, err, "is a pattern beside identifiers")
}

// The real program takes the options: there is no journal here, so it says nothing else than that.
func TestRealJournalctl(t *testing.T) {
	program := testenv.Need(t, "journalctl")[0]
	r := newReader(t, config.Log{Journal: []string{"ssh.service", "sshd"}, QuietAfter: time.Second})
	r.o.Journalctl = program
	r.start().told(TroubleSilent)
	for _, s := range r.inputs.Status() {
		require.NotContains(t, s.Error, "option")
		require.NotContains(t, s.Error, "Failed to parse")
	}
}
