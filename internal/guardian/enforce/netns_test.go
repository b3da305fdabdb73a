package enforce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
)

// The link of a test: the server has .1, those outside have the others. The two IPv6 networks are two
// sources.
const (
	server4, attacker4, bystander4 = "10.213.0.1", "10.213.0.2", "10.213.0.3"
	server6, attacker6, bystander6 = "fd00:213::1", "fd00:213:0:a::2", "fd00:213:0:b::2"
)

// served is how long a connection may take that is let through, dropped how long one is waited for
// that is not.
const (
	served  = 5 * time.Second
	dropped = 250 * time.Millisecond
)

// namespace is a network namespace of the test.
type namespace struct {
	name string
	fd   int
	ip   string
}

// link makes two namespaces with a link between them, removed with the test.
func link(t testing.TB) (server, outside *namespace) {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root, for network namespaces")
	}
	ip := testenv.Need(t, "ip")[0]
	id := fmt.Sprintf("shivx%d", os.Getpid()%100000) + string(rune('a'+linkCount.Add(1)%26))
	server, outside = newNamespace(t, ip, id+"s"), newNamespace(t, ip, id+"o")
	server.run(t, "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", outside.name)
	for _, ns := range []*namespace{server, outside} {
		ns.run(t, "link", "set", "lo", "up")
	}
	server.run(t, "addr", "add", server4+"/24", "dev", "v0")
	server.run(t, "addr", "add", server6+"/48", "dev", "v0", "nodad")
	server.run(t, "link", "set", "v0", "up")
	for _, a := range []string{attacker4 + "/24", bystander4 + "/24"} {
		outside.run(t, "addr", "add", a, "dev", "v1")
	}
	for _, a := range []string{attacker6 + "/48", bystander6 + "/48"} {
		outside.run(t, "addr", "add", a, "dev", "v1", "nodad")
	}
	outside.run(t, "link", "set", "v1", "up")
	return server, outside
}

var linkCount atomic.Int32

func newNamespace(t testing.TB, ip, name string) *namespace {
	t.Helper()
	out, err := exec.Command(ip, "netns", "add", name).CombinedOutput()
	if err != nil {
		testenv.Missing(t, "needs to make a network namespace: "+string(out))
	}
	t.Cleanup(func() { _ = exec.Command(ip, "netns", "del", name).Run() })
	fd, err := unix.Open("/run/netns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	return &namespace{name: name, fd: fd, ip: ip}
}

// run runs ip(8) in the namespace.
func (ns *namespace) run(t testing.TB, args ...string) {
	t.Helper()
	out, err := exec.Command(ns.ip, append([]string{"-n", ns.name}, args...)...).CombinedOutput()
	require.NoError(t, err, "ip %v: %s", args, out)
}

// program runs a program in the namespace and returns what it says.
func (ns *namespace) program(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	path := testenv.Need(t, name)[0]
	cmd := exec.Command(ns.ip, append([]string{"netns", "exec", ns.name, path}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
	return string(out)
}

// do calls f on a thread in the namespace; the thread ends with it.
func (ns *namespace) do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, so that the thread is not used again
		if err := unix.Setns(ns.fd, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// echo serves TCP connections in the namespace: it sends back what it reads.
func (ns *namespace) echo(t testing.TB, addr string) string {
	t.Helper()
	var l net.Listener
	require.NoError(t, ns.do(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(addr, "0"))
		return err
	}))
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

// dial connects from an address of the namespace.
func (ns *namespace) dial(from, to string, wait time.Duration) (c net.Conn, err error) {
	local := &net.TCPAddr{IP: net.ParseIP(from)}
	err = ns.do(func() error {
		c, err = (&net.Dialer{Timeout: wait, LocalAddr: local}).DialContext(context.Background(), "tcp", to)
		return err
	})
	return c, err
}

// says sends a word over a connection and says whether it comes back in time.
func says(c net.Conn, wait time.Duration) error {
	word := []byte("ping\n")
	_ = c.SetDeadline(time.Now().Add(wait))
	if _, err := c.Write(word); err != nil {
		return err
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, word) {
		return fmt.Errorf("got %q", got)
	}
	return nil
}

// requireServed fails the test when a new connection is not served.
func requireServed(t testing.TB, ns *namespace, from, to string) {
	t.Helper()
	c, err := ns.dial(from, to, served)
	require.NoError(t, err, "%s should be served", from)
	defer c.Close()
	require.NoError(t, says(c, served), "%s should be served", from)
}

// requireDropped fails the test when a new connection is not refused by silence.
func requireDropped(t testing.TB, ns *namespace, from, to string) {
	t.Helper()
	c, err := ns.dial(from, to, dropped)
	if err == nil {
		_ = c.Close()
	}
	var silence net.Error
	require.True(t, errors.As(err, &silence) && silence.Timeout(), "%s should be dropped: %v", from, err)
}

// newNft returns the enforcer of a namespace.
func newNft(t testing.TB, ns *namespace, auto bool) *Nftables {
	t.Helper()
	n, err := NewNftables(NftablesOptions{Table: "shivxtest", Auto: auto, NetNS: ns.fd})
	if err != nil {
		testenv.Missing(t, "needs nftables in the kernel: "+err.Error())
	}
	return n
}

// block is an isolation for a term from now on; 0: without an end.
func block(source string, term time.Duration) shivx.Isolation {
	i := shivx.Isolation{Source: source, Since: time.Now(), By: shivx.Guardian}
	if term != 0 {
		i.Until = i.Since.Add(term)
	}
	return i
}

func prefixes(all ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, s := range all {
		p, err := shivx.ParseSource(s)
		if err != nil {
			panic(err)
		}
		list = append(list, p)
	}
	return list
}

// listen accepts TCP connections in the namespace.
func (ns *namespace) listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	require.NoError(t, ns.do(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(addr, "0"))
		return err
	}))
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// slack is for a machine that does other things at the same time.
const slack = 10
