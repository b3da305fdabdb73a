package peers

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
)

// namespace is a network namespace of the test, with packet filters of its own.
type namespace struct {
	name, ip string
	fd       int
}

func newNamespace(t *testing.T, suffix string) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root, for network namespaces")
	}
	ns := &namespace{name: fmt.Sprintf("shivxbench%d%s", os.Getpid(), suffix), ip: testenv.Need(t, "ip")[0]}
	if out, err := exec.Command(ns.ip, "netns", "add", ns.name).CombinedOutput(); err != nil {
		testenv.Missing(t, "needs to make a network namespace: "+string(out))
	}
	t.Cleanup(func() { _ = exec.Command(ns.ip, "netns", "del", ns.name).Run() })
	if out, err := exec.Command(ns.ip, "-n", ns.name, "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var err error
	if ns.fd, err = unix.Open("/run/netns/"+ns.name, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(ns.fd) })
	return ns
}

// process describes a program in the namespace.
func (ns *namespace) process(t *testing.T, log string, argv ...string) *stand.Process {
	t.Helper()
	// Nobody listens on the port 1: Temporal is away, which must not matter.
	return stand.NewProcess(t, log, []string{"TEMPORAL_ADDRESS=127.0.0.1:1"}, append([]string{ns.ip, "netns", "exec", ns.name}, argv...)...)
}

// agent describes an agent in the namespace, whose files are below dir, with its section "guardian".
func (ns *namespace) agent(t *testing.T, dir, guardian string) *stand.Process {
	t.Helper()
	text := fmt.Sprintf("version: 1\nhost: web1\npaths: {var: %q}\napi: {listen: \"127.0.0.1:8787\"}\nguardian:\n%s", filepath.Join(dir, "var"), guardian)
	cfg := filepath.Join(dir, "shivx.yaml")
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return ns.process(t, filepath.Join(dir, "agent.log"), stand.Bin(t, "shivx-worker"), "-config", cfg)
}

// generation is the number of the ruleset, which each transaction raises.
func (ns *namespace) generation(t *testing.T) uint32 {
	t.Helper()
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: ns.fd})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	answers, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   make([]byte, 4), // the header of netfilter
	})
	if err != nil {
		testenv.Missing(t, "needs nftables in the kernel: "+err.Error())
	}
	attributes, err := netlink.NewAttributeDecoder(answers[0].Data[4:])
	if err != nil {
		t.Fatal(err)
	}
	attributes.ByteOrder = binary.BigEndian
	for attributes.Next() {
		if attributes.Type() == unix.NFTA_GEN_ID {
			return attributes.Uint32()
		}
	}
	t.Fatal("the kernel does not tell the generation")
	return 0
}

// elements is how many a set of the family inet has.
func (ns *namespace) elements(t *testing.T, table, set string) int {
	t.Helper()
	conn, err := nftables.New(nftables.WithNetNSFd(ns.fd))
	if err != nil {
		t.Fatal(err)
	}
	all, err := conn.GetSetElements(&nftables.Set{Table: &nftables.Table{Name: table, Family: nftables.TableFamilyINet}, Name: set})
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// blocks are elements that came into sets of nftables in one transaction.
type blocks struct {
	at    time.Time
	addrs []netip.Addr
}

// watch tells of elements as the kernel takes them.
func (ns *namespace) watch(t *testing.T) <-chan blocks {
	t.Helper()
	conn, err := nftables.New(nftables.WithNetNSFd(ns.fd), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return c.SetReadBuffer(16 << 20)
	}))
	if err != nil {
		t.Fatal(err)
	}
	monitor := nftables.NewMonitor(nftables.WithMonitorAction(nftables.MonitorActionNew), nftables.WithMonitorObject(nftables.MonitorObjectElements))
	events, err := conn.AddGenerationalMonitor(monitor)
	if err != nil {
		testenv.Missing(t, "needs nftables in the kernel: "+err.Error())
	}
	t.Cleanup(func() { _ = monitor.Close() })
	out := make(chan blocks, 1000)
	go func() {
		defer close(out)
		for e := range events {
			if b := blocksOf(e); len(b.addrs) > 0 {
				out <- b
			}
		}
	}()
	return out
}

func blocksOf(e *nftables.MonitorEvents) blocks {
	b := blocks{at: time.Now()}
	for _, c := range e.Changes {
		elements, _ := c.Data.([]nftables.SetElement)
		for _, el := range elements {
			if a, ok := netip.AddrFromSlice(el.Key); ok {
				b.addrs = append(b.addrs, a)
			}
		}
	}
	return b
}

// blocked waits until the kernel has an address, and returns when; false: it has not in time.
func blocked(all <-chan blocks, addr netip.Addr, limit time.Duration) (time.Time, bool) {
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		select {
		case b, ok := <-all:
			if !ok {
				return time.Time{}, false
			}
			if slices.Contains(b.addrs, addr) {
				return b.at, true
			}
		case <-end.C:
			return time.Time{}, false
		}
	}
}

// failures are lines of sshd about n failed logins from an address, just now.
func failures(addr netip.Addr, n int) string {
	var b strings.Builder
	now := time.Now().Format(time.Stamp)
	for i := range n {
		fmt.Fprintf(&b, "%s web1 sshd[%d]: Failed password for root from %s port %d ssh2\n", now, 2000+i, addr, 40000+i)
	}
	return b.String()
}
