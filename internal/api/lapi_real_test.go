package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
)

// cell is a network namespace of the test, in which a server and a bouncer meet.
type cell struct {
	t             *testing.T
	ip, nft, name string
}

func newCell(t *testing.T) *cell {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root, for a network namespace")
	}
	paths := testenv.Need(t, "ip", "nft")
	c := &cell{t: t, ip: paths[0], nft: paths[1], name: fmt.Sprintf("shivxapi%d", os.Getpid())}
	if out, err := exec.Command(c.ip, "netns", "add", c.name).CombinedOutput(); err != nil {
		testenv.Missing(t, "needs to make a network namespace: "+string(out))
	}
	t.Cleanup(func() { _ = exec.Command(c.ip, "netns", "del", c.name).Run() })
	out, err := exec.Command(c.ip, "-n", c.name, "link", "set", "lo", "up").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return c
}

// listen listens on the namespace's loopback.
func (c *cell) listen() net.Listener {
	c.t.Helper()
	fd, err := unix.Open("/run/netns/"+c.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(c.t, err)
	defer func() { _ = unix.Close(fd) }()
	var l net.Listener
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		err := unix.Setns(fd, unix.CLONE_NEWNET)
		if err == nil {
			l, err = net.Listen("tcp", "127.0.0.1:0")
		}
		done <- err
	}()
	require.NoError(c.t, <-done)
	return l
}

// serve runs a stand's server in the namespace.
func (c *cell) serve() *stand {
	s := newStand(c.t)
	require.NoError(c.t, s.bound.Load().Close())
	l := c.listen()
	s.bound.Store(&listener{l, newHostCheck(l.Addr(), "")})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	c.t.Cleanup(func() {
		stop()
		require.NoError(c.t, <-done)
	})
	return s
}

// bouncer returns the command of the firewall bouncer that asks the server with a token.
func (c *cell) bouncer(program, address, token string) *exec.Cmd {
	dir := c.t.TempDir()
	conf := fmt.Sprintf(`mode: nftables
pid_dir: %s
update_frequency: 200ms
daemonize: false
log_mode: stdout
log_level: info
api_url: http://%s/
api_key: %s
disable_ipv6: false
deny_action: DROP
blacklists_ipv4: banned
blacklists_ipv6: banned6
nftables:
  ipv4: {enabled: true, set-only: false, table: bouncer, chain: bouncer-chain}
  ipv6: {enabled: true, set-only: false, table: bouncer6, chain: bouncer6-chain}
`, dir, address, token)
	path := filepath.Join(dir, "bouncer.yaml")
	require.NoError(c.t, os.WriteFile(path, []byte(conf), 0o600))
	return exec.Command(c.ip, "netns", "exec", c.name, program, "-c", path)
}

// banned returns the elements of the bouncer's sets with their terms.
func (c *cell) banned() map[string]time.Duration {
	all := map[string]time.Duration{}
	for _, set := range [][]string{{"ip", "bouncer", "banned"}, {"ip6", "bouncer6", "banned6"}} {
		args := append([]string{"netns", "exec", c.name, c.nft, "-j", "list", "set"}, set...)
		out, err := exec.Command(c.ip, args...).Output()
		if err != nil {
			return nil // the bouncer has not made them yet
		}
		var list struct {
			Nftables []struct {
				Set struct {
					Elem []struct {
						Elem struct {
							Val     string
							Timeout int
						}
					}
				}
			}
		}
		require.NoError(c.t, json.Unmarshal(out, &list), "%s", out)
		for _, one := range list.Nftables {
			for _, e := range one.Set.Elem {
				all[e.Elem.Val] = time.Duration(e.Elem.Timeout) * time.Second
			}
		}
	}
	return all
}

// holds waits until the bouncer holds exactly these addresses, with terms to the minute.
func (c *cell) holds(want map[string]time.Duration) {
	c.t.Helper()
	var got map[string]time.Duration
	defer func() {
		if c.t.Failed() {
			c.t.Log("the bouncer holds", got)
		}
	}()
	require.Eventually(c.t, func() bool {
		got = c.banned()
		for value, term := range want {
			if d := got[value] - term; d < 0 || d > time.Minute {
				return false
			}
		}
		return len(got) == len(want)
	}, 20*time.Second, 50*time.Millisecond, "%v", want)
}

// TestTheFirewallBouncerEnforcesIsolations: the program of CrowdSec, as Debian has it, asks our server.
func TestTheFirewallBouncerEnforcesIsolations(t *testing.T) {
	program := testenv.Need(t, "crowdsec-firewall-bouncer")[0]
	c := newCell(t)
	s := c.serve()
	s.isolates("203.0.113.1", time.Hour)
	cmd := c.bouncer(program, s.Address(), appToken)
	said := &logged{}
	cmd.Stdout, cmd.Stderr = said, said
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; t.Failed() {
			t.Log(err, said)
		}
	}()
	c.holds(map[string]time.Duration{"203.0.113.1": time.Hour})

	s.isolates("203.0.113.2", 30*time.Minute)
	s.isolates("203.0.113.3", 0)
	s.isolates("203.0.114.0/24", time.Hour)
	s.isolates("2001:db8:0:1::7", 2*time.Hour)
	// In this mode the bouncer takes the first address of a network for the whole.
	all := map[string]time.Duration{
		"203.0.113.1": time.Hour, "203.0.113.2": 30 * time.Minute, "203.0.113.3": shivx.MaxTerm, "203.0.114.0": time.Hour, "2001:db8:0:1::": 2 * time.Hour}
	c.holds(all)

	s.isolates("203.0.113.1", 5*time.Hour)
	for _, source := range []string{"203.0.113.2", "203.0.114.0/24"} {
		_, err := s.guardian.Restore(t.Context(), source, "test", "")
		require.NoError(t, err)
	}
	all = map[string]time.Duration{"203.0.113.1": 5 * time.Hour, "203.0.113.3": shivx.MaxTerm, "2001:db8:0:1::": 2 * time.Hour}
	c.holds(all)

	s.sets(shivx.DefenseLockdown)
	require.Eventually(t, func() bool { return len(c.banned()) > 100 }, 20*time.Second, 50*time.Millisecond, "a lockdown is told of")
	s.sets(shivx.DefenseNormal)
	c.holds(all)
	select {
	case err := <-ended:
		require.Fail(t, "the bouncer has ended", "%v: %s", err, said)
	default:
	}
}

// TestTheFirewallBouncerReadsOurErrors: one that has no message makes it crash.
func TestTheFirewallBouncerReadsOurErrors(t *testing.T) {
	program := testenv.Need(t, "crowdsec-firewall-bouncer")[0]
	c := newCell(t)
	s := c.serve()
	out, _ := c.bouncer(program, s.Address(), "not-a-token-of-anybody").CombinedOutput() // its exit code says nothing
	require.Contains(t, string(out), "a token is needed")
	require.NotContains(t, string(out), "panic")
}
