package logs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
)

// What the installed sshd writes about clients that choose their names to look like somebody else: each
// failure is recognised, and nobody but the client is named.
func TestInstalledSSHD(t *testing.T) {
	programs := testenv.Need(t, "sshd", "ssh", "ssh-keygen")
	if os.Getuid() != 0 {
		testenv.Missing(t, "sshd has to check passwords as root")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	dir := t.TempDir()
	log, port := startSSHD(ctx, t, dir, programs[0], programs[2])
	askpass := filepath.Join(dir, "askpass")
	require.NoError(t, os.WriteFile(askpass, []byte("#!/bin/sh\necho wrong\n"), 0o700))
	names := []string{
		"root", "oracle", "x from 9.9.9.9", "x from 9.9.9.9 port 22 ssh2", " from 9.9.9.9 port 22 ssh2", "root 9.9.9.9 port 22",
		"x from 9.9.9.9 port 22 ssh2: RSA SHA256:x from 9.9.9.9 port 22 ssh2",
		"x 9.9.9.9 port 1: Too many authentication failures", "message repeated 9 times: Failed password for root from 9.9.9.9 port 1 ssh2",
	}
	parsers := bothModes(t, "sshd")
	read := 0
	for i, name := range names {
		cmd := exec.CommandContext(ctx, programs[1], "-F", "none", "-p", port, "-l", name, "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile=/dev/null", "-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=2", "127.0.0.1", "true")
		cmd.Env = append(os.Environ(), "SSH_ASKPASS="+askpass, "SSH_ASKPASS_REQUIRE=force")
		require.Error(t, cmd.Run(), name)
		lines := logOfConnection(ctx, t, log, &read)
		failures := 0
		for _, line := range lines {
			for j, p := range parsers {
				for _, e := range p.Parse([]byte("May  4 03:12:01 srv sshd["+strconv.Itoa(i+1)+"]: "+line), nil) {
					require.Equal(t, "127.0.0.1", string(e.Host), line)
					require.NotEqual(t, Success, e.Kind, line)
					if j == 0 {
						failures += e.Count
					}
				}
			}
		}
		require.GreaterOrEqual(t, failures, 2, "%s\n%s", name, strings.Join(lines, "\n"))
	}
}

// startSSHD starts a server on a free port of the loopback, and returns its log and port.
func startSSHD(ctx context.Context, t *testing.T, dir, sshd, keygen string) (log, port string) {
	t.Helper()
	if err := os.Mkdir("/run/sshd", 0o755); err == nil { // which it changes its root to
		t.Cleanup(func() { require.NoError(t, os.Remove("/run/sshd")) })
	} else {
		require.ErrorIs(t, err, fs.ErrExist)
	}
	port = testenv.Port(t, testenv.Addr(t))
	key, conf := filepath.Join(dir, "key"), filepath.Join(dir, "sshd_config")
	out, err := exec.CommandContext(ctx, keygen, "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.WriteFile(conf, []byte("HostKey "+key+"\nPort "+port+"\nListenAddress 127.0.0.1\nPidFile none\nUsePAM no\n"+
		"PasswordAuthentication yes\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\n"), 0o600))
	log = filepath.Join(dir, "log")
	cmd := exec.CommandContext(ctx, sshd, "-D", "-f", conf, "-E", log)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Kill())
		var killed *exec.ExitError
		require.ErrorAs(t, cmd.Wait(), &killed)
	})
	waitFor(ctx, t, log, func() bool { return bytes.Contains(readLog(t, log), []byte("Server listening")) })
	return log, port
}

// logOfConnection returns what has been written since the last time, to the end of a connection.
func logOfConnection(ctx context.Context, t *testing.T, log string, read *int) []string {
	t.Helper()
	var b []byte
	waitFor(ctx, t, log, func() bool {
		b = readLog(t, log)[*read:]
		return bytes.Contains(b, []byte("\nConnection closed by ")) || bytes.Contains(b, []byte("\nDisconnecting "))
	})
	*read += len(b)
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

func readLog(t *testing.T, log string) []byte {
	t.Helper()
	b, err := os.ReadFile(log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	return b
}

func waitFor(ctx context.Context, t *testing.T, log string, ok func() bool) {
	t.Helper()
	for !ok() {
		select {
		case <-ctx.Done():
			require.Fail(t, "sshd did not write what was waited for", "%s", readLog(t, log))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
