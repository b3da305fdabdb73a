package stand

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// Network is a small Internet of a test: hosts, and a namespace outside of them from whose addresses
// clients come. Each network of a process has addresses of its own, for isolations hold fleet-wide.
type Network struct {
	Outside *Namespace
	// Attacker, Neighbour and Bystander are two addresses of one IPv6 source and another one, and three
	// IPv4 sources; Operator is who the allow list has.
	Attacker, Neighbour, Bystander, Operator Peer

	t      testing.TB
	name   string
	number int
	hosts  int
}

// Peer is somebody with an address of each kind.
type Peer struct{ IP4, IP6 string }

// networks counts those of this process.
var networks atomic.Int32

// NewNetwork makes a network that has no host yet. It ends with the test.
func NewNetwork(t testing.TB) *Network {
	t.Helper()
	n := &Network{t: t, number: int(networks.Add(1))}
	n.name = fmt.Sprintf("shivx%d-%d", os.Getpid(), n.number)
	n.Outside = newNamespace(t, n.name+"out")
	n.Outside.IP("link", "add", "net0", "type", "bridge")
	n.Outside.IP("link", "set", "net0", "up")
	n.Attacker, n.Neighbour = n.peer(2, "a::2"), n.peer(3, "a::3")
	n.Bystander, n.Operator = n.peer(4, "b::2"), n.peer(5, "c::2")
	for _, p := range []Peer{n.Attacker, n.Neighbour, n.Bystander, n.Operator, n.peer(relay, "d::2")} {
		n.Outside.IP("addr", "add", p.IP4+"/24", "dev", "net0")
		n.Outside.IP("addr", "add", p.IP6+"/48", "dev", "net0", "nodad")
	}
	return n
}

// relay is the last byte of the address under which hosts reach Temporal; firstHost that of the first host.
const relay, firstHost = 9, 11

func (n *Network) peer(last int, last6 string) Peer {
	return Peer{fmt.Sprintf("10.214.%d.%d", n.number, last), fmt.Sprintf("fd00:214:%x:%s", n.number, last6)}
}

// Machine is a host of a network.
type Machine struct {
	*Namespace
	Peer
	net *Network
}

// Machine connects a new host.
func (n *Network) Machine() *Machine {
	n.t.Helper()
	n.hosts++
	m := &Machine{net: n, Peer: n.peer(firstHost+n.hosts, fmt.Sprintf(":%x", firstHost+n.hosts))}
	m.Namespace = newNamespace(n.t, fmt.Sprintf("%shost%d", n.name, n.hosts))
	far := fmt.Sprintf("host%d", n.hosts)
	m.IP("link", "add", "eth0", "type", "veth", "peer", "name", far, "netns", n.Outside.Name)
	n.Outside.IP("link", "set", far, "master", "net0", "up")
	m.IP("addr", "add", m.IP4+"/24", "dev", "eth0")
	m.IP("addr", "add", m.IP6+"/48", "dev", "eth0", "nodad")
	m.IP("link", "set", "eth0", "up")
	return m
}

// Relay makes a server of the machine's own loopback reachable from the hosts, and returns its address
// for them.
func (n *Network) Relay(to string) string {
	n.t.Helper()
	l := n.Outside.Listen(net.JoinHostPort(n.peer(relay, "").IP4, "0"))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go join(c, to)
		}
	}()
	return l.Addr().String()
}

// join carries a connection on to another address until either side ends.
func join(c net.Conn, to string) {
	defer func() { _ = c.Close() }()
	far, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), "tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	go func() {
		_, _ = io.Copy(far, c)
		_ = far.Close()
	}()
	_, _ = io.Copy(c, far)
}

// Echo serves connections of a port of the host, of any address: it sends back what it reads.
func (m *Machine) Echo(port string) {
	m.t.Helper()
	l := m.Listen(":" + port)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
}

// HTTP is a client whose requests come from an address of the namespace, "": any.
func (ns *Namespace) HTTP(from string) *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, to string) (net.Conn, error) {
		return ns.Dial(ctx, from, to, 5*time.Second)
	}}
	ns.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Timeout: 10 * time.Second, Transport: transport}
}
