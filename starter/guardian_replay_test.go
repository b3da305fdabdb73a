package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const failedLogin = "2026-03-02T08:00:00Z b sshd[1]: Failed password for root from 203.0.113.7 port 4001 ssh2\n"

func TestReplayOfASlowLogOnATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	far, printed := openTerminal(t, 24)
	in, log := io.Pipe()
	code := make(chan int, 1)
	go func() { code <- run([]string{"guardian", "replay", "--format", "sshd", "-"}, in, far, far) }()
	_, err := io.WriteString(log, failedLogin)
	require.NoError(t, err)
	printed.await(t, `"line":1,`) // though more is to come
	printed.await(t, "replaying: 89 B read")
	_, err = io.WriteString(log, failedLogin)
	require.NoError(t, err)
	require.NoError(t, log.Close())
	require.Equal(t, exitOK, <-code)
	_, err = fmt.Fprintln(far, "END")
	require.NoError(t, err)
	printed.await(t, "END")
	require.Contains(t, printed.String(), "\r\x1b[K"+`{"type":"failure","line":2,`, "the line that says how far is taken away before")
	require.Contains(t, printed.String(), "2 lines, 2 events, 2 failures, 0 decisions")
}

func TestReplayIsInterrupted(t *testing.T) {
	in, log := io.Pipe()
	defer func() { _ = log.Close() }()
	out := newLines()
	code := make(chan int, 1)
	go func() { code <- run([]string{"guardian", "replay", "--format", "sshd", "-"}, in, out, out) }()
	_, err := io.WriteString(log, strings.Repeat(failedLogin, 3))
	require.NoError(t, err)
	out.await(t, `"line":3,`)
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGINT))
	require.Equal(t, exitError, <-code)
	out.await(t, "shivx: replay: interrupted after 3 lines")
}

func TestReplayEndsQuietlyWhenNobodyReads(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	errs := newLines()
	code := run([]string{"guardian", "replay", "--format", "sshd", "-"}, strings.NewReader(strings.Repeat(failedLogin, 10_000)), w, errs)
	require.Equal(t, exitOK, code)
	require.Empty(t, errs.String())
	require.NoError(t, w.Close())
}

func TestReplayShowsNamesThatWouldDriveATerminal(t *testing.T) {
	log := strings.Replace(failedLogin, "for root", "for invalid user \u202e\u009b31mx", 1)
	var out strings.Builder
	require.Equal(t, exitOK, run([]string{"guardian", "replay", "--format", "sshd", "-"}, strings.NewReader(log), &out, io.Discard))
	require.Contains(t, out.String(), `"user":"\u202e\u009b31mx"`)
}
