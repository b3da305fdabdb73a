package ingest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
)

// The pieces of a record that was forged, each with a line break at its end, and the events of honest ones.
const (
	forgedStart = ngx + `open() "/www/x` + noFile + forgedTail + "\n" + forgedUser + "\n"
	forgedEnd   = noFile + `, client: 192.0.2.7, server: a, request: "GET /x%0A HTTP/1.1", host: "a"` + "\n"
	toldMissing = "request 192.0.2.7  /p"
)

func toldFailed(n int) string { return fmt.Sprintf("failure 192.0.2.7 %d /p", n) }

// inSteps gives a follower of the log whose rounds the test makes itself, within a bubble of time.
func inSteps(t *testing.T, path string, test func(t *testing.T, r *reader, restart func() *follower)) {
	synctest.Test(t, func(t *testing.T) {
		r := newForgedReader(t, path, func(int, Position) {})
		var f *follower
		end := func() {
			if f != nil {
				for len(f.files) > 0 {
					f.remove(0)
				}
				require.NoError(t, f.watch.close())
			}
		}
		defer func() { end() }()
		test(t, r, func() *follower {
			end()
			in, err := New(r.o)
			require.NoError(t, err)
			f = in.sources[0].(*follower)
			if f.at = r.at; f.at != (Position{}) {
				f.resume()
			}
			return f
		})
	})
}

// rounds until there is nothing more to read at once.
func (f *follower) rounds(t *testing.T) {
	for f.round(t.Context()) {
		require.NoError(t, t.Context().Err())
	}
}

func TestSettlesWhenNothingMoreComes(t *testing.T) {
	path := logFile(t)
	write(t, path, failed(1), missing("x"), failed(2))
	inSteps(t, path, func(t *testing.T, r *reader, restart func() *follower) {
		f := restart()
		f.rounds(t)
		require.Equal(t, []string{toldFailed(1)}, r.lines)
		require.NotEmpty(t, r.at.Held)
		require.Equal(t, settleAfter, f.due)
		time.Sleep(settleAfter - 1)
		f.rounds(t)
		require.Len(t, r.lines, 1)
		time.Sleep(f.due)
		f.rounds(t)
		require.Equal(t, []string{toldFailed(1), toldMissing, toldFailed(2)}, r.lines)
		require.Empty(t, r.at.Held)
		require.Zero(t, f.due)
	})
}

// A reader may see a record before it is whole: then it waits longer.
func TestSettlesLaterWithinARecord(t *testing.T) {
	page := os.Getpagesize()
	for name, begin := range map[string]string{
		"at once":            forgedStart,
		"in a line":          forgedStart + "2026",
		"between two pages":  strings.Repeat("x\n", (page-len(forgedStart)%page)/2) + strings.Repeat("\n", len(forgedStart)%2) + forgedStart,
		"between two blocks": strings.Repeat("\n", blockSize-len(forgedStart)) + forgedStart,
	} {
		t.Run(name, func(t *testing.T) {
			path := logFile(t)
			write(t, path, begin)
			inSteps(t, path, func(t *testing.T, r *reader, restart func() *follower) {
				f := restart()
				f.rounds(t)
				wait := settleTornAfter
				if name == "at once" {
					wait = settleAfter
				}
				require.Equal(t, wait, f.due)
				time.Sleep(wait - 1)
				f.rounds(t)
				write(t, path, forgedEnd)
				f.rounds(t)
				// The doubt lasts while the log is quiet no more than that.
				write(t, path, strings.Repeat("x", 2*maxRecord), "\n", failed(1))
				f.rounds(t)
				require.Equal(t, []string{toldFailed(1)}, r.lines)
			})
		})
	}
}

// The lines of a record in a file that was rotated meanwhile are not mixed with those of the new one, also
// over a restart.
func TestSettlesEachFileByItself(t *testing.T) {
	for _, away := range []bool{false, true} {
		path := logFile(t)
		write(t, path, forgedStart)
		inSteps(t, path, func(t *testing.T, r *reader, restart func() *follower) {
			f := restart()
			f.rounds(t)
			rename(t, path, path+".1")
			write(t, path, failed(1), missing("x"))
			f.rounds(t)
			require.Equal(t, []string{toldFailed(1)}, r.lines)
			require.NotEmpty(t, r.at.Held)
			require.NotEmpty(t, r.at.Older.Held)
			if away {
				f = restart()
			}
			write(t, path+".1", forgedEnd, strings.Repeat("x", 2*maxRecord), "\n", failed(2))
			f.rounds(t)
			require.Equal(t, []string{toldFailed(1), toldFailed(2)}, r.lines)
			time.Sleep(settleAfter)
			f.rounds(t)
			require.Equal(t, []string{toldFailed(1), toldFailed(2), toldMissing}, r.lines)
		})
	}
}

