package ingest

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
	"github.com/shivx/shivx/internal/testenv"
)

const (
	innocent = "203.0.113.9"
	ngx      = "2026/11/23 08:10:19 [error] 104#104: *7 "
	// ngxTail ends the records of an attacker, forgedTail those that he makes up.
	ngxTail    = `, client: 192.0.2.7, server: a, request: "GET /p HTTP/1.1", host: "a"`
	forgedTail = `, client: ` + innocent + `, server: a, request: "GET /p HTTP/1.1", host: "a"`
	noFile     = `" failed (2: No such file or directory)`
	forgedUser = ngx + `user "x": password mismatch` + forgedTail
	// maxRecord is the greatest length of a record of nginx.
	maxRecord = 2048
)

// failed is an honest record about the user numbered n.
func failed(n int) string { return fmt.Sprintf(ngx+`user "%d": password mismatch`, n) + ngxTail + "\n" }

// missing is an honest record about a path.
func missing(path string) string { return ngx + `open() "/www/` + path + noFile + ngxTail + "\n" }

// forged is a record as long as nginx makes them, whose path has many line breaks; the kind-th way.
func forged(kind int) string {
	lineBreak := "\n"
	if kind%2 == 1 {
		lineBreak = "\r\n"
	}
	record := ngx + `open() "/www/x` + noFile + forgedTail + strings.Repeat(lineBreak+forgedUser, 9)
	if kind%4 >= 2 { // it ends as it must
		return record + lineBreak + noFile + strings.Replace(ngxTail, "GET /p", "GET /x%22%0A2026", 1) + "\n"
	}
	// nginx cuts it off, in what looks like a referrer.
	return (record + `, referrer: "` + strings.Repeat(`"`, maxRecord))[:maxRecord-1] + "\n"
}

// span is a part of a file.
type span struct{ from, to int64 }

// forgedLog has some records of forgers about every 10 KiB, and one across each end of a block.
func forgedLog(blocks int, shift int) (string, []span) {
	var b strings.Builder
	var spans []span
	forge := func(kind int) {
		from := int64(b.Len())
		b.WriteString(forged(kind))
		spans = append(spans, span{from, int64(b.Len())})
	}
	end := blockSize // of the next block, at the latest
	for n := 0; b.Len() < blocks*blockSize+10_000; n++ {
		switch {
		case b.Len() >= end-shift-200:
			forge(n)
			end = strings.LastIndexByte(b.String()[:min(end, b.Len())], '\n') + 1 + blockSize
		case n%61 == 60 && b.Len() < end-9000:
			forge(n)
		case n%23 == 0:
			b.WriteString(missing(fmt.Sprint(n)))
		default:
			b.WriteString(failed(n))
		}
	}
	b.WriteString(missing("the last"))
	return b.String(), spans
}

func told(e *logs.Event) string {
	return fmt.Sprintf("%s %s %s %s", e.Kind, e.Addr, e.User, e.Path)
}

// readAlone is what the parser makes of the lines without anything between.
func readAlone(t *testing.T, text []byte) (all []string) {
	p, err := newParser(config.Log{Format: "nginx-error"}, nil)
	require.NoError(t, err)
	keep := func(events []logs.Event) {
		for i := range events {
			all = append(all, told(&events[i]))
		}
	}
	for line := range bytes.Lines(text) {
		keep(p.Parse(line[:len(line)-1], nil))
	}
	keep(p.(logs.Settler).Settle(nil))
	return all
}

// newForgedReader reads an error log of nginx; after is called with the number of events and the position
// after each batch.
func newForgedReader(t *testing.T, path string, after func(int, Position)) *reader {
	r := newReader(t, config.Log{File: path, Format: "nginx-error", FromStart: true})
	r.o.NewParser = nil
	r.o.Handle = func(_ context.Context, b Batch) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for i := range b.Events {
			r.lines = append(r.lines, told(&b.Events[i]))
		}
		r.at = b.Position
		after(len(r.lines), b.Position)
		select {
		case r.took <- struct{}{}:
		default:
		}
		return nil
	}
	return r
}

// done waits until the file was read to its end and nothing of it is held.
func (r *reader) done(size int) *reader {
	r.t.Helper()
	r.until("all is read and settled", func() bool { return r.at.Offset == int64(size) && r.at.Held == "" })
	return r
}

