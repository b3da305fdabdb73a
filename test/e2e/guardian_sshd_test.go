package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
)

// sshd is Debian's, on a machine of a network.
type sshd struct {
	t   *testing.T
	m   *stand.Machine
	dir string
	log string
	ssh string
}

func newSSHD(t *testing.T, m *stand.Machine) *sshd {
	t.Helper()
	programs := testenv.Need(t, "sshd", "ssh", "ssh-keygen")
	if err := os.Mkdir("/run/sshd", 0o755); err == nil { // which it changes its root to
		t.Cleanup(func() { require.NoError(t, os.Remove("/run/sshd")) })
	} else {
		require.ErrorIs(t, err, fs.ErrExist)
	}
	d := &sshd{t: t, m: m, dir: t.TempDir(), ssh: programs[1]}
	d.log = filepath.Join(d.dir, "auth.log")
	for _, key := range []string{"host", "user"} {
		out, err := exec.Command(programs[2], "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(d.dir, key)).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	testenv.WriteFile(t, filepath.Join(d.dir, "sshd_config"), strings.NewReplacer("DIR", d.dir).Replace(`HostKey DIR/host
PidFile none
UsePAM no
PermitRootLogin yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
AuthorizedKeysFile DIR/user.pub
StrictModes no
`))
	require.NoError(t, os.WriteFile(filepath.Join(d.dir, "askpass"), []byte("#!/bin/sh\necho wrong\n"), 0o700))
	stand.NewProcess(t, filepath.Join(d.dir, "sshd.out"), nil, m.Argv(programs[0], "-D", "-f", filepath.Join(d.dir, "sshd_config"), "-E", d.log)...).Start()
	stand.Await(t, patience, "sshd to listen", func(context.Context) bool { return bytes.Contains(d.read(), []byte("Server listening")) })
	return d
}

func (d *sshd) read() []byte {
	b, err := os.ReadFile(d.log)
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(d.t, err)
	}
	return b
}

// client runs ssh from an address outside.
func (d *sshd) client(ctx context.Context, n *stand.Network, from string, options ...string) error {
	argv := append(n.Outside.Argv(d.ssh, "-F", "none", "-b", from, "-l", "root", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=5"), options...)
	cmd := exec.CommandContext(ctx, argv[0], append(argv[1:], d.m.IP4, "true")...)
	cmd.Env = append(os.Environ(), "SSH_ASKPASS="+filepath.Join(d.dir, "askpass"), "SSH_ASKPASS_REQUIRE=force")
	return cmd.Run()
}

// login logs in with the right key.
func (d *sshd) login(n *stand.Network, from string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return d.client(ctx, n, from, "-i", filepath.Join(d.dir, "user"), "-o", "IdentitiesOnly=yes", "-o", "PasswordAuthentication=no")
}

// guess tries three wrong passwords over one connection.
func (d *sshd) guess(ctx context.Context, n *stand.Network, from string) {
	if d.client(ctx, n, from, "-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=3") == nil {
		d.t.Error("a wrong password was taken")
	}
}

// failures counts the failed logins in the log.
func (d *sshd) failures() int { return bytes.Count(d.read(), []byte("Failed password for root")) }

// attack guesses passwords until the attacker is refused, and tells when the tenth failure stood in the
// log, and when the first connection was tried that was not answered.
func (d *sshd) attack(n *stand.Network, from string) (tenth, refused time.Time) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	before, seen, ended := d.failures(), make(chan time.Time, 1), make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ; ctx.Err() == nil; <-tick.C {
			if d.failures() >= before+10 {
				at := time.Now()
				if info, err := os.Stat(d.log); err == nil {
					at = info.ModTime()
				}
				seen <- at
				return
			}
		}
	}()
	go func() {
		defer close(ended)
		for range 10 { // 30 guesses
			if ctx.Err() == nil {
				d.guess(ctx, n, from)
			}
		}
	}()
	select {
	case refused = <-firstDropped(ctx, n.Outside, from, d.m.IP4):
		tenth = <-seen
	case <-ended:
		d.t.Fatalf("%s is not refused after %d failures", from, d.failures()-before)
	}
	cancel()
	<-ended
	return tenth, refused
}

// failTimes fails to log in that often at least.
func (d *sshd) failTimes(n *stand.Network, from string, times int) {
	d.t.Helper()
	before := d.failures()
	for i := 0; i < times && d.failures() < before+times; i++ {
		d.guess(context.Background(), n, from)
	}
}

// bouncer starts the firewall bouncer of CrowdSec on a machine, for an agent on another one.
func bouncer(t *testing.T, m *stand.Machine, mode, agent string) {
	t.Helper()
	if mode == "iptables" {
		testenv.Need(t, "iptables", "ip6tables", "ipset")
	}
	program, dir := testenv.Need(t, "crowdsec-firewall-bouncer")[0], t.TempDir()
	conf := filepath.Join(dir, "bouncer.yaml")
	testenv.WriteFile(t, conf, fill(`mode: <mode>
update_frequency: 1s
daemonize: false
log_mode: stdout
log_level: info
pid_dir: <dir>
api_url: <url>
api_key: token-of-the-bouncer
disable_ipv6: false
deny_action: DROP
supported_decisions_types: [ban]
blacklists_ipv4: crowdsec-blacklists
blacklists_ipv6: crowdsec6-blacklists
ipset_type: nethash
iptables_chains: [INPUT]
nftables:
  ipv4: {enabled: true, set-only: false, table: crowdsec, chain: crowdsec-chain}
  ipv6: {enabled: true, set-only: false, table: crowdsec6, chain: crowdsec6-chain}
prometheus: {enabled: false}
`, "mode", mode, "dir", dir, "url", "http://"+net.JoinHostPort(agent, "9470")+"/"))
	stand.NewProcess(t, filepath.Join(dir, "bouncer.log"), nil, m.Argv(program, "-c", conf)...).Start()
}