// What is held goes on in the copy that was made; without one it is settled when all was read of it, and
// forgotten when the end of a record may be lost.
func TestSettlesWhatWasTruncated(t *testing.T) {
	for name, c := range map[string]struct {
		begin, rest string
		copied      bool
		want        []string
	}{
		"with a copy": {forgedStart, forgedEnd, true, nil},
		"all copied":  {missing("x"), failed(2), true, []string{toldMissing, toldFailed(2)}},
		"to its end":  {missing("x"), "", false, []string{toldMissing}},
		"before that": {forgedStart + "2026", "", false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := logFile(t)
			write(t, path, c.begin)
			inSteps(t, path, func(t *testing.T, r *reader, restart func() *follower) {
				f := restart()
				f.rounds(t)
				write(t, path, c.rest)
				if c.copied {
					copytruncate(t, path, path+".1")
				}
				require.NoError(t, os.Truncate(path, 0))
				f.rounds(t)
				write(t, path, failed(1))
				f.rounds(t)
				time.Sleep(settleTornAfter)
				f.rounds(t)
				require.ElementsMatch(t, append(c.want, toldFailed(1)), r.lines)
			})
		})
	}
}

// While nobody read, the file was rotated and compressed. All of it had been read, or not.
func TestSettlesWhatWasCompressed(t *testing.T) {
	for rest, want := range map[string][]string{"": {toldMissing, toldFailed(1)}, forgedEnd: {toldFailed(1)}} {
		path := logFile(t)
		write(t, path, missing("x"))
		inSteps(t, path, func(t *testing.T, r *reader, restart func() *follower) {
			restart().rounds(t)
			require.NotEmpty(t, r.at.Held)
			write(t, path, rest)
			rename(t, path, path+".1")
			pack(t, path+".1")
			write(t, path, failed(1))
			restart().rounds(t)
			require.Equal(t, want, r.lines)
		})
	}
}

func TestSettlesWhatTheJournalSays(t *testing.T) {
	r, f := newJournalReader(t, config.Log{Journal: []string{"nginx.service"}, Format: "nginx-error", FromStart: true})
	var ats []Position
	fr := newForgedReader(t, "", func(_ int, at Position) { ats = append(ats, at) })
	r.o.Handle, r.o.NewParser = fr.o.Handle, nil
	entry := func(line string) {
		f.entry(fmt.Sprintf(`"SYSLOG_IDENTIFIER":"nginx","MESSAGE":%q`, strings.TrimSuffix(line, "\n")))
	}
	entry(missing("x"))
	r.start()
	fr.until("it is settled", func() bool { return len(fr.lines) == 1 })
	r.stop()
	require.Equal(t, []string{toldMissing}, fr.lines)
	require.Len(t, ats, 3, "opened, read, settled")
	require.NotEmpty(t, ats[1].Held)
	require.Empty(t, ats[2].Held)
	// It ended before it was settled, and the next one sees that the line was forged.
	r.at, fr.lines = ats[1], nil
	entry(forgedUser)
	entry(forgedEnd)
	entry(strings.Repeat("x", 2*maxRecord))
	entry(failed(1))
	r.start()
	fr.until("it goes on", func() bool { return len(fr.lines) > 0 })
	r.stop()
	require.Equal(t, []string{toldFailed(1)}, fr.lines)
}

// A message of syslog is a whole record.
func TestSettlesEachMessage(t *testing.T) {
	r := newForgedReader(t, logFile(t), func(int, Position) {})
	addr := testenv.Addr(t)
	r.o.Syslog = config.SyslogInput{Listen: addr, From: []string{"127.0.0.1"}, Formats: []string{"nginx-error"}}
	r.start()
	r.until("it listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	send(t, "udp", addr, "<187>Nov 23 08:10:19 h nginx: "+forgedStart+forgedEnd)
	r.sees("request 192.0.2.7  /x%0A")
	send(t, "udp", addr, "<187>Nov 23 08:10:19 h nginx: "+missing("x"))
	r.sees("request 192.0.2.7  /x%0A", toldMissing)
}

func TestTrustedProxies(t *testing.T) {
	path := logFile(t)
	write(t, path, `{"ClientAddr":"198.51.100.1:1","ClientHost":"`+innocent+`, 192.0.2.7","DownstreamStatus":401,"RequestPath":"/p"}`+"\n")
	for trusted, want := range map[string]string{"198.51.100.0/24": "192.0.2.7", "192.0.2.0/24": "198.51.100.1"} {
		r := newForgedReader(t, path, func(int, Position) {})
		r.o.Logs[0].Format = "traefik"
		r.o.Trusted = []netip.Prefix{netip.MustParsePrefix(trusted)}
		r.start().sees("request " + want + "  /p")
		r.stop()
	}
}
