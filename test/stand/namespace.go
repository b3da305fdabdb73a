package stand

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/testenv"
)

// Namespace is a network namespace of a test: what runs in it has a loopback and addresses of its own.
type Namespace struct {
	Name string

	t  testing.TB
	ip string
	fd int
}

// newNamespace makes a namespace that ends with the test.
func newNamespace(t testing.TB, name string) *Namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root, for network namespaces")
	}
	ns := &Namespace{Name: name, t: t, ip: testenv.Need(t, "ip")[0]}
	if out, err := exec.Command(ns.ip, "netns", "add", name).CombinedOutput(); err != nil {
		testenv.Missing(t, "needs to make a network namespace: "+string(out))
	}
	t.Cleanup(func() { _ = exec.Command(ns.ip, "netns", "del", name).Run() })
	fd, err := unix.Open("/run/netns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	ns.fd = fd
	ns.IP("link", "set", "lo", "up")
	return ns
}

// IP runs ip(8) on the namespace.
func (ns *Namespace) IP(args ...string) {
	ns.t.Helper()
	if out, err := exec.Command(ns.ip, append([]string{"-n", ns.Name}, args...)...).CombinedOutput(); err != nil {
		ns.t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// Argv is how a program is started in the namespace. Its process is the program itself.
func (ns *Namespace) Argv(argv ...string) []string {
	return append([]string{ns.ip, "netns", "exec", ns.Name}, argv...)
}

// Command is a program that runs in the namespace.
func (ns *Namespace) Command(argv ...string) *exec.Cmd {
	all := ns.Argv(argv...)
	return exec.Command(all[0], all[1:]...)
}

// do calls f on a thread in the namespace, which ends with it.
func (ns *Namespace) do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not used again
		if err := unix.Setns(ns.fd, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Listen listens in the namespace, as net.Listen does.
func (ns *Namespace) Listen(addr string) net.Listener {
	ns.t.Helper()
	var l net.Listener
	err := ns.do(func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	})
	if err != nil {
		ns.t.Fatal(err)
	}
	ns.t.Cleanup(func() { _ = l.Close() })
	return l
}

// Dial connects from an address of the namespace, "": any, to HOST:PORT and waits that long at most.
func (ns *Namespace) Dial(ctx context.Context, from, to string, wait time.Duration) (c net.Conn, err error) {
	d := net.Dialer{Timeout: wait}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	err = ns.do(func() error {
		c, err = d.DialContext(ctx, "tcp", to)
		return err
	})
	return c, err
}