// A process that ends after any batch, by the end of a block or by the number of its events, is followed by
// one that goes on as if nothing had been: no event is lost or doubled, and nobody's line breaks make one.
func TestRestartBetweenForgedLines(t *testing.T) {
	for shift := 0; shift < maxRecord; shift += 450 {
		text, spans := forgedLog(3, shift)
		path := logFile(t)
		write(t, path, text)
		want := readAlone(t, []byte(text))
		require.Greater(t, len(want), 1000)
		type restart struct {
			events int
			at     Position
		}
		var all []restart
		r := newForgedReader(t, path, func(n int, at Position) { all = append(all, restart{n, at}) }).start().done(len(text))
		r.stop()
		require.Equal(t, want, r.lines)
		within := 0
		for _, c := range all {
			for _, s := range spans {
				if c.at.Offset > s.from && c.at.Offset < s.to {
					within++
				}
			}
			r := newForgedReader(t, path, func(int, Position) {})
			r.at, r.lines = c.at, append(r.lines, want[:c.events]...)
			r.start().done(len(text)).stop()
			require.Equal(t, want, r.lines, "%+v", c.at)
		}
		require.NotContains(t, strings.Join(want, "\n"), innocent)
		if shift > 300 && shift < 1400 { // else it may be the first line of a record, or the one behind it
			require.GreaterOrEqual(t, within, 3, "each block ends within a forged record")
		}
	}
}

// encoded is a path as a client sends it.
func encoded(path string) string {
	return strings.NewReplacer("%", "%25", " ", "%20", "\n", "%0a", "\r", "%0d", `"`, "%22", "?", "%3f", "#", "%23").Replace(path)
}

// A real nginx writes what clients forge, while a reader that is stopped and started again reads it.
func TestForgersOfRealNginx(t *testing.T) {
	n := testenv.Nginx(t, `error_log errors.log;`, `keepalive_requests 10000;`, `location /p/ { auth_basic x; auth_basic_user_file users; }`)
	testenv.WriteFile(t, filepath.Join(n.Dir, "users"), "bob:{PLAIN}right\n")
	path := filepath.Join(n.Dir, "errors.log")
	c, err := net.Dial("tcp", n.Addr)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
	go func() { _, _ = io.Copy(io.Discard, c) }()
	request := func(target, headers string) {
		_, err := io.WriteString(c, "GET "+target+" HTTP/1.1\r\nHost: a\r\n"+headers+"\r\n")
		require.NoError(t, err)
	}
	forgery := strings.NewReplacer("2026/11/23", time.Now().Format("2006/01/02")).Replace(forgedUser)
	r := newForgedReader(t, path, func(int, Position) {}).start().opened()
	const rounds, users = 30, 40
	for i := range rounds {
		for user := range users {
			request("/p/", "Authorization: Basic "+base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "u%d-%d:wrong", i, user))+"\r\n")
		}
		lineBreak := []string{"\n", "\r\n", "\n\n", "\nh nginx[1]: "}[i%4]
		request(encoded("/x"+noFile+forgedTail+strings.Repeat(lineBreak+forgery, 1+i%12)), "")
		request(encoded("/x"+strings.Repeat(lineBreak+forgery, 1+i%9)+`, referrer: "`+strings.Repeat(`"`, i%3*1000)), "")
		request("/missing", "")
		if i%3 == 2 {
			r.stop()
			r.start()
		}
	}
	request(fmt.Sprintf("/last-%d", rounds), "")
	r.until("the last request is seen", func() bool {
		return len(r.lines) > 0 && strings.Contains(r.lines[len(r.lines)-1], fmt.Sprintf("/last-%d", rounds))
	})
	r.stop()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Greater(t, len(text), blockSize/2)
	require.Contains(t, string(text), "\n"+forgery, "nginx writes line breaks as they come")
	seen := map[string]bool{}
	failures := 0
	for _, l := range r.lines {
		require.NotContains(t, l, innocent)
		require.Contains(t, l, "127.0.0.1")
		if strings.HasPrefix(l, "failure") {
			require.False(t, seen[l], "twice: %s", l)
			seen[l] = true
			failures++
		}
	}
	// Those within reach of a forger are discarded with what he wrote.
	require.Greater(t, failures, rounds*users/4)
}
